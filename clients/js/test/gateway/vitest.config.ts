import { defineConfig } from "vitest/config";

// Run by pg_test/tests/client_js.rs, which has a gateway and does what control.ts asks for.
export default defineConfig({
  test: {
    include: ["test/gateway/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // One server, one connection to who governs it, and restarts in between.
    fileParallelism: false,
    isolate: false,
    // What fails is told at once.
    reporters: ["verbose"],
  },
});
