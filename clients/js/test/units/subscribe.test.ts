import { afterEach, describe, expect, it, vi } from "vitest";

import { type Gap, type Message, SseError, subscribe, type SubscribeOptions } from "../../src/index.js";
import { FakeServer } from "../../src/testing.js";
import { until } from "./wait.js";

const URL = "http://fake.test/api/f/info";
const open: { close(): void }[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one.close();
  // The spy is on the false timers.
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** A stream, and all that its subscriber has been told. */
function begin(options: SubscribeOptions = {}, server = new FakeServer()) {
  const stream = server.stream("/api/f/info");
  const told = { data: [] as string[], gaps: [] as Gap[], ready: [] as string[], states: [] as boolean[], ends: [] as (SseError | undefined)[] };
  const subscription = subscribe(URL, {
    fetch: server.fetch,
    onEvent: (message) => told.data.push(message.data),
    onGap: (gap) => told.gaps.push(gap),
    onReady: (id) => told.ready.push(id),
    onState: (is) => told.states.push(is),
    onEnd: (error) => told.ends.push(error),
    ...options,
  });
  open.push(subscription);
  return { server, stream, told, subscription };
}

describe("a subscription", () => {
  it("is told when it is subscribed, and each event from then on", async () => {
    const { stream, told, subscription } = begin();
    await until(() => told.ready.length === 1);
    expect(subscription.isConnected).toBe(true);
    const id = stream.publish("one");
    stream.publish({ two: 2 }, "order.paid");
    await until(() => told.data.length === 2);
    expect(told.data).toEqual(["one", '{"two":2}']);
    expect(subscription.hasSeen(id)).toBe(true);
    expect(told.states).toEqual([true]);
  });

  it("is iterated over, gaps among the events, and closed by leaving the loop", async () => {
    const server = new FakeServer();
    const stream = server.stream("/api/f/info");
    const subscription = subscribe(URL, { fetch: server.fetch });
    await until(() => stream.subscribers === 1);
    stream.publish("a");
    stream.gap("overflow");
    stream.publish("b", "named");
    const found: Message[] = [];
    for await (const message of subscription) {
      found.push(message);
      if (found.length === 3) break;
    }
    expect(found.map(({ event, data }) => [event, data])).toEqual([
      ["message", "a"], ["sse.gap", '{"reason":"overflow","missed":null}'], ["named", "b"],
    ]);
    await until(() => stream.subscribers === 0);
  });

  it("goes on from the last id when the connection breaks, losing and doubling nothing", async () => {
    const { stream, told } = begin();
    await until(() => told.ready.length === 1);
    let published = 0;
    for (let round = 0; round < 20; round++) {
      for (let event = 0; event < 50; event++) stream.publish(String(published++));
      stream.cut(round % 2 ? "end" : "break");
      stream.publish(String(published++));
      await until(() => told.ready.length === round + 2);
    }
    await until(() => told.data.length >= published);
    expect(told.data).toEqual(Array.from({ length: published }, (_, at) => String(at)));
    expect(told.gaps).toEqual([]);
  });

  it("is told of a gap after a restart, and goes on", async () => {
    const { server, stream, told } = begin();
    await until(() => told.ready.length === 1);
    stream.publish("a");
    await until(() => told.data.length === 1);
    server.restart();
    await until(() => told.gaps.length === 1);
    expect(told.gaps).toEqual([{ reason: "restarted", missed: null }]);
    stream.publish("b");
    await until(() => told.data.length === 2);
  });

  it("begins behind the id that it is given", async () => {
    const server = new FakeServer();
    const stream = server.stream("/api/f/info");
    const id = stream.publish("a");
    stream.publish("b");
    const { told } = begin({ lastEventId: id }, server);
    await until(() => told.data.length === 1);
    expect(told.data).toEqual(["b"]);
  });

  it("asks for its topics", async () => {
    const { stream } = begin({ topics: ["public.todo", "a b"] });
    const request = await until(() => stream.requests[0]);
    expect(new globalThis.URL(request.url).searchParams.getAll("topic")).toEqual(["public.todo", "a b"]);
  });

  it("ends without an error on 204", async () => {
    const server = new FakeServer();
    server.stream("/api/f/info").refuse = 204;
    const { told, stream } = begin({}, server);
    await until(() => told.ends.length === 1);
    expect(told.ends).toEqual([undefined]);
    expect(stream.requests).toHaveLength(1);
  });

  it.each([400, 401, 403, 404, 421])("ends with the problem on %d, and is not tried again", async (status) => {
    const server = new FakeServer();
    server.stream("/api/f/info").refuse = status;
    const subscription = subscribe(URL, { fetch: server.fetch });
    const thrown = await (async () => {
      for await (const message of subscription) void message;
    })().catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(SseError);
    expect(thrown).toMatchObject({ status, message: "refused by the test" });
    expect(server.stream("/api/f/info").requests).toHaveLength(1);
  });

  it.each([408, 429, 500, 503])("comes back after %d", async (status) => {
    const server = new FakeServer();
    const stream = server.stream("/api/f/info");
    stream.refuse = status;
    const { told } = begin({ retry: 5 }, server);
    await until(() => stream.requests.length === 3);
    stream.refuse = undefined;
    await until(() => told.ready.length === 1);
    expect(told.ends).toEqual([]);
  });

  it("ends where the answer is no event stream", async () => {
    const page = async () => new Response("<html>", { headers: { "Content-Type": "text/html" } });
    const { told } = begin({ fetch: page });
    await until(() => told.ends.length === 1);
    expect(told.ends[0]).toMatchObject({ status: 406 });
  });

  it("sends its token, and renews it once on 401", async () => {
    const server = new FakeServer();
    const stream = server.stream("/api/f/info");
    let valid = "second";
    const guarded: typeof fetch = async (input, init) => {
      const request = new Request(input, init);
      stream.refuse = request.headers.get("Authorization") === `Bearer ${valid}` ? undefined : 401;
      return server.fetch(request);
    };
    const asked: boolean[] = [];
    const tokens = ["first", "second", "third", "wrong", "wrong"];
    const token = ({ isRenewal }: { isRenewal: boolean }) => {
      asked.push(isRenewal);
      return Promise.resolve(tokens.shift() as string);
    };
    const { told } = begin({ fetch: guarded, token }, server);
    await until(() => told.ready.length === 1);
    expect(asked).toEqual([false, true]);
    // Expires; the stream ends, and comes back with another one, from where it was.
    valid = "third";
    stream.publish("a");
    stream.cut("end");
    stream.publish("b");
    await until(() => told.data.length === 2);
    expect(asked).toEqual([false, true, true]);
    // Renewed in vain: ends.
    valid = "none";
    stream.cut("end");
    await until(() => told.ends.length === 1);
    expect(told.ends[0]).toMatchObject({ status: 401 });
    expect(asked).toEqual([false, true, true, true]);
  });

  it("ends when its token cannot be had", async () => {
    const { told, stream } = begin({ token: () => Promise.reject(new Error("signed out")) });
    await until(() => told.ends.length === 1);
    expect(told.ends[0]).toMatchObject({ status: 401 });
    expect(stream.requests).toHaveLength(0);
  });

  it("waits for a token while the network is away, and ends when it is refused one", async () => {
    const errors: unknown[] = [
      new TypeError("fetch failed"), new SseError({ status: 503, title: "busy" }), new SseError({ status: 0, title: "no answer" }),
      new DOMException("too late", "TimeoutError"),
    ];
    let asked = 0;
    const token = () => {
      const error = errors[asked++];
      return error ? Promise.reject(error) : "good";
    };
    const { told, stream } = begin({ token, retry: 1 });
    await until(() => told.ready.length === 1);
    expect([asked, stream.requests.length, told.ends]).toEqual([5, 1, []]);
    const refused = begin({ token: () => Promise.reject(new SseError({ status: 403, title: "signed out" })), retry: 1 });
    await until(() => refused.told.ends.length === 1);
    expect(refused.told.ends[0]).toMatchObject({ status: 401 });
  });

  it("is closed while it waits for a token, and asks no more", async () => {
    let asked = 0;
    const token = () => {
      asked++;
      return Promise.reject(new TypeError("fetch failed"));
    };
    const { told, subscription } = begin({ token, retry: 10 });
    await until(() => asked === 2);
    subscription.close();
    const before = asked;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([asked, told.ends]).toEqual([before, [undefined]]);
  });

  it("has one connection, and one renewal, when an iterator takes its last message while the token is renewed", async () => {
    const server = new FakeServer();
    const stream = server.stream("/api/f/info");
    let valid = "first";
    const guarded: typeof fetch = async (input, init) => {
      const request = new Request(input, init);
      stream.refuse = request.headers.get("Authorization") === `Bearer ${valid}` ? undefined : 401;
      return server.fetch(request);
    };
    const asked: boolean[] = [];
    let renewed!: (token: string) => void;
    const token = ({ isRenewal }: { isRenewal: boolean }) => {
      asked.push(isRenewal);
      return isRenewal ? new Promise<string>((resolve) => (renewed = resolve)) : "first";
    };
    const { told, subscription } = begin({ fetch: guarded, token, onEvent: undefined }, server);
    await until(() => told.ready.length === 1);
    stream.publish("a");
    await until(() => subscription.lastEventId === stream.position);
    valid = "second";
    stream.cut("end");
    await until(() => asked.length === 2);
    const requests = stream.requests.length;
    const iterator = subscription[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toMatchObject({ data: "a" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stream.requests).toHaveLength(requests);
    renewed("second");
    await until(() => told.ready.length === 2);
    expect([stream.subscribers, stream.requests.length, asked, told.ends]).toEqual([1, requests + 1, [false, true], []]);
  });

  it("goes on where others listen and nobody iterates, and an iterator begins with a gap", async () => {
    const { stream, told, subscription } = begin({ onEvent: undefined });
    await until(() => told.ready.length === 1);
    let last = "";
    for (let event = 0; event < 2500; event++) last = stream.publish(String(event));
    await until(() => subscription.hasSeen(last));
    expect([stream.subscribers, stream.requests.length]).toEqual([1, 1]);
    const found: Message[] = [];
    for await (const message of subscription) {
      found.push(message);
      if (message.data === "2499") break;
    }
    const { missed } = JSON.parse(found[0]?.data ?? "") as Gap;
    expect(found[0]).toMatchObject({ event: "sse.gap", data: `{"reason":"slow","missed":${missed}}` });
    expect(missed).toBe(1501);
    expect(found.slice(1).map(({ data }) => data)).toEqual(Array.from({ length: 999 }, (_, at) => String(1501 + at)));
  });

  it.each([999, 1000, 1001])("with %d messages that nobody takes is resumed by who begins to watch, and hears what comes", async (count) => {
    const server = new FakeServer();
    const stream = server.stream("/api/f/info");
    const subscription = subscribe(URL, { fetch: server.fetch });
    open.push(subscription);
    await until(() => stream.subscribers === 1);
    for (let event = 0; event < count; event++) stream.publish(String(event));
    await until(() => (count < 1000 ? subscription.lastEventId === stream.position : stream.subscribers === 0));
    const heard: string[] = [];
    subscription.watch(({ event, data }) => event === "message" && heard.push(data));
    await until(() => stream.subscribers === 1);
    stream.publish("last");
    await until(() => heard.at(-1) === "last");
    expect(heard).toHaveLength(1 + Math.max(0, count - 1000));
  });

  it("closes an iterator's stream while too much waits, and loses nothing", async () => {
    const server = new FakeServer();
    const stream = server.stream("/api/f/info");
    const subscription = subscribe(URL, { fetch: server.fetch });
    open.push(subscription);
    await until(() => stream.subscribers === 1);
    for (let event = 0; event < 2500; event++) stream.publish(String(event));
    await until(() => stream.subscribers === 0);
    const found: string[] = [];
    for await (const { data } of subscription) {
      found.push(data);
      if (found.length === 2500) break;
    }
    expect(found).toEqual(Array.from({ length: 2500 }, (_, at) => String(at)));
    expect(stream.requests).toHaveLength(3);
  });

  it("tells what a handler throws as an error of the page, and goes on", async () => {
    const errors: unknown[] = [];
    const listener = (error: unknown) => errors.push(error);
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", listener);
    const heard: string[] = [];
    const { stream, told } = begin({
      onEvent: ({ data }) => {
        heard.push(data);
        if (data === "a") throw new Error("of the handler");
      },
    });
    await until(() => told.ready.length === 1);
    stream.publish("a");
    stream.publish("b");
    await until(() => heard.length === 2 && errors.length === 1);
    process.removeListener("uncaughtException", listener);
    for (const other of others) process.on("uncaughtException", other);
    expect(stream.requests).toHaveLength(1);
  });

  it("waits longer after each failure, never the same, and half a minute at most", async () => {
    vi.useFakeTimers();
    const waits: number[] = [];
    const timeout = vi.spyOn(globalThis, "setTimeout");
    const { subscription } = begin({ fetch: () => Promise.reject(new TypeError("no network")), retry: 1000 });
    for (let attempt = 0; attempt < 12; attempt++) {
      await vi.advanceTimersByTimeAsync(0);
      waits.push(timeout.mock.lastCall?.[1] as number);
      await vi.advanceTimersByTimeAsync(waits.at(-1) as number);
    }
    subscription.close();
    waits.forEach((wait, at) => {
      const least = Math.min(1000 * 2 ** at, 30_000);
      expect(wait).toBeGreaterThanOrEqual(least);
      expect(wait).toBeLessThanOrEqual(least * 1.5);
    });
    expect(new Set(waits).size).toBe(waits.length);
  });

  it("waits as long as Retry-After says", async () => {
    const timeout = vi.spyOn(globalThis, "setTimeout");
    const { stream, subscription } = begin({
      fetch: async () => new Response("{}", { status: 503, headers: { "Retry-After": "7" } }),
    });
    const wait = await until(() => timeout.mock.calls.find(([, wait]) => (wait ?? 0) >= 7000)?.[1]);
    expect(wait).toBeLessThanOrEqual(10_500);
    expect(stream.requests).toHaveLength(0);
    subscription.close();
  });
});

describe("closing", () => {
  it.each([
    ["before it has begun", (_: FakeServer) => Promise.resolve()],
    ["while it is connected", (server: FakeServer) => until(() => server.stream("/api/f/info").subscribers === 1)],
    ["while it waits to come back", async (server: FakeServer) => {
      await until(() => server.stream("/api/f/info").subscribers === 1);
      server.down();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }],
  ])("%s ends the stream and its iterator, once", async (_, reach) => {
    const server = new FakeServer();
    const abort = new AbortController();
    const { told, subscription, stream } = begin({ signal: abort.signal }, server);
    await reach(server);
    abort.abort();
    subscription.close();
    server.up();
    await until(() => stream.subscribers === 0);
    const requests = stream.requests.length;
    for await (const message of subscription) expect(message).toBeUndefined();
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(stream.requests).toHaveLength(requests);
    expect(told.ends).toEqual([undefined]);
  });

  it("within a handler is the last thing that it hears", async () => {
    const heard: string[] = [];
    const { stream, told, subscription } = begin({
      onEvent: ({ data }) => {
        heard.push(data);
        if (data === "b") subscription.close();
      },
    });
    await until(() => told.ready.length === 1);
    stream.raw("id: 1-1\ndata: a\n\nid: 1-2\ndata: b\n\nid: 1-3\ndata: c\n\n");
    await until(() => told.ends.length === 1);
    await until(() => stream.subscribers === 0);
    expect(heard).toEqual(["a", "b"]);
  });

  it("happens at once where the signal was aborted before", async () => {
    const { stream, subscription, told } = begin({ signal: AbortSignal.abort() });
    expect(told.ends).toEqual([]);
    for await (const message of subscription) expect(message).toBeUndefined();
    await until(() => told.ends.length === 1);
    subscription.close();
    expect([told.ends, stream.requests]).toEqual([[undefined], []]);
  });
});
