// React Native: no document, no EventSource, no BroadcastChannel, no AbortSignal.any, a `window` without events, and a
// `fetch` whose answers have no body to read from, unless one is given that streams (as that of `expo/fetch`).

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { call, callStream, live, logout, subscribe, type Subscription } from "../../src/index.js";
import { FakeServer } from "../../src/testing.js";
import { until } from "./wait.js";

const URL = "http://fake.test/api/f/info";
const open: { close(): void }[] = [];
let server: FakeServer;

beforeEach(() => {
  server = new FakeServer();
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("addEventListener", undefined);
  vi.stubGlobal("BroadcastChannel", undefined);
  vi.stubGlobal("EventSource", undefined);
  vi.stubGlobal("navigator", { product: "ReactNative" });
  vi.spyOn(AbortSignal, "any").mockImplementation(undefined as never);
});
afterEach(() => {
  for (const one of open.splice(0)) one.close();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Its answer is there when all of it has come, and is a text. */
const whole: typeof fetch = async (input, init) => {
  const answer = await server.fetch(input, init);
  const isStream = answer.headers.get("Content-Type") === "text/event-stream";
  const text = isStream ? "" : await answer.text();
  return { ok: answer.ok, status: answer.status, headers: answer.headers, url: answer.url, text: async () => text } as Response;
};

it("a fetch that streams has streams, rows and calls", async () => {
  const stream = server.stream("/api/f/info");
  const data: string[] = [];
  const one = subscribe(URL, { fetch: server.fetch, onEvent: (message) => data.push(message.data) });
  open.push(one);
  await until(() => one.isConnected);
  stream.publish("a");
  stream.cut();
  stream.publish("b");
  await until(() => data.length === 2);
  expect(data).toEqual(["a", "b"]);
  stream.snapshot = () => [{ id: 1 }];
  const rows = live<{ id: number }>(URL, { key: "id", fetch: server.fetch });
  open.push(rows);
  await until(() => rows.state === "live");
  server.routine("/api/g", () => ({ done: true }));
  expect(await callStream("http://fake.test/api/g", {}, { fetch: server.fetch, signal: new AbortController().signal }).result).toEqual({ done: true });
  await logout("http://fake.test/api/g", { fetch: server.fetch });
});

it("a fetch that does not stream has calls, and a stream says what it needs", async () => {
  server.stream("/api/f/info");
  server.routine("/api/g", () => ({ done: true }));
  expect((await call("http://fake.test/api/g", {}, { fetch: whole })).response).toEqual({ done: true });
  const ends: unknown[] = [];
  const one: Subscription = subscribe(URL, { fetch: whole, onEnd: (error) => ends.push(error?.message) });
  open.push(one);
  await until(() => ends.length === 1);
  expect(ends).toEqual(["No readable event stream"]);
  await expect(callStream("http://fake.test/api/g", {}, { fetch: whole }).result).rejects.toThrow("No readable event stream");
});
