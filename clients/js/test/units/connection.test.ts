import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Connection } from "../../src/connection.js";

const HALF_MINUTE = 30_000;
let connection: Connection | undefined;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  connection?.close();
  vi.useRealTimers();
});

/** A connection whose attempts are answered by hand: by `open`, or never. */
function begin(retry = 60_000) {
  const attempts: AbortSignal[] = [];
  const answers: ((body: ReadableStream<Uint8Array>) => void)[] = [];
  const write: ((text: string) => void)[] = [];
  const states: boolean[] = [];
  connection = new Connection({ url: "http://fake.test/api/f/info", credentials: "same-origin" }, "", {
    message: () => {},
    connected: (is) => states.push(is),
    end: () => {},
  }, {
    retry,
    fetch: (_, init) => new Promise((resolve, reject) => {
      const signal = init?.signal as AbortSignal;
      attempts.push(signal);
      signal.addEventListener("abort", () => reject(signal.reason as Error));
      answers.push((body) => resolve(new Response(body, { headers: { "Content-Type": "text/event-stream" } })));
    }),
  });
  const open = async () => {
    const at = attempts.length - 1;
    answers[at]?.(new ReadableStream({
      start: (controller) => {
        write[at] = (text) => controller.enqueue(new TextEncoder().encode(text));
        attempts[at]?.addEventListener("abort", () => controller.error(new Error("aborted")));
      },
    }));
    await settle();
  };
  return { connection, attempts, open, write, states };
}

/** What is read and aborted takes several turns. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await vi.advanceTimersByTimeAsync(0);
}

// C7.11: at once when the page or the network is back; and a page that is just loading is "back", too.
describe("a connection that is woken", () => {
  it("goes on with an attempt that has just begun, as at each load of a page", async () => {
    const { connection, attempts, open, states } = begin();
    await settle();
    connection.wake();
    await vi.advanceTimersByTimeAsync(HALF_MINUTE);
    connection.wake();
    await settle();
    expect([attempts.length, attempts[0]?.aborted]).toEqual([1, false]);
    await open();
    expect(states).toEqual([true]);
  });

  it("gives up an attempt that has hung for longer, and makes another one at once", async () => {
    const { connection, attempts } = begin();
    await settle();
    await vi.advanceTimersByTimeAsync(HALF_MINUTE + 1);
    connection.wake();
    await settle();
    expect(attempts.map(({ aborted }) => aborted)).toEqual([true, false]);
    // The new one is young again.
    connection.wake();
    await settle();
    expect(attempts).toHaveLength(2);
  });

  it("opens a stream that was silent for longer again, at once, and one that was not stays", async () => {
    const { connection, attempts, open, write, states } = begin();
    await settle();
    await open();
    await vi.advanceTimersByTimeAsync(HALF_MINUTE - 1);
    write[0]?.(": alive\n\n");
    await vi.advanceTimersByTimeAsync(HALF_MINUTE);
    connection.wake();
    await settle();
    expect(attempts).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    connection.wake();
    await settle();
    expect(attempts.map(({ aborted }) => aborted)).toEqual([true, false]);
    await open();
    expect(states).toEqual([true, false, true]);
  });
});

it("a connection that breaks by itself waits, until it is woken", async () => {
  const states: boolean[] = [];
  let attempts = 0;
  connection = new Connection({ url: "http://fake.test/api/f/info", credentials: "same-origin" }, "", {
    message: () => {}, connected: (is) => states.push(is), end: () => {},
  }, { retry: 60_000, fetch: () => Promise.reject(new TypeError(`no network: ${attempts++}`)) });
  await settle();
  await vi.advanceTimersByTimeAsync(59_000);
  expect(attempts).toBe(1);
  connection.wake();
  await settle();
  expect(attempts).toBe(2);
  // Woken from a pause: the next failure waits again.
  await vi.advanceTimersByTimeAsync(59_000);
  expect(attempts).toBe(2);
  await vi.advanceTimersByTimeAsync(32_000);
  expect(attempts).toBe(3);
});
