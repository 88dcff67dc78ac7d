// Pages in browsers, with cookies, on a real gateway.

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type Browser, isThere, open, type Tab } from "../browser/browsers.js";
import { WebServer } from "../browser/server.js";
import { GATEWAY, restart, sql } from "./control.js";

interface Told { data: string[]; gaps: string[]; ready: number; states: boolean[]; ends: number[] }

beforeAll(() => sql(`
  create function shout(_text text) returns void language plpgsql as $$ begin raise info '%', _text; end $$;
  comment on function shout(text) is '@sse';
  create function whisper(_text text) returns void language plpgsql as $$ begin raise info '%', _text; end $$;
  comment on function whisper(text) is '@sse
@sse_scope authorize';
  create function login(_name text) returns table (user_id text, user_name text) language sql as 'select _name, _name';
  comment on function login(text) is 'HTTP POST
@login
@anonymous';
  create function logout() returns void language sql as '';
  comment on function logout() is 'HTTP POST
@logout
@anonymous';`));

for (const name of ["chromium", "firefox"] as const) {
  describe.runIf(isThere(name) || !!process.env["CI"])(`pages in ${name}`, () => {
    let browser: Browser;
    let web: WebServer;
    beforeAll(async () => {
      [browser, web] = [await open(name), await WebServer.start(GATEWAY)];
    });
    afterAll(async () => {
      await browser.close();
      await web.stop();
    });

    async function tab(path: string): Promise<Tab> {
      const one = await browser.tab();
      await load(one, path);
      return one;
    }
    async function load(one: Tab, path: string): Promise<void> {
      await one.goto(`${web.url}/`);
      await eventually(() => one.run<boolean>("window.isReady === true"));
      await one.run(`begin("a", "${path}")`);
      await eventually(async () => (await told(one)).ready > 0);
    }
    const told = (one: Tab) => one.run<Told>(`told("a")`);
    async function eventually(is: () => Promise<boolean>): Promise<void> {
      const end = Date.now() + 60_000;
      while (!(await is())) {
        if (Date.now() > end) throw new Error(`not in time: ${String(is)}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }

    it("six tabs hear thousands of events once each over one connection, whatever breaks", async () => {
      const path = "/api/shout/info";
      const tabs: Tab[] = [];
      for (let at = 0; at < 6; at++) tabs.push(await tab(path));
      // `sse.subscribers` has the state of the last look; who has just left may still be in it.
      await eventually(async () => (await sql("select count(*) from sse.subscribers")) === "1");
      let published = 0;
      const publish = async () => {
        await sql(`select shout(n::text) from generate_series(${published}, ${published + 499}) n`);
        published += 500;
      };
      await publish();
      web.cut();
      await publish();
      // The first one may lead.
      await tabs.shift()?.close();
      await publish();
      web.cut();
      await publish();
      for (const one of tabs) {
        await eventually(async () => (await told(one)).data.length >= published);
        const { data, gaps, ends } = await told(one);
        expect(data).toEqual(Array.from({ length: published }, (_, at) => String(at)));
        expect([gaps, ends]).toEqual([[], []]);
      }
      await restart();
      for (const one of tabs) await eventually(async () => (await told(one)).gaps.length > 0);
      await sql("select shout('after')");
      for (const one of tabs) {
        await eventually(async () => (await told(one)).data.at(-1) === "after");
        expect((await told(one)).gaps).toEqual(["restarted"]);
        await one.close();
      }
      await eventually(async () => (await sql("select count(*) from sse.subscribers")) === "0");
    });

    it("logins and logouts change what all tabs hear", async () => {
      const [one, two] = [await tab("/api/whisper/info"), await tab("/api/whisper/info")];
      await sql("select whisper('before')");
      await one.run(`sse.login("/api/login", { name: "alice" }).then(({ status }) => status)`);
      for (const each of [one, two]) {
        await eventually(async () => (await told(each)).gaps.includes("session") && (await told(each)).states.at(-1) === true);
      }
      await sql("select whisper('to alice')");
      for (const each of [one, two]) {
        await eventually(async () => (await told(each)).data.length === 1);
        expect((await told(each)).data).toEqual(["to alice"]);
      }
      await two.run(`sse.logout("/api/logout").then(() => true)`);
      for (const each of [one, two]) {
        await eventually(async () => (await told(each)).gaps.length > 1 && (await told(each)).states.at(-1) === true);
      }
      await sql("select whisper('to nobody')");
      await sql("select shout('to all')");
      for (const each of [one, two]) {
        await eventually(async () => (await told(each)).data.length === 2);
        expect((await told(each)).data).toEqual(["to alice", "to all"]);
        await each.close();
      }
    });
  });
}
