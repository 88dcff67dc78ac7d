import { describe, expect, it } from "vitest";

import { SseError } from "../../src/index.js";
import { FakeServer } from "../../src/testing.js";
import { begin } from "./subscribing.js";
import { until } from "./wait.js";

/** A server that takes one token, and answers 401 to any other. */
function guarded(valid: string) {
  const server = new FakeServer();
  const stream = server.stream("/api/f/info");
  const door = {
    valid,
    server,
    fetch: ((input, init) => {
      const request = new Request(input, init);
      stream.refuse = request.headers.get("Authorization") === `Bearer ${door.valid}` ? undefined : 401;
      return server.fetch(request);
    }) as typeof fetch,
  };
  return door;
}

describe("a subscription", () => {
  it("sends its token, and renews it once on 401", async () => {
    const door = guarded("second");
    const asked: boolean[] = [];
    const tokens = ["first", "second", "third", "wrong", "wrong"];
    const token = ({ isRenewal }: { isRenewal: boolean }) => {
      asked.push(isRenewal);
      return Promise.resolve(tokens.shift() as string);
    };
    const { stream, told } = begin({ fetch: door.fetch, token }, door.server);
    await until(() => told.ready.length === 1);
    expect(asked).toEqual([false, true]);
    // Expires; the stream ends, and comes back with another one, from where it was.
    door.valid = "third";
    stream.publish("a");
    stream.cut("end");
    stream.publish("b");
    await until(() => told.data.length === 2);
    expect(asked).toEqual([false, true, true]);
    // Renewed in vain: ends.
    door.valid = "none";
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
    const door = guarded("first");
    const asked: boolean[] = [];
    let renewed!: (token: string) => void;
    const token = ({ isRenewal }: { isRenewal: boolean }) => {
      asked.push(isRenewal);
      return isRenewal ? new Promise<string>((resolve) => (renewed = resolve)) : "first";
    };
    const { stream, told, subscription } = begin({ fetch: door.fetch, token, onEvent: undefined }, door.server);
    await until(() => told.ready.length === 1);
    stream.publish("a");
    await until(() => subscription.lastEventId === stream.position);
    door.valid = "second";
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
});
