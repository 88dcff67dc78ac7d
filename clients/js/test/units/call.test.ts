import { describe, expect, it } from "vitest";

import { call, callAsync, callStream, follow, live, SseError, subscribe } from "../../src/index.js";
import { FakeProblem, FakeServer, type FakeRoutine } from "../../src/testing.js";
import { until } from "./wait.js";

const URL = "http://fake.test/api/f";

function serve(routine: FakeRoutine) {
  const server = new FakeServer();
  const stream = server.stream("/api/f/info");
  server.routine("/api/f", routine);
  return { server, stream, options: { fetch: server.fetch } };
}

describe("a call", () => {
  it("sends its arguments as JSON, and answers what the routine returns", async () => {
    const { options } = serve(({ args, request }) => ({ args, type: request.headers.get("Content-Type"), method: request.method }));
    const answer = await call(URL, { a: 1, b: null }, options);
    expect(answer).toMatchObject({
      status: 200, position: null, response: { args: { a: 1, b: null }, type: "application/json", method: "POST" },
    });
  });

  it("sends them in the query string of a GET", async () => {
    const { options } = serve(({ request }) => request.url);
    const answer = await call<string>(URL, { tag: ["a", "b&c"], n: 1, left: undefined, place: { x: 1 } }, { ...options, method: "GET" });
    expect(answer.response).toBe(`${URL}?tag=a&tag=b%26c&n=1&place=%7B%22x%22%3A1%7D`);
  });

  it("answers text as it is, and null without a body", async () => {
    let result: unknown = "1";
    const { options } = serve(() => result);
    expect((await call(URL, {}, options)).response).toBe("1");
    result = undefined;
    expect(await call(URL, {}, options)).toMatchObject({ status: 204, response: null });
  });

  it("throws the problem that it was answered", async () => {
    const { options } = serve(() => {
      throw new FakeProblem(404, "this item is sold out");
    });
    const thrown = await call(URL, {}, options).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(SseError);
    expect(thrown).toMatchObject({ status: 404, message: "this item is sold out" });
  });

  it("renews its token once", async () => {
    const seen: (string | null)[] = [];
    const { options } = serve(({ request }) => {
      seen.push(request.headers.get("Authorization"));
      if (seen.length === 1) throw new FakeProblem(401, "expired");
      return "ok";
    });
    const token = ({ isRenewal }: { isRenewal: boolean }) => (isRenewal ? "new" : "old");
    expect((await call(URL, {}, { ...options, token })).response).toBe("ok");
    expect(seen).toEqual(["Bearer old", "Bearer new"]);
  });

  it("is not repeated with a token that cannot be renewed", async () => {
    let calls = 0;
    const { options } = serve(() => {
      calls++;
      throw new FakeProblem(401, "no");
    });
    await expect(call(URL, {}, { ...options, token: "fixed" })).rejects.toMatchObject({ status: 401 });
    await expect(call(URL, {}, { ...options, token: () => "same" })).rejects.toMatchObject({ status: 401 });
    expect(calls).toBe(3);
  });
});

