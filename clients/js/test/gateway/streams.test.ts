import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { gapOf, subscribe, type SubscribeOptions, type Subscription } from "../../src/index.js";
import { until } from "../units/wait.js";
import { freeze, GATEWAY, restart, sql, thaw } from "./control.js";
import { Proxy } from "./proxy.js";

let proxy: Proxy;
const open: Subscription[] = [];

beforeAll(async () => {
  proxy = await Proxy.start();
  await sql(`
    create function tell(_text text) returns void language plpgsql as $$ begin raise info '%', _text; end $$;
    comment on function tell(text) is '@sse';
    create function secret(_text text) returns void language plpgsql as $$ begin raise info '%', _text; end $$;
    comment on function secret(text) is '@sse
@authorize';`);
});
afterAll(() => proxy.stop());
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

function begin(options: SubscribeOptions = {}, path = "/api/tell/info") {
  const told = { data: [] as string[], gaps: [] as string[], ready: 0, ends: [] as (number | undefined)[] };
  const subscription = subscribe(`${proxy.url}${path}`, {
    onEvent: ({ data }) => told.data.push(data),
    onGap: ({ reason }) => told.gaps.push(reason),
    onReady: () => told.ready++,
    onEnd: (error) => told.ends.push(error?.status),
    ...options,
  });
  open.push(subscription);
  return { told, subscription };
}

const numbers = (count: number) => Array.from({ length: count }, (_, at) => String(at));
const subscribers = async () => Number(await sql("select count(*) from sse.subscribers"));
async function eventually(is: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000;
  while (!(await is())) if (Date.now() > end) throw new Error(`not in time: ${String(is)}`);
}

it("thousands of events come once each, over connections that break", async () => {
  const { told } = begin();
  await until(() => told.ready === 1);
  let published = 0;
  for (let round = 0; round < 20; round++) {
    await sql(`select tell(n::text) from generate_series(${published}, ${published + 249}) n`);
    published += 250;
    if (round % 2) proxy.cut();
    if (round % 5 === 4) {
      proxy.down();
      await sql(`select tell('${published++}')`);
      proxy.up();
    }
  }
  await until(() => told.data.length >= published);
  expect(told.data).toEqual(numbers(published));
  expect(told.gaps).toEqual([]);
  expect(told.ready).toBeGreaterThan(2);
});

it("text of any kind arrives as it was sent", async () => {
  const { told } = begin();
  await until(() => told.ready === 1);
  const texts = ["a\nb", "a\r\nb", "a\rb", " leading", ": no comment", "data: x\n\nevent: y", "ä€😀", "\u{feff}mark", "x".repeat(50_000)];
  for (const text of texts) await sql(`select tell(E'${text.replaceAll("\n", "\\n").replaceAll("\r", "\\r")}')`);
  await until(() => told.data.length === texts.length);
  expect(told.data).toEqual(texts.map((text) => text.replaceAll(/\r\n?/g, "\n")));
});

