import { existsSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, it } from "vitest";

/** Bytes that a page loads, compressed, to use these names: at first, and when they are needed. */
async function weigh(names: string): Promise<{ first: number; later: number }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `export ${names} from "./src/index.ts"`, resolveDir: new URL("../..", import.meta.url).pathname, loader: "ts" },
    bundle: true, minify: true, splitting: true, format: "esm", target: "es2022",
    outdir: "out", entryNames: "entry", write: false, metafile: true,
  });
  const size = new Map(outputFiles.map(({ path, contents }) => [path.split("/").at(-1), gzipSync(contents, { level: 9 }).length]));
  const entry = Object.entries(metafile.outputs).find(([path]) => path.endsWith("entry.js"));
  const first = entry?.[1].imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => path) ?? [];
  const bytes = ["entry.js", ...first].reduce((sum, path) => sum + (size.get(path.split("/").at(-1)) ?? Number.NaN), 0);
  return { first: bytes, later: [...size.values()].reduce((sum, one) => sum + one, 0) - bytes };
}

// Each file compressed on its own, as a server sends it. The core is what a page loads for `subscribe`: parser, connection,
// the way back, tokens. What is needed when streams are shared, and `live` and `call`, is not in it.
it.each([
  ["{ subscribe }", 4000, 2600],
  ["{ live }", 5500, 2600],
  ["*", 7500, 2600],
  // Without the rest at first, since nothing has side effects; esbuild makes chunks that nobody loads, too.
  ["{ Parser }", 1000, 4000],
])("%s is at first below %d bytes, and what is loaded when it is needed %d at most", async (names, atFirst, atMost) => {
  const { first, later } = await weigh(names);
  expect(first).toBeGreaterThan(300);
  expect(first).toBeLessThan(atFirst);
  expect(later).toBeLessThanOrEqual(atMost);
});

/** What is left of a program when nobody uses what it imports. */
async function left(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: new URL("../..", import.meta.url).pathname, loader: "ts" },
    bundle: true, minify: true, format: "esm", target: "es2022", write: false,
  });
  return outputFiles[0]?.text.trim() ?? "";
}

it.each(["index", "node", "svelte", "testing"])("of %s nothing is left where nothing is used", async (name) => {
  expect(await left(`import * as all from "./src/${name}.ts";`)).toBe("");
});

const CLIENT = `${process.env["PG_SSE_ROOT"] ?? new URL("../../../..", import.meta.url).pathname}/crates/client/tests/golden/tables.ts`;

it.runIf(existsSync(CLIENT))("of a typed client only what is used is left", async () => {
  const text = await left(`import { todoLiveStream } from ${JSON.stringify(CLIENT)}; console.log(todoLiveStream);`);
  expect(text).toContain("/api/todo-live/info");
  expect(text.length).toBeLessThan(500);
});
