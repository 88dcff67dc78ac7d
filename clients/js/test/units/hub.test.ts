import { afterEach, describe, expect, it } from "vitest";

import type { Target } from "../../src/connection.js";
import { Hub } from "../../src/hub.js";
import { CHANNEL, type Message, type Problem } from "../../src/message.js";
import { Client, type Down, Peer, type Up } from "../../src/remote.js";
import { FakeServer } from "../../src/testing.js";
import { until } from "./wait.js";

const PATH = "/api/f/info";
const TARGET: Target = { url: `http://fake.test${PATH}`, credentials: "same-origin" };
const leave: (() => void)[] = [];

afterEach(() => {
  for (const one of leave.splice(0)) one();
});

function setUp(snapshot?: () => unknown) {
  const server = new FakeServer();
  const stream = server.stream(PATH);
  stream.snapshot = snapshot;
  const hub = new Hub({ fetch: server.fetch });
  return { server, stream, hub, join: (id = "", target = TARGET) => join(hub, id, target) };
}

/** A member, and what it has heard. */
function join(hub: { join: Hub["join"] }, id = "", target = TARGET) {
  const told = { messages: [] as Message[], states: [] as boolean[], ends: [] as (Problem | undefined)[] };
  const away = hub.join(target, id, {
    message: (message) => told.messages.push(message),
    connected: (is) => told.states.push(is),
    end: (problem) => told.ends.push(problem),
  });
  leave.push(away);
  const data = () => told.messages.filter(({ event }) => event !== "sse.ready").map(({ data }) => data);
  return { told, data, leave: away, isReady: () => told.messages.some(({ event }) => event === "sse.ready") };
}

