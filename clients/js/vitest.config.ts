import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/units/**/*.test.{ts,tsx}", "test/browser/**/*.test.ts"],
    // Two cores, and browsers on them.
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
