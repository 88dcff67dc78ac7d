import { defineConfig } from "vite";

export default defineConfig({
  // The page may be in any folder.
  base: "./",
  // The dev server would move the package away from the file of its worker.
  optimizeDeps: { exclude: ["pg-sse"] },
  // `npm run dev`: the page from vite, the rest from the server.
  server: { proxy: { "/api": "http://localhost:8080" } },
});
