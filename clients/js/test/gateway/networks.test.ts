// What happens to pages between them and a real gateway: slow networks, sleep, gaps, and users that leave.

import { beforeAll, expect, it } from "vitest";

import { freeze, restart, sql, thaw } from "./control.js";
import { eventually, inBrowsers, told } from "./pages.js";

const PATH = "/api/murmur/info";

beforeAll(() => sql(`
  create function murmur(_text text) returns void language plpgsql as $$ begin raise info '%', _text; end $$;
  comment on function murmur(text) is '@sse
@sse_topic murmurs';
  create function stays() returns void language sql as '';
  comment on function stays() is '@sse_subscribe';
  create function no_state() returns text language plpgsql as $$ begin raise exception 'no state'; end $$;
  create function stateless() returns void language sql as '';
  comment on function stateless() is '@sse
@sse_topic murmurs
@sse_snapshot no_state as state';`));

const numbers = (count: number) => Array.from({ length: count }, (_, at) => String(at));
const subscribers = async () => Number(await sql("select count(*) from sse.subscribers"));

inBrowsers("networks", (pages) => {
  /** What `murmur` has said so far, in the test that counts. */
  let said = 0;
  async function murmur(count: number, pad = 0): Promise<void> {
    await sql(`select murmur(n || repeat(' ', ${pad})) from generate_series(${said}, ${said + count - 1}) n`);
    said += count;
  }
  async function hasAll(one: Awaited<ReturnType<typeof pages.tab>>): Promise<void> {
    await eventually(async () => (await told(one)).data.length >= said);
    const { data, gaps, ends } = await told(one);
    expect([data.map((text) => text.trim()), gaps, ends]).toEqual([numbers(said), [], []]);
  }

  // Both ways of reading a stream: by `fetch`, and by the browser's own EventSource.
  for (const [how, options] of [["fetch", "{}"], ["an EventSource", "{ events: [] }"]] as const) {
    it(`a slow network brings thousands of events once each, to two tabs, by ${how}`, async () => {
      said = 0;
      const tabs = [await pages.tab(PATH, options), await pages.tab(PATH, options)];
      pages.web.rate = 100_000;
      for (let round = 0; round < 4; round++) {
        await murmur(500, 40);
        if (round % 2) pages.web.cut();
      }
      for (const one of tabs) await hasAll(one);
      pages.web.rate = Infinity;
    });

    it(`a page that slept, and whose connection died meanwhile, has what it missed, by ${how}`, async () => {
      said = 0;
      const one = await pages.tab(PATH, options);
      await murmur(100);
      await hasAll(one);
      // As long as a machine sleeps nothing comes; when it wakes, the other side has forgotten the connection.
      pages.web.rate = 0;
      await murmur(500);
      pages.web.cut();
      pages.web.rate = Infinity;
      await one.run(`dispatchEvent(new Event("online"))`);
      await murmur(100);
      await hasAll(one);
    });
  }

  it("a page has a gap of each reason, and what follows", async () => {
    const one = await pages.tab(PATH);
    const gaps = async (reason: string) => {
      await eventually(async () => (await told(one)).gaps.includes(reason));
      await eventually(async () => (await told(one)).states.at(-1) === true);
      await sql(`select murmur('after ${reason}')`);
      await eventually(async () => (await told(one)).data.at(-1) === `after ${reason}`);
    };
    await sql("select murmur(repeat('x', 100000))");
    await gaps("too_large");
    await freeze();
    await sql("select murmur(repeat('x', 50000)) from generate_series(1, 40)");
    await thaw();
    await gaps("overflow");
    // Away for so long that its place has left the window.
    pages.web.rate = 0;
    pages.web.cut();
    for (let round = 0; round < 8; round++) await sql("select murmur(repeat('x', 50000)) from generate_series(1, 6)");
    pages.web.cut();
    pages.web.rate = Infinity;
    await gaps("expired");
    await restart();
    await gaps("restarted");
    await pages.close(one);
    await gapAtOnce("unknown", PATH, `{ lastEventId: "abc" }`);
    await gapAtOnce("snapshot", "/api/stateless/info", "{}");
    // Reads nothing while more comes than the window has.
    const slow = await pages.tab(PATH);
    pages.web.rate = 0;
    for (let round = 0; round < 60; round++) await sql("select murmur(repeat('x', 8000)) from generate_series(1, 40)");
    pages.web.rate = Infinity;
    await eventually(async () => (await told(slow)).gaps.length > 0);
    expect((await told(slow)).gaps[0]).toBe("slow");
  });
  async function gapAtOnce(reason: string, path: string, options: string): Promise<void> {
    const one = await pages.tab(path, options);
    await eventually(async () => (await told(one)).gaps.length > 0);
    expect((await told(one)).gaps).toEqual([reason]);
    await pages.close(one);
  }

  it("whoever unsubscribes, in whatever state, hears nothing more and is no subscriber any more", async () => {
    await eventually(async () => (await subscribers()) === 0);
    const one = await pages.tab("/api/stays/info");
    const states: Record<string, () => Promise<void>> = {
      "being opened": async () => {},
      "a moment later": () => new Promise((resolve) => setTimeout(resolve, 3)),
      open: () => eventually(async () => (await one.run<{ ready: number }>(`told("b")`)).ready > 0),
      broken: async () => {
        await eventually(async () => (await one.run<{ ready: number }>(`told("b")`)).ready > 0);
        pages.web.cut();
      },
      hanging: async () => {
        await eventually(async () => (await one.run<{ ready: number }>(`told("b")`)).ready > 0);
        pages.web.rate = 0;
        await sql("select murmur('in vain')");
      },
    };
    for (const options of ["{}", "{ events: [] }", "{ share: false }"]) {
      for (const reach of Object.values(states)) {
        await one.run(`begin("b", "${PATH}", ${options})`);
        await reach();
        await one.run(`runs.b.subscription.close()`);
        const heard = await one.run<{ data: string[] }>(`told("b")`);
        await eventually(async () => (await sql(`select count(*) from sse.subscribers where url = '${PATH}'`)) === "0");
        pages.web.rate = Infinity;
        await sql("select murmur('to nobody')");
        const then = await one.run<{ data: string[]; ends: number[] }>(`told("b")`);
        expect([then.data, then.ends]).toEqual([heard.data, [0]]);
      }
    }
  });
});
