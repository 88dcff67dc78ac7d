// When a browser's own EventSource reads a stream: with cookies, and where all names that are wanted are known.

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { Connection } from "../../src/connection.js";
import { live, subscribe } from "../../src/index.js";
import { FakeServer } from "../../src/testing.js";
import { until } from "./wait.js";

/** Enough of an EventSource: it opens, is told events by hand, and breaks. */
class Source extends EventTarget {
  static readonly CLOSED = 2;
  static readonly all: Source[] = [];
  readyState = 0;
  readonly heard: string[] = [];
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;

  constructor(readonly url: string, readonly options: { withCredentials: boolean }) {
    super();
    Source.all.push(this);
  }

  override addEventListener(name: string, listener: (event: Event) => void): void {
    this.heard.push(name);
    super.addEventListener(name, listener);
  }

  tell(event: string, data: string, lastEventId: string): void {
    this.dispatchEvent(Object.assign(new Event(event), { data, lastEventId }));
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  break(readyState = 0): void {
    this.readyState = readyState;
    this.onerror?.();
  }

  close(): void {
    this.readyState = 2;
  }
}

const URL = "http://fake.test/api/f/info";
const open: { close(): void }[] = [];

beforeEach(() => {
  Source.all.length = 0;
  vi.stubGlobal("EventSource", Source);
  vi.stubGlobal("fetch", new FakeServer().fetch);
});
afterEach(() => {
  for (const one of open.splice(0)) one.close();
  vi.unstubAllGlobals();
});

async function source(at = 0): Promise<Source> {
  await until(() => Source.all.length > at);
  return Source.all[at] as Source;
}

it.each([
  ["names in `events`", { events: ["paid"] }, ["paid"]],
  ["names in `on`", { on: { paid: () => {} } }, ["paid"]],
])("%s are heard by an EventSource", async (_, options, names) => {
  open.push(subscribe(URL, options));
  expect((await source()).heard).toEqual(expect.arrayContaining(["message", "sse.ready", "sse.gap", ...names]));
});

it("rows whose events all have known names are read by an EventSource", async () => {
  open.push(live(URL, { key: "id", snapshot: "rows" }));
  expect((await source()).heard).toEqual(expect.arrayContaining(["rows", "insert", "update", "delete"]));
});

it.each([
  ["a token", { events: ["paid"], token: "t" }],
  ["headers", { events: ["paid"], headers: { a: "b" } }],
  ["a fetch of its own", { events: ["paid"], fetch: new FakeServer().fetch }],
  ["events of any name", { onEvent: () => {} }],
  ["handlers of names and of all", { on: { paid: () => {} }, onEvent: () => {} }],
])("%s: `fetch` reads the stream", async (_, options) => {
  const asked = vi.fn<typeof fetch>(() => new Promise(() => {}));
  open.push(subscribe(URL, { ...options, fetch: asked }));
  await until(() => asked.mock.calls.length === 1);
  expect(Source.all).toEqual([]);
});

it("cookies go to another origin where that is said", async () => {
  open.push(subscribe(URL, { events: [], credentials: "include" }), subscribe(URL, { events: [] }));
  await source(1);
  expect(Source.all.map(({ options }) => options.withCredentials)).toEqual([true, false]);
});

it("the browser's EventSource comes back by itself after the server's retry, and another one at once where the page wakes", async () => {
  const states: boolean[] = [];
  const data: string[] = [];
  const one = new Connection({ url: URL, credentials: "same-origin", events: [] }, "", {
    message: (message) => data.push(message.data),
    connected: (is) => states.push(is),
    end: () => {},
  });
  open.push(one);
  const first = await source();
  first.open();
  first.tell("message", "a", "1");
  first.break();
  expect(states).toEqual([true, false]);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(Source.all).toHaveLength(1);
  first.open();
  first.tell("message", "b", "2");
  first.break();
  one.wake();
  const second = await source(1);
  expect([first.readyState, second.url]).toEqual([2, `${URL}?last_event_id=2`]);
  second.open();
  second.tell("message", "c", "3");
  expect([data, states]).toEqual([["a", "b", "c"], [true, false, true, false, true]]);
});

it("one that was refused is asked by `fetch` why", async () => {
  const ends: (number | undefined)[] = [];
  open.push(subscribe(URL, { events: [], onEnd: (error) => ends.push(error?.status) }));
  (await source()).break(Source.CLOSED);
  await until(() => ends.length === 1);
  expect(ends).toEqual([404]);
});
