// @vitest-environment happy-dom
import { afterEach, describe, expect, it } from "vitest";

import { logout, subscribe, type Subscription } from "../../src/index.js";
import { FakeServer } from "../../src/testing.js";
import { until } from "./wait.js";

const URL = "http://fake.test/api/f/info";
const open: Subscription[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

const happens = (name: string, persisted: boolean) =>
  window.dispatchEvent(Object.assign(new Event(name), { persisted }));

describe("a page", () => {
  it("that has loaded leaves a stream alone that is just being opened", async () => {
    const signals: AbortSignal[] = [];
    const waits: typeof fetch = (_, init) => new Promise(() => signals.push(init?.signal as AbortSignal));
    open.push(subscribe(URL, { fetch: waits, retry: 1 }));
    await until(() => signals.length === 1);
    happens("pageshow", false);
    window.dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  });

  it("that is kept while its user logs out, or in, begins anew as the new one; one with a token goes on", async () => {
    const server = new FakeServer();
    const stream = server.stream("/api/f/info");
    server.routine("/api/logout", () => undefined);
    const heard: Record<string, string[]> = { cookie: [], token: [] };
    for (const [name, token] of [["cookie", undefined], ["token", "t"]] as const) {
      open.push(subscribe(URL, {
        fetch: server.fetch, token,
        onEvent: ({ data }) => heard[name]?.push(data),
        onGap: ({ reason }) => heard[name]?.push(reason),
      }));
    }
    await until(() => stream.subscribers === 2);
    stream.publish("before");
    await until(() => heard["cookie"]?.length === 1 && heard["token"]?.length === 1);
    happens("pagehide", true);
    await until(() => stream.subscribers === 0);
    stream.publish("meanwhile");
    await logout("http://fake.test/api/logout", { fetch: server.fetch });
    happens("pageshow", true);
    await until(() => stream.subscribers === 2);
    stream.publish("after");
    await until(() => heard["cookie"]?.includes("after") && heard["token"]?.includes("after"));
    expect(heard).toEqual({ cookie: ["before", "session", "after"], token: ["before", "meanwhile", "after"] });
  });

  it.each([["shown", ["pageshow"]], ["kept and shown again", ["pagehide", "pageshow"]]])(
    "that is %s while a token is renewed has one connection, with the new one", async (_, names) => {
      const server = new FakeServer();
      const stream = server.stream("/api/f/info");
      const used: (string | null)[] = [];
      const guarded: typeof fetch = async (input, init) => {
        const request = new Request(input, init);
        used.push(request.headers.get("Authorization"));
        stream.refuse = used.at(-1) === "Bearer new" ? undefined : 401;
        return server.fetch(request);
      };
      const asked: boolean[] = [];
      const renewed: (() => void)[] = [];
      const ends: unknown[] = [];
      let ready = 0;
      open.push(subscribe(URL, {
        fetch: guarded,
        token: ({ isRenewal }) => {
          asked.push(isRenewal);
          return isRenewal ? new Promise((resolve) => renewed.push(() => resolve("new"))) : "old";
        },
        onReady: () => ready++,
        onEnd: (error) => ends.push(error),
      }));
      await until(() => renewed.length === 1);
      for (const name of names) happens(name, name === "pagehide" || names.length > 1);
      await until(() => renewed.length === names.length);
      for (const one of renewed) one();
      await until(() => ready === 1);
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect([used, ends, stream.subscribers]).toEqual([["Bearer old", "Bearer new"], [], 1]);
      expect(asked.slice(1).every((is) => is)).toBe(true);
    });
});
