// @vitest-environment happy-dom
import { QueryClient, QueryObserver } from "@tanstack/query-core";
import { get } from "svelte/store";
import { describe, expect, it, vi } from "vitest";
import { effectScope, nextTick, ref, watchEffect } from "vue";

import { readSnapshot } from "../../src/node.js";
import { liveStore } from "../../src/svelte.js";
import { liveQuery } from "../../src/tanstack-query.js";
import { FakeServer } from "../../src/testing.js";
import { useLive } from "../../src/vue.js";
import { until } from "./wait.js";

interface Todo { id: number; title: string }

const URL = "http://fake.test/api/todo-live/info";

function serve() {
  const server = new FakeServer();
  const stream = server.stream("/api/todo-live/info");
  stream.snapshot = () => [{ id: 1, title: "a" }];
  const add = (id: number, title: string) => stream.change("todo", ["id"], null, { id, title });
  return { server, stream, add, options: { key: "id" as const, fetch: server.fetch } };
}

describe("a store of Svelte", () => {
  it("is open while somebody is subscribed", async () => {
    const { stream, add, options } = serve();
    const store = liveStore<Todo>(URL, options);
    expect(stream.requests).toHaveLength(0);
    // Svelte's own reader takes it for a store.
    expect(get(store)).toMatchObject({ rows: [], state: "loading" });
    const seen: string[] = [];
    store.subscribe(({ stream }) => expect(stream.lastEventId).toBeTypeOf("string"))();
    const stops = [store.subscribe(({ rows }) => seen.push(rows.map(({ title }) => title).join())), store.subscribe(() => {})];
    expect(seen).toEqual([""]);
    await until(() => seen.at(-1) === "a");
    add(2, "b");
    await until(() => seen.at(-1) === "a,b");
    stops[0]?.();
    stops[0]?.();
    expect(stream.subscribers).toBe(1);
    stops[1]?.();
    await until(() => stream.subscribers === 0);
  });
});

describe("a composable of Vue", () => {
  it("follows its URL, and is closed with its scope", async () => {
    const { server, stream, add, options } = serve();
    server.stream("/api/other/info").snapshot = () => [{ id: 9, title: "z" }];
    const url = ref<string | null>(URL);
    const scope = effectScope();
    let streams: unknown;
    const seen: string[] = [];
    scope.run(() => {
      const { rows, state, stream } = useLive<Todo>(url, options);
      watchEffect(() => void (streams = stream.value));
      watchEffect(() => seen.push(`${state.value} ${rows.value.map(({ title }) => title).join()}`));
    });
    await until(() => seen.at(-1) === "live a");
    add(2, "b");
    await until(() => seen.at(-1) === "live a,b");
    expect(streams).toMatchObject({ isConnected: true });
    url.value = "http://fake.test/api/other/info";
    await nextTick();
    await until(() => seen.at(-1) === "live z");
    await until(() => stream.subscribers === 0);
    scope.stop();
    await until(() => server.stream("/api/other/info").subscribers === 0);
  });
});

describe("a query of TanStack", () => {
  it("has the rows and each change while somebody looks, and begins anew for who comes back", async () => {
    const { stream, add, options } = serve();
    const client = new QueryClient();
    const query = liveQuery<Todo>(URL, options);
    const titles = () => (client.getQueryData<readonly Todo[]>(query.queryKey) ?? []).map(({ title }) => title).join();
    const observer = new QueryObserver(client, query);
    const stop = observer.subscribe(() => {});
    await until(() => titles() === "a");
    expect(observer.getCurrentResult()).toMatchObject({ status: "success", fetchStatus: "fetching" });
    add(2, "b");
    await until(() => titles() === "a,b");
    stop();
    await until(() => stream.subscribers === 0);
    const again = new QueryObserver(client, query).subscribe(() => {});
    await until(() => stream.subscribers === 1 && titles() === "a");
    again();
    await until(() => stream.subscribers === 0);
  });

  it("ends where nobody looks any more before it has begun", async () => {
    const { stream, options } = serve();
    const client = new QueryClient();
    const query = liveQuery<Todo>(URL, options);
    const rows = await query.queryFn({ client, queryKey: query.queryKey, signal: AbortSignal.abort() });
    expect([rows, stream.requests]).toEqual([[], []]);
  });

  it("fails where there is no snapshot, and has rows as soon as there is one", async () => {
    const warned = vi.spyOn(console, "warn").mockImplementation(() => {});
    const { stream, options } = serve();
    let fails = true;
    stream.snapshot = () => {
      if (fails) throw new Error("no GRANT");
      return [{ id: 1, title: "a" }];
    };
    const observer = new QueryObserver(new QueryClient(), liveQuery<Todo>(URL, options));
    const stop = observer.subscribe(() => {});
    await until(() => observer.getCurrentResult().status === "error");
    expect(observer.getCurrentResult().data).toBeUndefined();
    fails = false;
    await until(() => observer.getCurrentResult().status === "success");
    expect(observer.getCurrentResult()).toMatchObject({ data: [{ id: 1, title: "a" }], error: null });
    stop();
    warned.mockRestore();
  });

  it("fails where the stream is refused", async () => {
    const { stream, options } = serve();
    stream.refuse = 403;
    await expect(new QueryClient().fetchQuery(liveQuery<Todo>(URL, options))).rejects.toMatchObject({ status: 403 });
  });
});

describe("a snapshot for a page that is rendered on a server", () => {
  it("is read once, with the id from which the page goes on", async () => {
    const { stream, options } = serve();
    const { rows, id } = await readSnapshot<Todo>(URL, options);
    expect(rows).toEqual([{ id: 1, title: "a" }]);
    expect(id).toBe(stream.position);
    await until(() => stream.subscribers === 0);
  });

  it("throws where there is none", async () => {
    const warned = vi.spyOn(console, "warn").mockImplementation(() => {});
    const { stream, options } = serve();
    stream.snapshot = () => {
      throw new Error("no GRANT");
    };
    await expect(readSnapshot<Todo>(URL, options)).rejects.toThrow("its log says why");
    await until(() => stream.subscribers === 0);
    warned.mockRestore();
  });

  it("throws what it is refused with, and what ends it", async () => {
    const { stream, options } = serve();
    stream.refuse = 403;
    await expect(readSnapshot<Todo>(URL, options)).rejects.toMatchObject({ status: 403 });
    const signal = AbortSignal.abort(new Error("before"));
    await expect(readSnapshot<Todo>(URL, { ...options, signal })).rejects.toThrow("before");
    stream.refuse = 503;
    await expect(readSnapshot<Todo>(URL, { ...options, signal: AbortSignal.timeout(30) })).rejects.toMatchObject({ name: "TimeoutError" });
  });
});
