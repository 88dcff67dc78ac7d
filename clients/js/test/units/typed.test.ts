// What the client of `sse.typescript_client()` says (docs/typescript.md), taken in place of URLs. The client is one of the
// golden files of crates/client.

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { call, callAsync, callStream, follow, live, subscribe } from "../../src/index.js";
import { FakeServer } from "../../src/testing.js";
import { until } from "./wait.js";

const HERE = fileURLToPath(new URL("../..", import.meta.url));
const CLIENT = `${process.env["PG_SSE_ROOT"] ?? `${HERE}/../..`}/crates/client/tests/golden/tables.ts`;

// The package may be somewhere else; then there is no client. `cargo xtask test` says where it is.
describe.runIf(existsSync(CLIENT) || !!process.env["PG_SSE_ROOT"])("the typed client", () => {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  let client: any;
  let server: FakeServer;
  const open: { close(): void }[] = [];

  beforeEach(async () => {
    client = await import(CLIENT);
    client.setBaseUrl("http://fake.test");
    server = new FakeServer();
  });
  afterEach(() => {
    for (const one of open.splice(0)) one.close();
  });

  it("says everything that `live` needs", async () => {
    const stream = server.stream("/api/todo-live/info");
    [stream.snapshot, stream.snapshotName] = [() => [{ id: 1, title: "write", isDone: false }], "rows"];
    const todos = live(client.todoLiveStream, { fetch: server.fetch });
    open.push(todos);
    await until(() => todos.state === "live");
    stream.change("todo", ["id"], null, { id: 2, title: "read", is_done: true });
    await until(() => todos.current.length === 2);
    expect(todos.current).toEqual([{ id: 1, title: "write", isDone: false }, { id: 2, title: "read", isDone: true }]);
  });

  it("says that columns are named as in SQL where the snapshot is JSON", async () => {
    const stream = server.stream("/api/todo-sql/info");
    stream.snapshot = () => [{ id: 1, title: "write", is_done: false }];
    const todos = live(client.todoSqlStream, { fetch: server.fetch });
    open.push(todos);
    await until(() => todos.state === "live");
    expect(todos.current).toEqual([{ id: 1, title: "write", is_done: false }]);
  });

  it("says how the data of events is read", async () => {
    const stream = server.stream("/api/todo-live/info");
    [stream.snapshot, stream.snapshotName] = [() => [{ id: 1, title: "write", isDone: false }], "rows"];
    const heard: unknown[] = [];
    open.push(subscribe(client.todoLiveStream, {
      fetch: server.fetch,
      on: {
        rows: (rows: unknown) => heard.push(rows),
        insert: ({ new: row }: { new: unknown }) => heard.push(row),
        message: (text: unknown) => heard.push(text),
      },
    } as never));
    await until(() => heard.length === 1);
    stream.change("todo", ["id"], null, { id: 2 });
    stream.publish("12");
    stream.publish("nobody has asked", "toString");
    stream.publish("last");
    await until(() => heard.length === 4);
    expect(heard).toEqual([[{ id: 1, title: "write", isDone: false }], { id: 2 }, "12", "last"]);
  });

  it("says how routines are called, and how answers are read", async () => {
    const asked: [string, string][] = [];
    server.routine("/api/add-todo", ({ args, request }) => {
      asked.push([request.method, new URL(request.url).pathname]);
      return { id: 3, title: args["title"], isDone: false };
    });
    server.routine("/api/todo-count", ({ request }) => {
      asked.push([request.method, new URL(request.url).pathname]);
      return "12";
    });
    const { response } = await call<{ title: string }, { id: number }>(client.addTodoCall, { title: "write" }, { fetch: server.fetch });
    expect(response.id).toBe(3);
    expect((await call(client.todoCountCall, undefined, { fetch: server.fetch })).response).toBe(12);
    expect(await callStream(client.todoCountCall, undefined, { fetch: server.fetch }).result).toBe(12);
    expect(asked).toEqual([["POST", "/api/add-todo"], ["GET", "/api/todo-count"], ["GET", "/api/todo-count"]]);
    server.stream("/api/add-todo/info");
    server.routine("/api/add-todo", () => "12");
    const job = await callAsync({ ...client.addTodoCall, kind: "text" }, { title: "write" }, { fetch: server.fetch });
    expect(await job.result).toBe("12");
    expect(await follow(job.url, { routine: client.addTodoCall, fetch: server.fetch }).result).toBe(12);
  });

  it("is typed from the tables to the component", () => {
    const folder = `${HERE}/test/typed`;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    copyFileSync(CLIENT, `${folder}/client.ts`);
    writeFileSync(`${folder}/page.tsx`, PAGE);
    writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({
      extends: "../tsconfig.json", compilerOptions: { allowImportingTsExtensions: true }, include: ["."], exclude: [],
    }));
    for (const more of [[], ["--exactOptionalPropertyTypes", "false"]]) {
      try {
        execFileSync(process.execPath, [`${HERE}/node_modules/typescript/bin/tsc`, "-p", folder, ...more], { encoding: "utf8" });
      } catch (error) {
        throw new Error((error as { stdout: string }).stdout);
      }
    }
    rmSync(folder, { recursive: true });
  });
});

