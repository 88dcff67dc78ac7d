import { describe, expect, it } from "vitest";

import type { Gap, Message } from "../../src/index.js";
import { begin, beginUnheard } from "./subscribing.js";
import { until } from "./wait.js";

describe("a subscription", () => {
  it("is iterated over, gaps among the events, and closed by leaving the loop", async () => {
    const { stream, subscription } = beginUnheard();
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
    const { stream, subscription } = beginUnheard();
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
    const { stream, subscription } = beginUnheard();
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
});
