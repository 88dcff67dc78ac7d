import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, it } from "vitest";

/** Bytes that a page loads, compressed, to use these names: without what is loaded only when it is needed. */
async function weigh(names: string): Promise<number> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `export { ${names} } from "./src/index.ts"`, resolveDir: new URL("../..", import.meta.url).pathname, loader: "ts" },
    bundle: true, minify: true, splitting: true, format: "esm", target: "es2022",
    outdir: "out", entryNames: "entry", write: false, metafile: true,
  });
  const size = new Map(outputFiles.map(({ path, contents }) => [path.split("/").at(-1), gzipSync(contents, { level: 9 }).length]));
  const entry = Object.entries(metafile.outputs).find(([path]) => path.endsWith("entry.js"));
  const first = entry?.[1].imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => path) ?? [];
  return ["entry.js", ...first].reduce((sum, path) => sum + (size.get(path.split("/").at(-1)) ?? Number.NaN), 0);
}

// Compressed on their own, as a server would send them.
it.each([
  ["subscribe", 4000],
  ["Parser", 1000],
])("%s is below %d bytes", async (names, limit) => {
  const bytes = await weigh(names);
  expect(bytes).toBeGreaterThan(300);
  expect(bytes).toBeLessThan(limit);
});