describe("a gap says", () => {
  it("unknown, for an id that was never sent", async () => {
    const { told } = begin({ lastEventId: "abc" });
    await until(() => told.gaps.length === 1);
    expect(told.gaps).toEqual(["unknown"]);
  });

  it("too_large, for an event that is", async () => {
    const { told } = begin();
    await until(() => told.ready === 1);
    await sql("select tell(repeat('x', 100000))");
    await sql("select tell('after')");
    await until(() => told.data.length === 1);
    expect(told.gaps).toEqual(["too_large"]);
  });

  it("expired, for who was away for too long", async () => {
    const { told } = begin();
    await until(() => told.ready === 1);
    await sql("select tell('before')");
    await until(() => told.data.length === 1);
    proxy.down();
    for (let round = 0; round < 8; round++) await sql("select tell(repeat('x', 50000)) from generate_series(1, 6)");
    proxy.up();
    await until(() => told.gaps.length === 1);
    expect(told.gaps).toEqual(["expired"]);
  });

  it("slow, for who does not read", async () => {
    let hold = Promise.resolve();
    let release = () => {};
    const slow: typeof fetch = async (input, init) => {
      const answer = await fetch(input, init);
      const pieces = new TransformStream<Uint8Array, Uint8Array>({
        async transform(piece, controller) {
          await hold;
          controller.enqueue(piece);
        },
      }, { highWaterMark: 1 }, { highWaterMark: 1 });
      return new Response(answer.body?.pipeThrough(pieces), { status: answer.status, headers: answer.headers });
    };
    const { told } = begin({ fetch: slow });
    await until(() => told.ready === 1);
    hold = new Promise((resolve) => (release = resolve));
    // Of small events: in the middle of a large one that leaves the window, the stream would be cut off instead.
    for (let round = 0; round < 60; round++) await sql("select tell(repeat('x', 8000)) from generate_series(1, 40)");
    release();
    await until(() => told.gaps.includes("slow"), JSON.stringify(told.gaps));
  });

  it("overflow, for a ring that was full", async () => {
    const { told } = begin();
    await until(() => told.ready === 1);
    await freeze();
    await sql("select tell(repeat('x', 50000)) from generate_series(1, 40)");
    await thaw();
    await sql("select tell('after')");
    await until(() => told.data.at(-1) === "after");
    expect(told.gaps).toContain("overflow");
  });

  it("restarted, after a restart of Postgres, and the stream goes on", async () => {
    const { told, subscription } = begin();
    await until(() => told.ready === 1);
    await sql("select tell('before')");
    await until(() => told.data.length === 1);
    await restart();
    await until(() => told.gaps.length === 1);
    await until(() => subscription.isConnected);
    await sql("select tell('after')");
    await until(() => told.data.at(-1) === "after");
    expect(told).toMatchObject({ data: ["before", "after"], gaps: ["restarted"], ends: [] });
  });
});

it("an iterator has the gaps in their place", async () => {
  const found: string[] = [];
  const stream = subscribe(`${proxy.url}/api/tell/info`, { lastEventId: "abc" });
  for await (const { event, data } of stream) {
    found.push(event === "sse.gap" ? gapOf(data).reason : data);
    if (found.length === 1) await sql("select tell('a')");
    else break;
  }
  expect(found).toEqual(["unknown", "a"]);
});

it("a token that expires is renewed, and nothing is missing", async () => {
  const renewals: boolean[] = [];
  const token = ({ isRenewal }: { isRenewal: boolean }) => {
    renewals.push(isRenewal);
    return sql(`select sse.issue_token('1', 'alice', '{}', '${isRenewal ? "1 hour" : "2 seconds"}')`);
  };
  const { told } = begin({ token }, "/api/secret/info");
  await until(() => told.ready === 1);
  // It is believed for 30 seconds longer: clocks differ (docs/who-may-hear.md).
  const end = Date.now() + 90_000;
  for (let event = 0; renewals.length < 2; event++) {
    if (Date.now() > end) throw new Error("it does not expire");
    await sql(`select secret('${event}')`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await sql("select secret('last')");
  await until(() => told.data.at(-1) === "last");
  expect(renewals).toEqual([false, true]);
  expect(told.gaps).toEqual([]);
  expect(told.data.slice(0, -1)).toEqual(numbers(told.data.length - 1));
});

it("refusals end a stream with their status", async () => {
  const [none, no] = [begin({}, "/api/none/info"), begin({}, "/api/secret/info")];
  await until(() => none.told.ends.length === 1 && no.told.ends.length === 1);
  expect([none.told.ends, no.told.ends]).toEqual([[404], [401]]);
});

it("whoever unsubscribes, in whatever state, is no subscriber any more", async () => {
  await eventually(async () => (await subscribers()) === 0);
  const states: ((one: ReturnType<typeof begin>) => Promise<unknown>)[] = [
    async () => {},
    async () => new Promise((resolve) => setTimeout(resolve, 3)),
    ({ told }) => until(() => told.ready === 1),
    async ({ told }) => {
      await until(() => told.ready === 1);
      await sql("select tell('a')");
    },
    async ({ told }) => {
      await until(() => told.ready === 1);
      proxy.cut();
    },
  ];
  for (const reach of states) {
    const one = begin();
    await reach(one);
    one.subscription.close();
    const heard = one.told.data.length;
    await eventually(async () => (await subscribers()) === 0);
    await sql("select tell('to nobody')");
    expect(one.told.data).toHaveLength(heard);
    expect(one.told.ends).toEqual([undefined]);
  }
  expect(GATEWAY).toContain("127.0.0.1");
});
