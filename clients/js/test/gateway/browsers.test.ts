// Pages in browsers, with cookies, on a real gateway.

import { beforeAll, expect, it } from "vitest";

import type { Tab } from "../browser/browsers.js";
import { restart, sql } from "./control.js";
import { eventually, inBrowsers, told } from "./pages.js";

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

inBrowsers("pages", (pages) => {
  it("six tabs hear thousands of events once each over one connection, whatever breaks", async () => {
    const path = "/api/shout/info";
    const tabs: Tab[] = [];
    for (let at = 0; at < 6; at++) tabs.push(await pages.tab(path));
    // `sse.subscribers` has the state of the last look; who has just left may still be in it.
    await eventually(async () => (await sql("select count(*) from sse.subscribers")) === "1");
    let published = 0;
    const publish = async () => {
      await sql(`select shout(n::text) from generate_series(${published}, ${published + 499}) n`);
      published += 500;
    };
    await publish();
    pages.web.cut();
    await publish();
    // The first one may lead.
    await pages.close(tabs.shift() as Tab);
    await publish();
    pages.web.cut();
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
      await pages.close(one);
    }
    await eventually(async () => (await sql("select count(*) from sse.subscribers")) === "0");
  });

  it("logins and logouts change what all tabs hear", async () => {
    const [one, two] = [await pages.tab("/api/whisper/info"), await pages.tab("/api/whisper/info")];
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
      await pages.close(each);
    }
  });
});
