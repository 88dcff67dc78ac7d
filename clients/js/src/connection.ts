// One stream, connected for as long as somebody wants it: reads, reconnects from the last id, stops where the server
// says so. Not for who listens (hub.ts) nor for tokens that are renewed (subscription.ts).

import { type Message, NO_STREAM, type Problem, problemOf } from "./message.js";
import { Parser, read } from "./parser.js";

/** What a connection is opened to. Two with equal targets may be one. */
export interface Target {
  readonly url: string;
  readonly credentials: RequestCredentials;
  readonly token?: string | undefined;
  /** Names of events that a native EventSource shall hear; without them `fetch` reads the stream. */
  readonly events?: readonly string[] | undefined;
}

/** Who is told of it. */
export interface Sink {
  message(message: Message): void;
  /** The stream is open, or has broken and will be opened again. */
  connected(is: boolean): void;
  /** It has ended for good: without a problem the server has said that there is no more (204). */
  end(problem?: Problem): void;
}

export interface Means {
  /** Default: the global one. */
  readonly fetch?: typeof fetch | undefined;
  /** Milliseconds until the stream is opened again, where the server has said none. */
  readonly retry?: number | undefined;
  /** Headers besides those that the package sets. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Milliseconds to wait where neither the server nor the page has said it. */
const RETRY = 2000;
/** No attempt waits longer, however many have failed: a page that is open over night comes back within this time. */
const LONGEST_WAIT = 30_000;
/**
 * A stream that has been silent for longer is opened again when the page or the network wakes, since a connection that
 * slept often hangs. Twice the default of sse.heartbeat_interval; where the guess is wrong, it costs one request.
 */
const SILENCE = 30_000;
/** Names that pg_sse gives by itself; a native EventSource hears only what it was told. */
const OWN_NAMES = ["message", "sse.ready", "sse.gap", "sse.result", "sse.error"];

/** Whether coming back later may help. */
export const isPassing = (status: number) => [0, 408, 425, 429].includes(status) || status > 499;

/** Waits after a failure, of which there were some before, or until what `by` is given is called. */
export function pause(failures: number, retry = RETRY, by: (cut: () => void) => void, least = 0): Promise<void> {
  // Twice as long after each failure, and never the same for two pages: so thousands do not come back in one moment.
  const wait = Math.min(retry * 2 ** Math.min(failures, 9), Math.max(LONGEST_WAIT, retry));
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(wait, least) * (1 + Math.random() / 2));
    by(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** `url` with the id as parameter, for an EventSource, which takes no headers. */
function resumed(url: string, id: string): string {
  if (!id) return url;
  const full = new URL(url);
  const query = full.searchParams;
  for (const name of [...query.keys()]) if (/^last_?event_?id$/i.test(name)) query.delete(name);
  query.set("last_event_id", id);
  return full.href;
}

export class Connection {
  readonly #target: Target;
  readonly #sink: Sink;
  readonly #means: Means;
  #id: string;
  #retry: number;
  /** Attempts since one brought something. */
  #failures = 0;
  /** The server has asked for this pause. */
  #retryAfter = 0;
  #isOpen = false;
  /** When something has come, or the attempt that is under way has begun. */
  #heard = 0;
  #isPausing = false;
  /** What was cut shall be tried again without a pause. */
  #isHurried = false;
  /** Breaks the attempt or the pause that is under way. */
  #cut: () => void = () => {};
  #isClosed = false;

  /** `id`: the last one that was heard, or nothing. */
  constructor(target: Target, id: string, sink: Sink, means: Means = {}) {
    this.#target = target;
    this.#id = id;
    this.#sink = sink;
    this.#means = means;
    this.#retry = means.retry ?? RETRY;
    void this.#run();
  }

  close(): void {
    this.#isClosed = true;
    this.#cut();
  }

  /** The page or the network is back: opens at once what waits, and again what seems to hang, open or opening. */
  wake(): void {
    if (!this.#isPausing && Date.now() - this.#heard <= SILENCE) return;
    this.#failures = 0;
    this.#isHurried = true;
    this.#cut();
  }

  async #run(): Promise<void> {
    const { fetch, headers } = this.#means;
    let isNative = !this.#target.token && !!this.#target.events && !fetch && !headers && typeof EventSource === "function";
    for (;;) {
      // A turn later, so that whoever has made this connection knows it before it hears of it.
      await null;
      if (this.#isClosed) return;
      this.#retryAfter = 0;
      this.#isHurried = this.#isPausing = false;
      this.#heard = Date.now();
      let end: Problem | number;
      if (isNative) {
        end = await this.#native();
        // An EventSource does not say why it was refused. The next attempt is made by `fetch`, at once, and tells.
        if (end === 1) isNative = false;
      } else end = await this.#fetched();
      if (this.#isOpen) this.#sink.connected((this.#isOpen = false));
      if (this.#isClosed) return;
      if (end === 1) continue;
      if (end === 204 || (typeof end === "object" && !isPassing(end.status))) {
        this.#isClosed = true;
        return this.#sink.end(end === 204 ? undefined : end);
      }
      if (!this.#isHurried) await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    this.#isPausing = true;
    await pause(this.#failures++, this.#retry, (cut) => (this.#cut = cut), this.#retryAfter);
  }

  #opened(): void {
    this.#isPausing = false;
    this.#heard = Date.now();
    this.#isOpen = true;
    this.#sink.connected(true);
  }

  #message(message: Message): void {
    this.#failures = 0;
    this.#heard = Date.now();
    this.#id = message.id;
    if (!this.#isClosed) this.#sink.message(message);
  }

  /** Until it is cut (0), or refused for an unknown reason (1). */
  #native(): Promise<number> {
    return new Promise((resolve) => {
      const { url, credentials, events = [] } = this.#target;
      const source = new EventSource(resumed(url, this.#id), { withCredentials: credentials === "include" });
      const stop = (end: number) => {
        source.close();
        resolve(end);
      };
      this.#cut = () => stop(0);
      source.onopen = () => this.#opened();
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) stop(1);
        else {
          // The browser comes back by itself, after the server's `retry`, which differs from stream to stream; and at once
          // where `wake` cuts this.
          this.#isPausing = true;
          if (this.#isOpen) this.#sink.connected((this.#isOpen = false));
        }
      };
      for (const name of new Set([...OWN_NAMES, ...events])) {
        source.addEventListener(name, ({ lastEventId, data, type }) => this.#message({ id: lastEventId, event: type, data }));
      }
    });
  }

  /** A problem, 204, or 0: broke. */
  async #fetched(): Promise<Problem | number> {
    const { url, credentials, token } = this.#target;
    const abort = new AbortController();
    this.#cut = () => abort.abort();
    try {
      const headers: Record<string, string> = { ...this.#means.headers, Accept: "text/event-stream" };
      if (token) headers.Authorization = `Bearer ${token}`;
      if (this.#id) headers["Last-Event-ID"] = this.#id;
      const answer = await (this.#means.fetch ?? fetch)(url, { headers, credentials, cache: "no-store", signal: abort.signal });
      if (answer.status !== 200) {
        this.#retryAfter = 1000 * (Number(answer.headers.get("Retry-After")) || 0);
        return answer.status === 204 ? 204 : await problemOf(answer);
      }
      if (!answer.headers.get("Content-Type")?.startsWith("text/event-stream") || !answer.body) {
        // A sign-in page of a proxy, or a fallback page for every path: reading it again would not make it a stream. Or there
        // is nothing to read from, as in React Native.
        abort.abort();
        return { status: 406, title: NO_STREAM };
      }
      this.#opened();
      const parser = new Parser((message) => this.#message(message), (retry) => (this.#retry = retry), this.#id);
      await read(answer.body, parser, () => (this.#heard = Date.now()));
      this.#id = parser.id;
    } catch {
      // No network, or cut: the same as an end.
    }
    return 0;
  }
}
