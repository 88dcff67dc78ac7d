import { describe, expect, it } from "vitest";

import { FakeServer } from "../../src/testing.js";
import { begin } from "./subscribing.js";
import { until } from "./wait.js";

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