describe("a call settles", () => {
  it("when its own event has come, before or after its answer", async () => {
    const { stream, options } = serve(({ raise }) => raise("mine"));
    const events: string[] = [];
    const subscription = subscribe(`${URL}/info`, { ...options, onEvent: ({ data }) => events.push(data) });
    await until(() => stream.subscribers === 1);
    const answer = await call(URL, {}, { ...options, stream: subscription });
    expect(answer.position).not.toBeNull();
    expect(await answer.settled).toEqual({ seen: true });
    expect(events).toEqual(["mine"]);
    subscription.close();
  });

  it("when a gap has come in its place", async () => {
    const { stream, options } = serve(() => "x");
    const late: typeof fetch = async (input, init) => {
      const answer = await options.fetch(input, init);
      if (String(input).endsWith("/info")) return answer;
      return new Response(answer.body, { headers: { "SSE-Position": "1-ff", "Content-Type": "text/plain" } });
    };
    const subscription = subscribe(`${URL}/info`, options);
    await until(() => stream.subscribers === 1);
    const { settled } = await call(URL, {}, { fetch: late, stream: subscription });
    stream.gap("overflow");
    expect(await settled).toEqual({ seen: false });
    // Nothing comes at all.
    const other = await call(URL, {}, { fetch: late, stream: subscription, patience: 20 });
    expect(await other.settled).toEqual({ seen: false });
    subscription.close();
  });

  it("at once where there is nothing to wait for", async () => {
    const { options } = serve(() => "x");
    expect(await (await call(URL, {}, options)).settled).toEqual({ seen: false });
  });

  it("with live rows as its stream", async () => {
    const { stream, options } = serve(({ raise }) => raise({ op: "INSERT", key: { id: 1 }, new: { id: 1 }, old: null }, "insert"));
    stream.snapshot = () => [];
    const rows = live<{ id: number }>(`${URL}/info`, { key: "id", ...options });
    await until(() => rows.state === "live");
    const { settled } = await call(URL, {}, { ...options, stream: rows });
    expect(await settled).toEqual({ seen: true });
    expect(rows.current).toEqual([{ id: 1 }]);
    rows.close();
  });
});

