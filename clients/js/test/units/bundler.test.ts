import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { build, type Rolldown } from "vite";

it("Vite finds the worker, and leaves the sharing out of what is loaded at first", async () => {
  const root = fileURLToPath(new URL("../snippets-bundled", import.meta.url));
  mkdirSync(root, { recursive: true });
  // Found by its own name, as in an application.
  writeFileSync(`${root}/main.js`, `import { subscribe } from "pg-sse";\nsubscribe("/api/f/info");\n`);
  const built = await build({ root, logLevel: "error", build: { write: false, rollupOptions: { input: `${root}/main.js` } } });
  rmSync(root, { recursive: true });
  const { output } = (Array.isArray(built) ? built[0] : built) as Rolldown.RolldownOutput;
  const names = output.map(({ fileName }) => fileName);
  expect(names.filter((name) => /worker.*\.js$/.test(name))).toHaveLength(1);
  const entry = output.find((one) => one.type === "chunk" && one.isEntry) as Rolldown.OutputChunk;
  expect(entry.code).not.toContain("SharedWorker");
  const tabs = output.find((one) => one.type === "chunk" && one.fileName.includes("tabs")) as Rolldown.OutputChunk;
  expect(tabs.code).toContain(names.find((name) => /worker.*\.js$/.test(name))?.split("/").at(-1));
});
