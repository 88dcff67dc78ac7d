import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { until } from "../units/wait.js";
import { type Browser, isThere, type Name, open, type Tab } from "./browsers.js";
import { WebServer } from "./server.js";

interface Told { data: string[]; gaps: string[]; ready: number; states: boolean[]; ends: number[] }

const PATH = "/api/f/info";

/** What streams and tabs do in this browser. `some`: what depends on the browser most. */
export function suite(name: Name, how: "all" | "some"): void {
  // On CI a browser that is not there is a failure; elsewhere its tests are skipped.
  describe.runIf(isThere(name) || !!process.env["CI"])(`tabs in ${name}`, () => {
    const modes = how === "all" ? ["worker", "locks", "alone"] : ["worker", "locks"];
    const rest = it.runIf(how === "all");
    let browser: Browser;
    let web: WebServer;
    let tabs: Tab[];

    beforeAll(async () => {
      browser = await open(name);
    });
    afterAll(() => browser.close());
    beforeEach(async () => {
      web = await WebServer.start();
      tabs = [];
    });
    afterEach(async () => {
      for (const tab of tabs.splice(0)) await tab.close();
      await web.stop();
    });

    /** A tab with the package in it. */
    async function tab(mode: string): Promise<Tab> {
      const one = await browser.tab();
      tabs.push(one);
      await one.goto(`${web.url}/?mode=${mode}`);
      await loaded(one);
      return one;
    }
    async function loaded(one: Tab): Promise<void> {
      await eventually(() => one.run<boolean>("window.isReady === true"));
    }
    async function close(one: Tab): Promise<void> {
      tabs.splice(tabs.indexOf(one), 1);
      await one.close();
    }
    async function begin(one: Tab, options = "{}", path = PATH): Promise<void> {
      await one.run(`begin("a", ${JSON.stringify(path)}, ${options})`);
      await eventually(async () => (await told(one)).ready > 0);
    }
    const told = (one: Tab) => one.run<Told>(`told("a")`);
    async function eventually(is: () => Promise<boolean>): Promise<void> {
      const end = Date.now() + 15_000;
      while (!(await is())) {
        if (Date.now() > end) throw new Error(`not in time: ${String(is)}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, at) => String(from + at));

    it.each(modes)("%s: thousands of events come to each tab once, whoever goes meanwhile", async (mode) => {
      const stream = web.fake.stream(PATH);
      const count = mode === "alone" ? 2 : 5;
      const all: Tab[] = [];
      for (let at = 0; at < count; at++) {
        all.push(await tab(mode));
        await begin(all[at] as Tab);
      }
      if (mode !== "alone") expect(stream.subscribers).toBe(1);
      let published = 0;
      const publish = (events: number) => {
        for (let event = 0; event < events; event++) stream.publish(String(published++));
      };
      publish(1000);
      // The first one may lead.
      await close(all.shift() as Tab);
      publish(1000);
      stream.cut();
      publish(500);
      await close(all.shift() as Tab);
      publish(500);
      for (const one of all) {
        await eventually(async () => (await told(one)).data.length >= published);
        const { data, gaps, ends } = await told(one);
        expect({ data, gaps, ends }).toEqual({ data: numbers(published), gaps: [], ends: [] });
      }
      while (all.length) await close(all.pop() as Tab);
      await until(() => stream.subscribers === 0);
    });

    it.each(["worker", "locks"])("%s: a tab that comes later has the snapshot and what followed, on the same connection", async (mode) => {
      const stream = web.fake.stream(PATH);
      stream.snapshot = () => "state";
      const one = await tab(mode);
      await begin(one);
      await eventually(async () => (await told(one)).data.length === 1);
      stream.publish("a");
      await eventually(async () => (await told(one)).data.length === 2);
      const two = await tab(mode);
      await begin(two);
      await eventually(async () => (await told(two)).data.length === 2);
      stream.publish("b");
      for (const each of [one, two]) {
        await eventually(async () => (await told(each)).data.length === 3);
        expect((await told(each)).data).toEqual(["state", "a", "b"]);
      }
      expect(stream.requests).toHaveLength(1);
    });

    rest.each(["worker", "locks"])("%s: a reload leaves the other tabs as they are, and one connection", async (mode) => {
      const stream = web.fake.stream(PATH);
      const [one, two] = [await tab(mode), await tab(mode)];
      await begin(one);
      await begin(two);
      stream.publish("0");
      await eventually(async () => (await told(two)).data.length === 1);
      await one.reload();
      await loaded(one);
      stream.publish("1");
      await begin(one);
      stream.publish("2");
      await eventually(async () => (await told(two)).data.length === 3 && (await told(one)).data.length === 1);
      expect((await told(two)).data).toEqual(["0", "1", "2"]);
      expect((await told(one)).data).toEqual(["2"]);
      await until(() => stream.subscribers === 1);
    });

    it.each(modes)("%s: a login in one tab begins the streams of all anew, those of tokens not", async (mode) => {
      web.fake.routine("/api/login", () => "welcome");
      const stream = web.fake.stream(PATH);
      const [one, two] = [await tab(mode), await tab(mode)];
      await begin(one);
      await begin(two);
      await two.run(`begin("token", "${PATH}", { token: "t" })`);
      await eventually(async () => (await two.run<Told>(`told("token")`)).ready === 1);
      stream.publish("of nobody");
      await eventually(async () => (await told(two)).data.length === 1);
      await one.run(`sse.login("/api/login", { username: "alice" }).then(() => true)`);
      for (const each of [one, two]) await eventually(async () => (await told(each)).ready > 1 && (await told(each)).states.at(-1) === true);
      // Two tabs may hear of it one after the other.
      await eventually(async () => (await told(two)).gaps.length > 0);
      expect(new Set((await told(two)).gaps)).toEqual(new Set(["session"]));
      stream.publish("of alice");
      await eventually(async () => (await told(two)).data.length === 2);
      expect(await two.run<Told>(`told("token")`)).toMatchObject({ ready: 1, gaps: [], data: ["of nobody", "of alice"] });
    });

    // Attack: a script, or a report of errors, lists the names of locks, and has the bearer token of whoever listens.
    rest("a token is in no lock's name", async () => {
      const stream = web.fake.stream(PATH);
      const [one, two] = [await tab("locks"), await tab("locks")];
      for (const each of [one, two]) await begin(each, `{ token: "secret" }`);
      expect(stream.subscribers).toBe(1);
      const names = await one.run<string>("navigator.locks.query().then((all) => JSON.stringify(all))");
      expect(names).toContain("pg-sse");
      expect(names).not.toContain("secret");
    });

    rest("tabs share without the worker's file", async () => {
      web.missing.add("worker.js");
      const stream = web.fake.stream(PATH);
      const [one, two] = [await tab("worker"), await tab("worker")];
      await begin(one);
      await begin(two);
      stream.publish("a");
      await eventually(async () => (await told(one)).data.length === 1 && (await told(two)).data.length === 1);
      expect(stream.subscribers).toBe(1);
    });

    rest("a page is alone without the file of the sharing", async () => {
      web.missing.add("tabs.js");
      const stream = web.fake.stream(PATH);
      const one = await tab("worker");
      await begin(one);
      stream.publish("a");
      await eventually(async () => (await told(one)).data.length === 1);
    });

    rest("a refusal is told to all tabs", async () => {
      web.fake.stream(PATH).refuse = 403;
      const [one, two] = [await tab("worker"), await tab("worker")];
      for (const each of [one, two]) {
        await each.run(`begin("a", "${PATH}")`);
        await eventually(async () => (await told(each)).ends.length === 1);
        expect((await told(each)).ends).toEqual([403]);
      }
    });

    rest.each(modes)("%s: a page that is kept for the way back holds no connection and no lock, and goes on where it was", async (mode) => {
      const locks = () => one.run<number>("navigator.locks?.query().then(({ held }) => held.length) ?? 0");
      const stream = web.fake.stream(PATH);
      const one = await tab(mode);
      await begin(one);
      stream.publish("a");
      await eventually(async () => (await told(one)).data.length === 1);
      // Whether a browser keeps the page depends on much; what it says to a page that it keeps does not.
      expect(await locks()).toBe(mode === "alone" ? 0 : 1);
      await one.run(`dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }))`);
      await until(() => stream.subscribers === 0);
      await eventually(async () => (await locks()) === 0);
      stream.publish("b");
      await one.run(`dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }))`);
      await eventually(async () => (await told(one)).data.length === 2);
      expect((await told(one)).data).toEqual(["a", "b"]);
      // The worker sees again when the page goes without a word.
      expect(await locks()).toBe(mode === "alone" ? 0 : 1);
      await close(one);
      await until(() => stream.subscribers === 0);
    });

    rest.each(["worker", "alone"])("%s: comes back at once when the network does", async (mode) => {
      const stream = web.fake.stream(PATH);
      const one = await tab(mode);
      await begin(one);
      stream.raw("retry: 60000\n\n");
      stream.publish("a");
      await eventually(async () => (await told(one)).data.length === 1);
      stream.cut();
      await eventually(async () => (await told(one)).states.at(-1) === false);
      stream.publish("b");
      await one.run(`dispatchEvent(new Event("online"))`);
      await eventually(async () => (await told(one)).data.length === 2);
    });

    rest("comes back when the browser is online again", async () => {
      const stream = web.fake.stream(PATH);
      const one = await tab("alone");
      await begin(one);
      stream.raw("retry: 60000\n\n");
      stream.publish("a");
      await eventually(async () => (await told(one)).data.length === 1);
      await browser.offline?.(true);
      stream.cut();
      await eventually(async () => (await told(one)).states.at(-1) === false);
      stream.publish("b");
      await browser.offline?.(false);
      await eventually(async () => (await told(one)).data.length === 2);
      expect((await told(one)).data).toEqual(["a", "b"]);
    });

    describe("a native EventSource", () => {
      it("hears the names that it was told, comes back by id, and says why it ends", async () => {
        const stream = web.fake.stream(PATH);
        const one = await tab("alone");
        await begin(one, `{ events: ["paid"] }`);
        expect(stream.requests[0]?.headers.get("Accept")).toBe("text/event-stream");
        stream.publish("1");
        stream.publish("2", "paid");
        stream.publish("3", "unknown");
        const id = stream.publish("4");
        await eventually(async () => (await told(one)).data.length === 3);
        stream.cut();
        stream.publish("5");
        await eventually(async () => (await told(one)).data.length === 4);
        expect((await told(one)).data).toEqual(["1", "paid:2", "4", "5"]);
        // By the browser itself, after the server's `retry`.
        expect(stream.requests[1]?.headers.get("Last-Event-ID")).toBe(id);
        stream.refuse = 401;
        stream.cut();
        await eventually(async () => (await told(one)).ends.length === 1);
        expect((await told(one)).ends).toEqual([401]);
      });

      rest("ends without an error on 204, and waits out a 503", async () => {
        const stream = web.fake.stream(PATH);
        stream.refuse = 503;
        const one = await tab("alone");
        await one.run(`begin("a", "${PATH}", { events: ["x"], retry: 20 })`);
        await until(() => stream.requests.length >= 3);
        stream.refuse = undefined;
        await eventually(async () => (await told(one)).ready === 1);
        stream.refuse = 204;
        stream.cut();
        await eventually(async () => (await told(one)).ends.length === 1);
        expect((await told(one)).ends).toEqual([0]);
      });
    });
  });
}
