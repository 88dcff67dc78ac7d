import { afterEach, describe, expect, it, vi } from "vitest";

import { SseError, subscribe } from "../../src/index.js";
import { FakeServer } from "../../src/testing.js";
import { begin, URL } from "./subscribing.js";
import { until } from "./wait.js";

afterEach(() => {
  // The spy is on the false timers.
  vi.restoreAllMocks();
  vi.useRealTimers();
});

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