describe("a call that streams", () => {
  const report: FakeRoutine = async ({ args, raise }) => {
    for (let page = 1; page <= Number(args["pages"]); page++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      raise(`${page} of ${String(args["pages"])}`);
    }
    return { pages: args["pages"] };
  };

  it("brings its events, and then its result", async () => {
    const { options } = serve(report);
    const running = callStream<{ pages: number }>(URL, { pages: 3 }, options);
    const events: string[] = [];
    for await (const { data } of running) events.push(data);
    expect(events).toEqual(["1 of 3", "2 of 3", "3 of 3"]);
    expect(await running.result).toEqual({ pages: 3 });
  });

  it("throws what it fails with, to who iterates and to who awaits", async () => {
    const { options } = serve(({ raise }) => {
      raise("begun");
      throw new FakeProblem(409, "in use");
    });
    const running = callStream(URL, {}, options);
    const events: string[] = [];
    const iterated = (async () => {
      for await (const { data } of running) events.push(data);
    })();
    await expect(iterated).rejects.toMatchObject({ status: 409, message: "in use" });
    await expect(running.result).rejects.toMatchObject({ status: 409 });
    expect(events).toEqual(["begun"]);
  });

  it("throws what it is refused with", async () => {
    const { server } = serve(report);
    await expect(callStream("http://fake.test/none", {}, { fetch: server.fetch }).result).rejects.toMatchObject({ status: 404 });
  });

  it("is cancelled by leaving the loop", async () => {
    let signal!: AbortSignal;
    const { options } = serve(async ({ request, raise }) => {
      signal = request.signal;
      raise("a");
      await new Promise(() => {});
    });
    for await (const { data } of callStream(URL, {}, options)) {
      expect(data).toBe("a");
      break;
    }
    await until(() => signal.aborted);
  });

  it("keeps no more than a thousand events for an iterator that nobody has asked for", async () => {
    const { options } = serve(async ({ args, raise }) => {
      for (let event = 0; event < Number(args["events"]); event++) raise(String(event));
      return "done";
    });
    for (const events of [999, 1000, 1001, 2500]) {
      const running = callStream(URL, { events }, options);
      expect(await running.result).toBe("done");
      const found: string[] = [];
      for await (const { event, data } of running) found.push(event === "message" ? data : `${event} ${data}`);
      const kept = Array.from({ length: Math.min(events, 1000) }, (_, at) => String(Math.max(0, events - 1000) + at));
      const gap = events > 1000 ? [`sse.gap {"reason":"slow","missed":${events - 1000}}`] : [];
      expect(found).toEqual([...gap, ...kept]);
    }
  });

  it("ends where its signal was aborted before it is followed", async () => {
    const { options, stream } = serve(report);
    const followed = follow("http://fake.test/api/f/info", { ...options, signal: AbortSignal.abort() });
    await expect(followed.result).rejects.toMatchObject({ status: 0 });
    const abort = new AbortController();
    // Between the answer and the stream.
    const late: typeof fetch = async (input, init) => {
      const answer = await options.fetch(input, init);
      abort.abort();
      return answer;
    };
    const running = await callAsync(URL, { pages: 1 }, { fetch: late, signal: abort.signal });
    await expect(running.result).rejects.toMatchObject({ status: 0 });
    expect(stream.requests).toHaveLength(0);
  });

  it("goes on without its caller, and is followed from its first event by whoever comes", async () => {
    const { stream, options } = serve(report);
    const running = await callAsync<{ pages: number }>(URL, { pages: 4 }, options);
    stream.publish("of another call, without an id");
    expect(await running.result).toEqual({ pages: 4 });
    // As after a reload of the page.
    const again = follow<{ pages: number }>(running.url, options);
    const events: string[] = [];
    for await (const { data } of again) events.push(data);
    expect(events).toContain("1 of 4");
    expect(events).toContain("4 of 4");
    expect(await again.result).toEqual({ pages: 4 });
    await until(() => stream.subscribers === 0);
  });

  it("opens no stream before somebody wants to hear of it", async () => {
    const { stream, options } = serve(report);
    const running = await callAsync<{ pages: number }>(URL, { pages: 2 }, options);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(stream.requests).toHaveLength(0);
    expect(await running.result).toEqual({ pages: 2 });
    expect(stream.requests).toHaveLength(1);
    const closed = await callAsync(URL, { pages: 2 }, options);
    closed.close();
    await expect(closed.result).rejects.toMatchObject({ status: 0 });
    expect(stream.requests).toHaveLength(1);
  });

  it("is followed over a broken connection", async () => {
    const { stream, options } = serve(report);
    const running = await callAsync(URL, { pages: 30 }, options);
    const events: string[] = [];
    for await (const { data } of running) {
      events.push(data);
      if (events.length % 10 === 5) stream.cut();
    }
    expect(events).toEqual(Array.from({ length: 30 }, (_, at) => `${at + 1} of 30`));
  });

  it("is given up when its end is no longer there, and waited for as long as it may come", async () => {
    let end = () => {};
    const { server, stream, options } = serve(async () => {
      await new Promise<void>((resolve) => (end = resolve));
      return "done";
    });
    const { url } = await callAsync(URL, {}, options);
    // The window has passed over its beginning. Whether it still runs, nobody says.
    stream.forget();
    stream.publish("of another call");
    stream.forget();
    const gone = { status: 410, message: "The result of the call is no longer there" };
    const impatient = follow(url, { ...options, patience: 20 });
    await expect(impatient.result).rejects.toMatchObject(gone);
    const seen: string[] = [];
    await expect((async () => {
      for await (const { event } of follow(url, { ...options, patience: 20 })) seen.push(event);
    })()).rejects.toMatchObject(gone);
    expect(seen).toEqual(["sse.gap"]);
    // It runs, and ends in time.
    const patient = follow(url, options);
    await until(() => stream.requests.length === 3);
    end();
    expect(await patient.result).toBe("done");
    // After a restart nothing of it can come.
    server.restart();
    await expect(follow(url, options).result).rejects.toMatchObject(gone);
    await until(() => stream.subscribers === 0);
  });

  it("is waited for where a gap cannot have hidden its end", async () => {
    let end = () => {};
    const { stream, options } = serve(async () => {
      await new Promise<void>((resolve) => (end = resolve));
      return "done";
    });
    const { url } = await callAsync(URL, {}, options);
    const followed = follow(url, { ...options, patience: 0 });
    await until(() => stream.subscribers === 1);
    for (const reason of ["overflow", "too_large", "snapshot"]) stream.gap(reason);
    await new Promise((resolve) => setTimeout(resolve, 20));
    end();
    expect(await followed.result).toBe("done");
  });
});