describe("a hub", () => {
  it("has one connection for all who want the same", async () => {
    const { stream, join } = setUp();
    const members = [join(), join(), join()];
    await until(() => members.every((member) => member.isReady()));
    stream.publish("a");
    await until(() => members.every((member) => member.data().length === 1));
    expect(stream.requests).toHaveLength(1);
  });

  it("keeps apart who differs in URL, credentials, token or names", async () => {
    const { stream, join } = setUp();
    join();
    join("", { ...TARGET, url: `${TARGET.url}?topic=a` });
    join("", { ...TARGET, credentials: "include" });
    join("", { ...TARGET, token: "t" });
    join("", { ...TARGET, token: "u" });
    join("", { ...TARGET, events: ["a"] });
    await until(() => stream.subscribers === 6);
  });

  it("closes the connection when its last member goes, and not before", async () => {
    const { stream, join } = setUp();
    const [one, two] = [join(), join()];
    await until(() => one.isReady() && two.isReady());
    one.leave();
    stream.publish("a");
    await until(() => two.data().length === 1);
    expect(one.data()).toEqual([]);
    two.leave();
    two.leave();
    await until(() => stream.subscribers === 0);
  });

  it("gives who comes later what comes from then on, ready first", async () => {
    const { stream, join } = setUp();
    const one = join();
    await until(one.isReady);
    const id = stream.publish("a");
    await until(() => one.data().length === 1);
    const two = join();
    expect(two.told.messages).toEqual([{ id, event: "sse.ready", data: "{}" }]);
    stream.publish("b");
    await until(() => two.data().length === 1);
    expect([one.data(), two.data()]).toEqual([["a", "b"], ["b"]]);
  });

  it("gives who comes later the snapshot and what has followed it", async () => {
    const { stream, join } = setUp(() => "state");
    const one = join();
    await until(() => one.data().length === 1);
    stream.publish("a");
    await until(() => one.data().length === 2);
    const two = join();
    expect(two.data()).toEqual(["state", "a"]);
    expect(two.told.messages[0]).toMatchObject({ event: "sse.ready", id: "1-0s" });
    expect(stream.requests).toHaveLength(1);
  });

  it("begins anew for who comes later with the snapshot after a gap", async () => {
    let state = "first";
    const { stream, join } = setUp(() => state);
    const one = join();
    await until(() => one.data().length === 1);
    state = "second";
    stream.gap("overflow");
    stream.publish("a");
    await until(() => one.data().length === 4);
    expect(join().data()).toEqual(["second", "a"]);
  });

  it("gives who comes back what follows his id, from the log", async () => {
    const { stream, join } = setUp();
    const one = join();
    await until(one.isReady);
    const id = stream.publish("a");
    stream.publish("b");
    await until(() => one.data().length === 2);
    expect(join(id).data()).toEqual(["b"]);
    expect(stream.requests).toHaveLength(1);
  });

  it("opens a second connection for who needs more than the log has, until both are in step", async () => {
    const { server, stream } = setUp();
    const early = stream.publish("a");
    stream.publish("b");
    const hub = new Hub({ fetch: server.fetch });
    const one = join(hub);
    await until(one.isReady);
    const two = join(hub, early);
    await until(() => two.data().length === 1);
    expect(stream.subscribers).toBe(2);
    stream.publish("c");
    await until(() => stream.subscribers === 1);
    stream.publish("d");
    await until(() => one.data().length === 2 && two.data().length === 3);
    expect([one.data(), two.data()]).toEqual([["c", "d"], ["b", "c", "d"]]);
  });

  it("opens a second connection for who begins when the log no longer has the snapshot", async () => {
    const rows: number[] = [];
    const { stream, join } = setUp(() => [...rows]);
    const one = join();
    await until(() => one.data().length === 1);
    const publish = () => {
      rows.push(rows.length);
      stream.publish(String(rows.length - 1));
    };
    for (let event = 0; event < 1500; event++) publish();
    await until(() => one.data().length === 1501);
    const two = join();
    await until(() => two.data().length === 1);
    expect(JSON.parse(two.data()[0] as string)).toHaveLength(1500);
    publish();
    await until(() => stream.subscribers === 1);
    publish();
    await until(() => one.data().length === 1503 && two.data().length === 3);
    expect(two.data().slice(1)).toEqual(["1500", "1501"]);
    // The one that is whole was kept: it serves the next one.
    const three = join();
    expect(three.data().slice(1)).toEqual(["1500", "1501"]);
    expect(stream.requests).toHaveLength(2);
  });

  /** A hub whose connections are written to by hand, each by its own function. */
  function byHand() {
    const write: ((bytes: string) => void)[] = [];
    const hub = new Hub({
      fetch: async () => {
        const body = new ReadableStream<Uint8Array>({
          start: (controller) => void write.push((bytes) => controller.enqueue(new TextEncoder().encode(bytes))),
        });
        return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
      },
    });
    const ready = (id: string) => `id: ${id}\nevent: sse.ready\ndata: {}\n\n`;
    const event = (id: string, data: string) => `id: ${id}\ndata: ${data}\n\n`;
    return { hub, write, ready, event };
  }

  it("gives who comes into step what the other connection has brought already", async () => {
    const { hub, write, ready, event } = byHand();
    const one = join(hub);
    await until(() => write.length === 1);
    write[0]?.(ready("5") + event("6", "six") + event("7", "seven"));
    await until(() => one.data().length === 2);
    const two = join(hub, "3");
    await until(() => write.length === 2);
    write[1]?.(ready("3") + event("4", "four") + event("6", "six"));
    await until(() => two.data().length === 3);
    write[0]?.(event("8", "eight"));
    await until(() => one.data().length === 3 && two.data().length === 4);
    expect(two.data()).toEqual(["four", "six", "seven", "eight"]);
  });

  it("begins anew for who comes back with an id that needs a fresh snapshot", async () => {
    const { hub, write, ready, event } = byHand();
    const one = join(hub);
    await until(() => write.length === 1);
    write[0]?.(ready("1s") + event("1s", "state") + event("2s", "two"));
    await until(() => one.data().length === 2);
    expect(join(hub, "2s").data()).toEqual(["state", "two"]);
    expect(write).toHaveLength(1);
  });

  it("opens a second connection for who begins when one large message has emptied the log", async () => {
    const { stream, join } = setUp(() => "state");
    const one = join();
    await until(() => one.data().length === 1);
    stream.publish("x".repeat(4_000_001));
    await until(() => one.data().length === 2);
    const two = join();
    await until(() => two.data().length === 1);
    expect(two.data()).toEqual(["state"]);
    expect(stream.requests).toHaveLength(2);
  });

  it("takes a second ready in the middle: nothing is lost or doubled by who comes then or comes back", async () => {
    const { hub, write, ready, event } = byHand();
    const one = join(hub);
    await until(() => write.length === 1);
    write[0]?.(ready("1") + event("2", "two") + ready("5"));
    await until(() => one.told.messages.length === 3);
    // With the id of that one, with an older one, and without any.
    const [back, older, fresh] = [join(hub, "5"), join(hub, "1"), join(hub)];
    expect([back.data(), older.data(), fresh.data()]).toEqual([[], ["two"], []]);
    expect(fresh.told.messages).toEqual([{ id: "5", event: "sse.ready", data: "{}" }]);
    write[0]?.(event("6", "six"));
    await until(() => fresh.data().length === 1);
    expect([one, back, older, fresh].map((member) => member.data())).toEqual([["two", "six"], ["six"], ["two", "six"], ["six"]]);
    expect(join(hub, "2").data()).toEqual(["six"]);
    expect(write).toHaveLength(1);
  });

  it("goes on from a second ready after which the stream ends, losing and doubling nothing", async () => {
    const { stream, join } = setUp();
    const [one, two] = [join(), join()];
    await until(() => one.isReady() && two.isReady());
    for (let round = 0; round < 5; round++) {
      stream.publish(`${round}`);
      stream.raw(`id: ${stream.position}\nevent: sse.ready\ndata: {}\n\n`);
      stream.cut("end");
      stream.publish(`${round} meanwhile`);
      await until(() => one.data().length === 2 * round + 2 && two.data().length === 2 * round + 2);
      await until(() => stream.subscribers === 1);
    }
    const all = Array.from({ length: 5 }, (_, round) => [`${round}`, `${round} meanwhile`]).flat();
    expect([one.data(), two.data(), stream.requests.length]).toEqual([all, all, 6]);
  });

  it("takes a second ready whose id needs a snapshot: who comes then has the snapshot that follows, once", async () => {
    const { hub, write, ready, event } = byHand();
    const one = join(hub);
    await until(() => write.length === 1);
    write[0]?.(ready("1s") + event("2", "state") + event("3", "three") + ready("5s"));
    await until(() => one.told.messages.length === 4);
    const two = join(hub);
    expect([two.data(), two.told.messages]).toEqual([[], [{ id: "5s", event: "sse.ready", data: "{}" }]]);
    // As after the end of the stream, on the next connection.
    write[0]?.(ready("5s") + event("6", "newer state") + event("7", "seven"));
    await until(() => two.data().length === 2);
    expect([two.data(), join(hub).data(), join(hub, "6").data()]).toEqual([["newer state", "seven"], ["newer state", "seven"], ["seven"]]);
    expect(one.data()).toEqual(["state", "three", "newer state", "seven"]);
    expect(write).toHaveLength(1);
  });

  it("does not give a stream that has failed to bring its snapshot to who begins", async () => {
    const { stream, join } = setUp(() => "state");
    const one = join();
    await until(() => one.data().length === 1);
    stream.gap("snapshot");
    await until(() => one.data().length === 2);
    const two = join();
    await until(() => two.data().length === 1);
    expect(two.data()).toEqual(["state"]);
  });

  it("loses and doubles nothing for members that come, go and come back while connections break", async () => {
    const { server, stream, join } = setUp();
    let published = 0;
    let seed = 7;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const people = Array.from({ length: 6 }, () => ({ all: [] as string[], id: "", begin: -1, away: undefined as (() => void) | undefined }));
    for (let step = 0; step < 1500; step++) {
      const person = people[Math.floor(random() * people.length)] as (typeof people)[number];
      const what = random();
      if (what < 0.1 && person.away) {
        person.away();
        person.away = undefined;
      } else if (what < 0.25 && !person.away) {
        const member = { live: true };
        const hub = server as unknown as { hub?: Hub };
        hub.hub ??= new Hub({ fetch: server.fetch });
        const out = hub.hub.join(TARGET, person.id, {
          message: ({ id, event, data }) => {
            if (!member.live) return;
            if (id) person.id = id;
            if (event !== "sse.ready") person.all.push(data);
          },
          connected: () => {},
          end: () => {},
        });
        person.away = () => {
          member.live = false;
          out();
        };
      } else if (what < 0.28) stream.cut(what < 0.27 ? "break" : "end");
      else if (what < 0.8) stream.publish(String(published++));
      if (random() < 0.3) await new Promise((resolve) => setTimeout(resolve, random() * 4));
    }
    void join;
    for (const person of people) expect(person.all.length).toBeGreaterThan(0);
    const last = String(published - 1);
    for (const person of people) {
      if (!person.away) continue;
      await until(() => person.all.at(-1) === last);
    }
    for (const person of people) {
      person.away?.();
      const first = Number(person.all[0]);
      // Nothing is missing between the first and the last, whatever happened in between.
      expect(person.all).toEqual(person.all.map((_, at) => String(first + at)));
    }
    await until(() => stream.subscribers === 0);
  });

  it("ends all streams of cookies after a login, and those of tokens not", async () => {
    const { join } = setUp();
    const [cookie, token] = [join(), join("", { ...TARGET, token: "t" })];
    await until(() => cookie.isReady() && token.isReady());
    const channel = new BroadcastChannel(CHANNEL);
    channel.postMessage("session");
    await until(() => cookie.told.ends.length === 1);
    channel.close();
    expect(cookie.told.ends).toEqual([{ status: 0, title: "session" }]);
    expect(token.told.ends).toEqual([]);
  });
});

