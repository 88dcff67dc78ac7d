// The package as npm has it, in a project where there is nothing else.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { afterAll, beforeAll, expect, it } from "vitest";

const HERE = fileURLToPath(new URL("../..", import.meta.url));
const project = mkdtempSync(join(tmpdir(), "pg-sse-pack-"));
let archive: string;

/** Runs it in the project, or fails with what it has said. */
function run(command: string, args: string[], cwd = project): string {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`);
  }
}

beforeAll(() => {
  // It is built: `npm test` does that, and so does the publishing.
  const [packed] = JSON.parse(run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", project], HERE)) as [{ filename: string }];
  archive = join(project, packed.filename);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", archive]);
});
afterAll(() => rmSync(project, { recursive: true }));

it("has what is needed and nothing else", () => {
  const installed = readdirSync(join(project, "node_modules/pg-sse"));
  expect(installed.sort()).toEqual(["README.md", "dist", "package.json"]);
  expect(readdirSync(join(project, "node_modules"))).toEqual([".package-lock.json", "pg-sse"]);
});

it("is loaded by Node without any framework", () => {
  const code = `for (const path of ["pg-sse", "pg-sse/node", "pg-sse/svelte", "pg-sse/testing"]) console.log(Object.keys(await import(path)).length > 0);`;
  expect(run(process.execPath, ["--input-type=module", "-e", code]).trim()).toBe("true\ntrue\ntrue\ntrue");
});

it.each([["bundler", "esnext"], ["node16", "node16"], ["nodenext", "nodenext"]])("its types are found with moduleResolution %s", (resolution, module) => {
  // What the frameworks are for the compiler.
  for (const name of ["react", "vue", "@tanstack", "@vue", "@types", "csstype"]) {
    rmSync(join(project, "node_modules", name), { force: true });
    symlinkSync(join(HERE, "node_modules", name), join(project, "node_modules", name));
  }
  mkdirSync(join(project, "src"), { recursive: true });
  writeFileSync(join(project, "src/app.ts"), `
    import { call, live, subscribe, type Message } from "pg-sse";
    import { readSnapshot } from "pg-sse/node";
    import { useLive } from "pg-sse/react";
    import { liveStore } from "pg-sse/svelte";
    import { liveQuery } from "pg-sse/tanstack-query";
    import { FakeServer } from "pg-sse/testing";
    import { useLive as useVue } from "pg-sse/vue";
    interface Todo { id: number }
    const id: number | undefined = live<Todo>("/", { key: "id" }).current[0]?.id;
    // @ts-expect-error: it is a number
    const wrong: string | undefined = live<Todo>("/", { key: "id" }).current[0]?.id;
    const message = (one: Message): string => one.data;
    export { call, FakeServer, id, liveQuery, liveStore, message, readSnapshot, subscribe, useLive, useVue, wrong };
  `);
  run(process.execPath, [
    join(HERE, "node_modules/typescript/bin/tsc"), "--strict", "--noEmit", "--skipLibCheck", "--target", "es2022", "--types", "node",
    "--lib", "es2023,dom,dom.iterable,dom.asynciterable", "--module", module, "--moduleResolution", resolution, "src/app.ts",
  ]);
});

it("pleases publint", async () => {
  const { messages } = await publint({ pkgDir: join(project, "node_modules/pg-sse"), strict: true, pack: false });
  expect(messages).toEqual([]);
});

it("has the right types, says arethetypeswrong", () => {
  // It has ES modules alone; old Node resolution knows no subpaths.
  run(process.execPath, [join(HERE, "node_modules/@arethetypeswrong/cli/dist/index.js"), archive, "--profile", "esm-only", "--no-emoji", "--no-color"]);
});