it("a mistake in a call or a stream of the typed client is told by what does not fit, not by the URL that it is not", () => {
  const folder = `${HERE}/test/typed-mistakes`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  copyFileSync(CLIENT, `${folder}/client.ts`);
  writeFileSync(`${folder}/page.ts`, `
import { call, live, subscribe } from "../../src/index.js";
import { addTodoCall, logLiveStream, todoLiveStream } from "./client.ts";
void call(addTodoCall, { title: 12 });
live(logLiveStream);
subscribe(todoLiveStream, { on: { removed: () => {} } });
`);
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({
    extends: "../tsconfig.json", compilerOptions: { allowImportingTsExtensions: true }, include: ["."], exclude: [],
  }));
  let told = "";
  try {
    execFileSync(process.execPath, [`${HERE}/node_modules/typescript/bin/tsc`, "-p", folder], { encoding: "utf8" });
  } catch (error) {
    told = (error as { stdout: string }).stdout;
  }
  rmSync(folder, { recursive: true });
  expect(told).toContain("Type 'number' is not assignable to type 'string");
  expect(told).toContain("is missing the following properties from type 'LiveStream<object>': key");
  expect(told).toContain("'removed' does not exist");
});

/** Each `@ts-expect-error` is a mistake that the types find. */
const PAGE = `
import { call, callAsync, callStream, follow, live, subscribe } from "../../src/index.js";
import { readSnapshot } from "../../src/node.js";
import { useEvents, useLive } from "../../src/react.js";
import { liveStore } from "../../src/svelte.js";
import { liveQuery } from "../../src/tanstack-query.js";
import { useLive as useVue } from "../../src/vue.js";
import {
  addTodoCall, logLiveStream, stockLiveStream, todoAloneStream, todoCountCall, todoLiveStream, todoSqlStream,
  type StockLiveRow, type Todo, type TodoLiveRow,
} from "./client.ts";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
function is<A, B>(_: Same<A, B>): void {}

const todos = live(todoLiveStream);
is<typeof todos.current, readonly TodoLiveRow[]>(true);
is<TodoLiveRow, { id: number; title: string; isDone: boolean }>(true);
const first: Todo | undefined = todos.current[0];
// @ts-expect-error: the column is isDone
todos.current[0]?.is_done;
is<(typeof sql.current)[number], { id: number; title: string; is_done: boolean }>(true);
const sql = live(todoSqlStream);
is<StockLiveRow, { shopId: number | null; item: string | null; amount?: number | null; place: unknown; level?: number | null }>(true);
live(stockLiveStream);
live(todoAloneStream, { load: async () => [{ id: 1, title: "write", isDone: true }] });
// @ts-expect-error: a title is a text
live(todoAloneStream, { load: async () => [{ id: 1, title: 2, isDone: true }] });
// @ts-expect-error: there is no key
live(logLiveStream);
live<{ line: string }>(logLiveStream, { key: "line" });
live<Todo>("/api/todo-live/info", { key: "id" });
// @ts-expect-error: no such column
live<Todo>("/api/todo-live/info", { key: "identity" });

subscribe(todoLiveStream, {
  on: {
    rows: (rows) => is<typeof rows, Todo[]>(true),
    insert: (change) => is<typeof change.new, { id: number; title: string; is_done: boolean } | null>(true),
    delete: ({ key }) => is<typeof key, Pick<{ id: number; title: string; is_done: boolean }, "id"> | null>(true),
    message: (text) => is<typeof text, string>(true),
  },
});
// @ts-expect-error: no such event
subscribe(todoLiveStream, { on: { removed: () => {} } });
subscribe("/api/f/info", { on: { paid: (text) => is<typeof text, string>(true) } });

async function calls() {
  const { response, settled } = await call(addTodoCall, { title: "write" }, { stream: todos });
  is<typeof response, Todo | null>(true);
  await settled;
  is<number | null, Awaited<ReturnType<typeof count>>>(true);
  // @ts-expect-error: a title is a text
  await call(addTodoCall, { title: 1 });
  // @ts-expect-error: there is no title
  await call(addTodoCall);
  await call(todoCountCall);
  await callStream(addTodoCall, { title: "write" }).result;
  const job = await callAsync(addTodoCall, { title: "write" });
  is<Awaited<typeof job.result>, Todo | null>(true);
  const again = await follow(job.url, { routine: addTodoCall }).result;
  is<typeof again, Todo | null>(true);
  await call<Todo>("/api/add-todo", { title: "write" });
}
const count = async () => (await call(todoCountCall, undefined, {})).response;

export function Todos({ on }: { on: boolean }) {
  const { rows, state } = useLive(on ? todoLiveStream : null);
  useEvents(todoLiveStream, { on: { rows: (all) => is<typeof all, Todo[]>(true) } });
  is<typeof rows, readonly TodoLiveRow[]>(true);
  return <ul aria-busy={state !== "live"}>{rows.map(({ id, title, isDone }) => <li key={id}>{title}{isDone}</li>)}</ul>;
}
const refs = () => is<ReturnType<typeof useVue<TodoLiveRow>>["rows"]["value"], readonly TodoLiveRow[]>(true);
const vue = () => useVue(() => todoLiveStream).rows.value[0]?.isDone;
const store = () => liveStore(todoLiveStream).subscribe(({ rows }) => is<typeof rows, readonly TodoLiveRow[]>(true));
const query = () => is<Awaited<ReturnType<ReturnType<typeof liveQuery<TodoLiveRow>>["queryFn"]>>, readonly TodoLiveRow[]>(true);
const asked = () => liveQuery(todoLiveStream);
const read = async () => is<Awaited<ReturnType<typeof readSnapshot<TodoLiveRow>>>["rows"], readonly TodoLiveRow[]>(true);
const node = () => readSnapshot(todoLiveStream, { signal: AbortSignal.timeout(2000) });
export { asked, calls, first, node, query, read, refs, sql, store, vue };
`;
