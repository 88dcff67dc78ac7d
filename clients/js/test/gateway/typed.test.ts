// From the SQL to the component, as docs/javascript.md has it: its table, the client of the database, and its page.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";
import { beforeAll, describe, expect, it } from "vitest";

import { call, live, subscribe } from "../../src/index.js";
import { isThere, open } from "../browser/browsers.js";
import { until } from "../units/wait.js";
import { GATEWAY, restart, sql } from "./control.js";
import { eventually } from "./pages.js";
import { Proxy } from "./proxy.js";

const HERE = fileURLToPath(new URL("../..", import.meta.url));
const FOLDER = `${HERE}/test/from-sql`;
const PAGE = readFileSync(`${process.env["PG_SSE_ROOT"]}/docs/javascript.md`, "utf8");
const block = (kind: string, at = 0) => [...PAGE.matchAll(new RegExp(`^\`\`\`${kind}(?: excerpt)?\\n(.*?)^\`\`\``, "gms"))][at]?.[1] as string;

beforeAll(async () => {
  // Other tests have a table of this name.
  await sql(`create schema typed; set search_path = typed; ${block("sql").replaceAll("public.todo", "typed.todo")}; grant usage on schema typed to app`);
});

async function write(): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER);
  writeFileSync(`${FOLDER}/client.ts`, await sql("select sse.typescript_client('typed')"));
  // "pg-sse" is this package, as it is built.
  writeFileSync(`${FOLDER}/Todos.tsx`, block("tsx"));
  writeFileSync(`${FOLDER}/tsconfig.json`, JSON.stringify({
    extends: "../tsconfig.json", compilerOptions: { allowImportingTsExtensions: true }, include: ["."], exclude: [],
  }));
}

function compile(): string {
  try {
    return execFileSync(process.execPath, [`${HERE}/node_modules/typescript/bin/tsc`, "-p", FOLDER], { encoding: "utf8" });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

it("a list is typed by its table, and keeps itself fresh", async () => {
  await write();
  expect(compile()).toBe("");
  const proxy = await Proxy.start();
  const client = await import(`${FOLDER}/client.ts`);
  client.setBaseUrl(proxy.url);
  const todos = live<{ id: number; title: string; isDone: boolean }>(client.todoLiveStream);
  const told: unknown[] = [];
  const gaps: string[] = [];
  const listener = subscribe(client.todoLiveStream, { on: { insert: (change: unknown) => told.push(change) }, onGap: ({ reason }: { reason: string }) => gaps.push(reason) } as never);
  await until(() => todos.state === "live" && listener.isConnected);
  const { response, settled } = await call<{ title: string }, { id: number }>(client.addTodoCall, { title: "write" }, { stream: todos });
  expect(await settled).toEqual({ seen: true });
  expect(todos.current).toEqual([{ id: response.id, title: "write", isDone: false }]);
  await sql("insert into typed.todo (title, is_done) select 'todo ' || n, n % 2 = 0 from generate_series(1, 200) n");
  proxy.cut();
  await sql("update typed.todo set is_done = true; delete from typed.todo where id % 3 = 0");
  const wanted = JSON.parse(await sql("select json_agg(json_build_object('id', id, 'title', title, 'isDone', is_done) order by id) from typed.todo")) as unknown;
  await until(() => JSON.stringify([...todos.current].sort((a, b) => a.id - b.id)) === JSON.stringify(wanted));
  await until(() => told.length === 201);
  expect(gaps).toEqual([]);
  expect(told[0]).toMatchObject({ op: "INSERT", table: "todo", key: { id: response.id }, new: { title: "write", is_done: false } });
  todos.close();
  listener.close();
  proxy.stop();
});

for (const name of ["chromium", "firefox"] as const) {
  describe.runIf(isThere(name) || !!process.env["CI"])(`a page that Vite serves to ${name}`, () => {
    it("shows the list, adds to it, and follows it over a restart", async () => {
      await write();
      writeFileSync(`${FOLDER}/index.html`, `<!doctype html><title>todo</title><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/main.tsx"></script>`);
      writeFileSync(`${FOLDER}/main.tsx`, `import { createRoot } from "react-dom/client";\nimport { Todos } from "./Todos.tsx";\ncreateRoot(document.getElementById("root")!).render(<Todos />);\n`);
      const settings = block("js").replace(/^.*export default/ms, "").replace("http://localhost:8080", GATEWAY).replace(/;\s*$/, "");
      const config = (0, eval)(`(${settings})`) as object;
      const vite = await createServer({ ...config, root: FOLDER, configFile: false, logLevel: "error", cacheDir: `${FOLDER}/.vite` });
      await vite.listen(0);
      const browser = await open(name);
      try {
        await sql("delete from typed.todo; insert into typed.todo (title) values ('from psql')");
        const tab = await browser.tab();
        await tab.goto(vite.resolvedUrls?.local[0] as string);
        const items = () => tab.run<string[]>(`[...document.querySelectorAll("li")].map((item) => item.textContent)`);
        const shows = (...wanted: string[]) => eventually(async () => JSON.stringify(await items()) === JSON.stringify(wanted));
        await shows("from psql");
        await tab.run(`document.querySelector("input").value = "from the page"; document.querySelector("button").click()`);
        await shows("from psql", "from the page");
        await restart();
        await sql("update typed.todo set title = 'changed' where title = 'from psql'");
        await shows("changed", "from the page");
      } finally {
        await browser.close();
        await vite.close();
      }
    });
  });
}

it("a column that is renamed is an error of the compiler", async () => {
  await sql("alter table typed.todo rename column is_done to has_been_done");
  await write();
  const said = compile();
  await sql("alter table typed.todo rename column has_been_done to is_done");
  expect(said).toContain("isDone");
  rmSync(FOLDER, { recursive: true });
});