describe("a hub in another place", () => {
  /** Messages arrive later, as between threads. */
  function apart(hub: Hub) {
    let client!: Client;
    const peer = new Peer(hub, (down) => queueMicrotask(() => client.take(structuredClone(down) as Down)));
    client = new Client((up) => queueMicrotask(() => peer.take(structuredClone(up) as Up)));
    return { client, peer };
  }

  it("serves its members, tells refusals, and forgets who leaves", async () => {
    const { stream, hub } = setUp();
    const { client } = apart(hub);
    const [one, two] = [join(client), join(client)];
    await until(() => one.isReady() && two.isReady());
    stream.publish("a");
    await until(() => one.data().length === 1 && two.data().length === 1);
    one.leave();
    two.leave();
    await until(() => stream.subscribers === 0);
    stream.refuse = 403;
    const three = join(client);
    await until(() => three.told.ends.length === 1);
    expect(three.told.ends[0]).toMatchObject({ status: 403 });
  });

  it("is not heard any more by who has asked another one, though it still speaks", () => {
    const asked: Up[] = [];
    const client = new Client((up) => asked.push(up));
    const one = join(client);
    const old = asked[0]?.n as number;
    client.take({ n: old, m: { id: "1", event: "message", data: "a" } });
    client.move();
    expect(asked[1]).toMatchObject({ to: TARGET, id: "1" });
    client.take({ n: old, m: { id: "2", event: "message", data: "b" } });
    client.take({ n: asked[1]?.n as number, m: { id: "2", event: "message", data: "b" } });
    expect(one.data()).toEqual(["a", "b"]);
  });

  it("is left for another one from where each member is", async () => {
    const { stream, hub, server } = setUp();
    const { client, peer } = apart(hub);
    const one = join(client);
    await until(one.isReady);
    stream.publish("a");
    await until(() => one.data().length === 1);
    peer.close();
    stream.publish("b");
    client.move(new Hub({ fetch: server.fetch }));
    stream.publish("c");
    await until(() => one.data().length === 3);
    expect(one.data()).toEqual(["a", "b", "c"]);
    one.leave();
    await until(() => stream.subscribers === 0);
  });
});
