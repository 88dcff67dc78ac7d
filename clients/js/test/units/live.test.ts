import { afterEach, describe, expect, it, vi } from "vitest";

import { live, type LiveOptions, type Live } from "../../src/index.js";
import { camelRow } from "../../src/rows.js";
import { FakeServer } from "../../src/testing.js";
import { until } from "./wait.js";

interface Todo { id: number; title: string; isDone: boolean }

const URL = "http://fake.test/api/todo-live/info";
const open: Live<never>[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** A table, as the database has it; its stream; and rows that follow it. */
function begin(options: Partial<LiveOptions<Todo>> = {}, names: "camel" | "sql" = "camel") {
  const server = new FakeServer();
  const stream = server.stream("/api/todo-live/info");
  const table = new Map<number, { id: number; title: string; is_done: boolean }>();
  stream.snapshot = () => [...table.values()].map((row) => (names === "camel" ? camelRow(row) : row));
  stream.snapshotName = "rows";
  const write = (id: number, row: { title: string; is_done: boolean } | null) => {
    const old = table.get(id) ?? null;
    const now = row && { id, ...row };
    if (now) table.set(id, now);
    else table.delete(id);
    stream.change("todo", ["id"], old, now);
  };
  const start = () => {
    const rows = live<Todo>(URL, { key: "id", fetch: server.fetch, ...options });
    open.push(rows as unknown as Live<never>);
    return rows;
  };
  return { server, stream, table, write, start };
}

const titles = (rows: Live<Todo>) => rows.current.map(({ title }) => title);

describe("live rows", () => {
  it("begin with the snapshot, and follow each change by key", async () => {
    const { write, start } = begin();
    write(1, { title: "old", is_done: false });
    const rows = start();
    expect([rows.state, rows.current]).toEqual(["loading", []]);
    await until(() => rows.state === "live");
    expect(rows.current).toEqual([{ id: 1, title: "old", isDone: false }]);
    write(2, { title: "new", is_done: false });
    write(2, { title: "new", is_done: true });
    write(1, null);
    await until(() => rows.current.length === 1 && rows.current[0]?.isDone);
    expect(rows.current).toEqual([{ id: 2, title: "new", isDone: true }]);
  });

  it("have the names of SQL where that is asked for, and the snapshot is json", async () => {
    const { write, start } = begin({ names: "sql" }, "sql");
    write(1, { title: "a", is_done: false });
    const rows = start();
    await until(() => rows.state === "live");
    write(1, { title: "b", is_done: true });
    await until(() => titles(rows)[0] === "b");
    expect(rows.current).toEqual([{ id: 1, title: "b", is_done: true }]);
  });

  it("are one array until they change, and tell once of changes that come together", async () => {
    const { write, start, table, stream } = begin();
    write(1, { title: "a", is_done: false });
    const rows = start();
    await until(() => rows.state === "live");
    const before = rows.current;
    expect(rows.current).toBe(before);
    let told = 0;
    const stop = rows.subscribe(() => told++);
    const bytes = (id: number) => `id: 1-f${id}\nevent: insert\ndata: {"op":"INSERT","key":{"id":${id}},"new":{"id":${id}},"old":null}\n\n`;
    void table;
    stream.raw(bytes(5) + bytes(6) + bytes(7));
    await until(() => rows.current.length === 4);
    await until(() => told > 0);
    expect(told).toBe(1);
    expect(before).toHaveLength(1);
    stop();
    stream.raw(bytes(8));
    await until(() => rows.current.length === 5);
    await Promise.resolve();
    expect(told).toBe(1);
  });

  it("are what the table has after a gap, a restart and breaks", async () => {
    const { server, stream, table, write, start } = begin();
    const rows = start();
    await until(() => rows.state === "live");
    for (let round = 0; round < 10; round++) {
      for (let id = 0; id < 20; id++) write(id, { title: `${round}.${id}`, is_done: false });
      if (round % 3 === 0) stream.cut();
      // Changed while nobody listens, and forgotten.
      table.set(100 + round, { id: 100 + round, title: "unheard", is_done: false });
      if (round % 3 === 1) server.restart();
      else stream.gap("overflow");
      write(round, null);
    }
    await until(() => JSON.stringify(titles(rows).sort()) === JSON.stringify([...table.values()].map(({ title }) => title).sort()));
    expect(rows.state).toBe("live");
  });

  it("are stale from a gap until the snapshot", async () => {
    const { stream, write, start } = begin();
    write(1, { title: "a", is_done: false });
    const rows = start();
    await until(() => rows.state === "live");
    stream.raw('id: 1-fs\nevent: sse.gap\ndata: {"reason":"slow","missed":3}\n\n');
    await until(() => rows.state === "stale");
    expect(titles(rows)).toEqual(["a"]);
    stream.raw('id: 1-f\nevent: rows\ndata: []\n\n');
    await until(() => rows.state === "live");
    expect(rows.current).toEqual([]);
  });

  it("are not replaced by an array or null that is anybody's event, since no snapshot is due", async () => {
    const { stream, write, start } = begin();
    write(1, { title: "a", is_done: false });
    const rows = start();
    await until(() => rows.state === "live");
    for (const data of ["[]", "null", '[{"id":9,"title":"forged","isDone":true}]', " [1]"]) stream.publish(data);
    write(2, { title: "b", is_done: false });
    await until(() => rows.current.length === 2);
    expect(titles(rows)).toEqual(["a", "b"]);
    // A gap in place of a snapshot is followed by none.
    stream.raw('id: 1-fs\nevent: sse.gap\ndata: {"reason":"snapshot","missed":null}\n\nid: 1-fs\ndata: []\n\n');
    await until(() => rows.state === "stale");
    expect(titles(rows)).toEqual(["a", "b"]);
    await until(() => rows.state === "live");
    expect(titles(rows)).toEqual(["a", "b"]);
  });

  it("take one snapshot after each gap, and what is an array behind it is none", async () => {
    const { stream, write, start } = begin();
    write(1, { title: "a", is_done: false });
    const rows = start();
    await until(() => rows.state === "live");
    stream.gap("overflow");
    stream.publish("[]");
    write(2, { title: "b", is_done: false });
    await until(() => rows.current.length === 2);
    expect(titles(rows)).toEqual(["a", "b"]);
    // Without a snapshot the id of a gap is not marked.
    stream.raw('id: 1-f\nevent: sse.gap\ndata: {"reason":"slow","missed":1}\n\nid: 1-f\ndata: []\n\n');
    await until(() => rows.state === "stale");
    await until(() => rows.stream.lastEventId === "1-f");
    expect(titles(rows)).toEqual(["a", "b"]);
  });

  it("begin anew with the snapshot where the server says so in the middle, and ends the stream", async () => {
    const { stream, table, write, start } = begin();
    write(1, { title: "a", is_done: false });
    const rows = start();
    await until(() => rows.state === "live");
    table.set(2, { id: 2, title: "unheard", is_done: false });
    stream.raw(`id: ${stream.position}s\nevent: sse.ready\ndata: {}\n\n`);
    stream.cut("end");
    await until(() => rows.current.length === 2);
    expect(titles(rows)).toEqual(["a", "unheard"]);
    expect(rows.state).toBe("live");
  });

  it("try again for a snapshot that failed", async () => {
    const { stream, write, start } = begin();
    write(1, { title: "a", is_done: false });
    const rows = start();
    await until(() => rows.state === "live");
    stream.gap("snapshot");
    await until(() => rows.state === "stale");
    await until(() => rows.state === "live");
    expect(stream.requests).toHaveLength(2);
    expect(stream.requests[1]?.headers.get("Last-Event-ID")).toBeNull();
  });

  it("say that there is no snapshot, once, until there is one", async () => {
    const warned = vi.spyOn(console, "warn").mockImplementation(() => {});
    let fails = true;
    const told: string[] = [];
    const { stream, table, start } = begin({ onError: ({ message }) => told.push(message) });
    stream.snapshot = () => {
      if (fails) throw new Error("no GRANT");
      return [...table.values()];
    };
    const rows = start();
    await until(() => rows.state === "failed");
    expect(rows.error).toMatchObject({ name: "SseError", status: 0 });
    expect(rows.error?.message).toContain("its log says why");
    // The second attempt fails, too.
    await until(() => stream.requests.length === 2);
    await until(() => rows.isConnected);
    expect([told.length, warned.mock.calls.length, rows.state]).toEqual([1, 1, "failed"]);
    fails = false;
    await until(() => rows.state === "live");
    expect(rows.error).toBeUndefined();
    // And in the middle of a stream: the rows are the last that are known.
    fails = true;
    stream.gap("overflow");
    await until(() => rows.error);
    expect(rows.state).toBe("stale");
    await until(() => told.length === 2);
    fails = false;
    await until(() => rows.state === "live");
    expect(rows.error).toBeUndefined();
    warned.mockRestore();
  });

  it("say that they cannot be loaded, until they are", async () => {
    const warned = vi.spyOn(console, "warn").mockImplementation(() => {});
    let fails = true;
    const { stream, start } = begin({ load: async () => {
      if (fails) throw new TypeError("the network is away");
      return [{ id: 1, title: "a", isDone: false }];
    } });
    stream.snapshot = undefined;
    const rows = start();
    await until(() => rows.state === "failed");
    expect(rows.error?.message).toContain("the network is away");
    fails = false;
    await until(() => rows.state === "live");
    expect([rows.error, warned.mock.calls.length]).toEqual([undefined, 1]);
    warned.mockRestore();
  });

  it("take the row away whose key has changed", async () => {
    const { stream, start } = begin({ key: ({ title }) => title });
    const rows = start();
    await until(() => rows.state === "live");
    const row = (title: string) => ({ id: 1, title, is_done: false });
    stream.change("todo", ["id"], null, row("a"));
    stream.change("todo", ["id"], row("a"), row("b"));
    await until(() => titles(rows)[0] === "b");
    expect(rows.current).toHaveLength(1);
  });

  it("keep columns that a change does not show", async () => {
    const { stream, write, start } = begin();
    write(1, { title: "a", is_done: true });
    const rows = start();
    await until(() => rows.state === "live");
    stream.change("todo", ["id"], { id: 1, title: "a" }, { id: 1, title: "b" });
    await until(() => titles(rows)[0] === "b");
    expect(rows.current).toEqual([{ id: 1, title: "b", isDone: true }]);
  });

  it("are of several columns, or of none that is missing", async () => {
    const { stream, start } = begin({ key: ["id", "title"] });
    const rows = start();
    await until(() => rows.state === "live");
    stream.change("todo", ["id"], null, { id: 1, title: "a" });
    stream.change("todo", ["id"], null, { id: 1, title: "b" });
    await until(() => rows.current.length === 2);
  });

  it("apply events of their own kind", async () => {
    const { server } = begin();
    const stream = server.stream("/api/counter/info");
    stream.snapshot = () => [{ page: "/", n: 1 }];
    const rows = live<{ page: string; n: number }>("http://fake.test/api/counter/info", {
      key: "page", fetch: server.fetch, snapshot: "message",
      apply: (_, { data }, put) => put(JSON.parse(data) as { page: string; n: number }),
    });
    open.push(rows as unknown as Live<never>);
    await until(() => rows.state === "live");
    stream.publish({ page: "/", n: 2 }, "counted");
    await until(() => rows.current[0]?.n === 2);
  });

  it("are loaded beside a stream without a snapshot, with what comes meanwhile", async () => {
    let loads = 0;
    let answer!: (rows: Todo[]) => void;
    const load = () => new Promise<Todo[]>((resolve, reject) => {
      answer = resolve;
      if (!loads++) reject(new Error("not yet"));
    });
    const { stream, start } = begin({ load });
    stream.snapshot = undefined;
    const rows = start();
    await until(() => loads === 2);
    stream.change("todo", ["id"], null, { id: 2, title: "meanwhile", is_done: false });
    await until(() => rows.stream.lastEventId === stream.position);
    answer([{ id: 1, title: "read", isDone: false }]);
    await until(() => rows.state === "live");
    expect(titles(rows)).toEqual(["read", "meanwhile"]);
    stream.gap("overflow");
    await until(() => loads === 3);
    expect(rows.state).toBe("stale");
    answer([]);
    await until(() => rows.state === "live" && rows.current.length === 0);
  });

  it("go on from what a server has read", async () => {
    const { stream, write, start } = begin({ initial: { rows: [{ id: 1, title: "a", isDone: false }], id: "1-1" } });
    write(1, { title: "a", is_done: false });
    write(2, { title: "b", is_done: false });
    const rows = start();
    expect([rows.state, titles(rows)]).toEqual(["live", ["a"]]);
    await until(() => rows.current.length === 2);
    expect(stream.requests[0]?.headers.get("Last-Event-ID")).toBe("1-1");
  });

  it("are closed at once where the signal was aborted before", async () => {
    const { stream, start } = begin({ signal: AbortSignal.abort() });
    const rows = start();
    await until(() => rows.state === "closed");
    expect([rows.error, stream.requests]).toEqual([undefined, []]);
  });

  it("are closed with the reason when they are refused", async () => {
    const { stream, start } = begin();
    stream.refuse = 403;
    const rows = start();
    await until(() => rows.state === "closed");
    expect(rows.error).toMatchObject({ status: 403 });
  });
});

// The cases of crates/proto/src/call/name.rs: rows of changes are named as rows of answers are.
it.each([
  ["item_name", "itemName"], ["_message_text", "messageText"], ["a__b", "aB"], ["Amount", "amount"], ["__", "__"],
  ["ärger_über", "ärgerÜber"], ["x1_2y", "x12y"], ["isDone", "isDone"], ["a_", "a"],
])("a column %s is %s", (sql, camel) => expect(Object.keys(camelRow({ [sql]: 1 }))).toEqual([camel]));

it("two columns that would have one name keep their own", () => {
  expect(camelRow({ is_done: 1, isDone: 2, x_y: 3 })).toEqual({ is_done: 1, isDone: 2, xY: 3 });
});
