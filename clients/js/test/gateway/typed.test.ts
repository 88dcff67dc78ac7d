// From the SQL to the component, as docs/javascript.md has it: its table, the client of the database, and its page.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, it } from "vitest";

import { call, live, subscribe } from "../../src/index.js";
import { until } from "../units/wait.js";
import { sql } from "./control.js";
import { Proxy } from "./proxy.js";

const HERE = fileURLToPath(new URL("../..", import.meta.url));
const FOLDER = `${HERE}/test/from-sql`;
const PAGE = readFileSync(`${process.env["PG_SSE_ROOT"]}/docs/javascript.md`, "utf8");
const block = (kind: string, at = 0) => [...PAGE.matchAll(new RegExp(`^\`\`\`${kind}\\n(.*?)^\`\`\``, "gms"))][at]?.[1] as string;

beforeAll(async () => {
  // Other tests have a table of this name.
  await sql(`create schema typed; set search_path = typed; ${block("sql").replaceAll("public.todo", "typed.todo")}; grant usage on schema typed to app`);
});

async function write(): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER);
  writeFileSync(`${FOLDER}/client.ts`, await sql("select sse.typescript_client('typed')"));
  writeFileSync(`${FOLDER}/Todos.tsx`, block("tsx").replace(/"pg-sse(\/\w+)?"/g, (_, path: string | undefined) => `"../../src${path ?? "/index"}.js"`));
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
  const listener = subscribe(client.todoLiveStream, { on: { insert: (change: unknown) => told.push(change) } } as never);
  await until(() => todos.state === "live" && listener.isConnected);
  const { response, settled } = await call<{ title: string }, { id: number }>(client.addTodoCall, { title: "write" }, { stream: todos });
  expect(await settled).toEqual({ seen: true });
  expect(todos.current).toEqual([{ id: response.id, title: "write", isDone: false }]);
  await sql("insert into typed.todo (title, is_done) select 'todo ' || n, n % 2 = 0 from generate_series(1, 1000) n");
  proxy.cut();
  await sql("update typed.todo set is_done = true; delete from typed.todo where id % 3 = 0");
  const wanted = JSON.parse(await sql("select json_agg(json_build_object('id', id, 'title', title, 'isDone', is_done) order by id) from typed.todo")) as unknown;
  await until(() => JSON.stringify([...todos.current].sort((a, b) => a.id - b.id)) === JSON.stringify(wanted));
  await until(() => told.length === 1001);
  expect(told[0]).toMatchObject({ op: "INSERT", table: "todo", key: { id: response.id }, new: { title: "write", is_done: false } });
  todos.close();
  listener.close();
  proxy.stop();
});

it("a column that is renamed is an error of the compiler", async () => {
  await sql("alter table typed.todo rename column is_done to has_been_done");
  await write();
  const said = compile();
  await sql("alter table typed.todo rename column has_been_done to is_done");
  expect(said).toContain("isDone");
  rmSync(FOLDER, { recursive: true });
});
