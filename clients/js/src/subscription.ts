// subscribe(): the stream as its user sees it: an iterator or callbacks, tokens that are renewed, pages that sleep.
// Not for the connection itself (connection.ts), nor for sharing it (tabs.ts).

import { Connection, isPassing, type Means, pause, type Sink, type Target } from "./connection.js";
import { CHANNEL, gap, type Gap, gapOf, type Message, type Problem, SESSION, session, SseError } from "./message.js";
import { type Kind, type Place, type Stream, valueOf } from "./typed.js";
import { locate } from "./url.js";

/**
 * A token, or what gets one; it is called again, once, when the server does not believe the last one (401). Where it throws
 * because the network is away (a `TypeError`, as `fetch` does; a `TimeoutError`; an `SseError` that is no refusal; or
 * anything while the browser is offline), a stream asks again later. What else it throws ends the stream.
 */
export type Token = string | ((why: { readonly isRenewal: boolean }) => string | Promise<string>);

export interface SubscribeOptions<Events = Record<string, string>> extends Means {
  /** Closes the subscription. */
  readonly signal?: AbortSignal | undefined;
  /** Goes into the header `Authorization`. Without it, cookies say who this is. */
  readonly token?: Token | undefined;
  /** As of `fetch`. Default: `same-origin`, or what the typed client says. */
  readonly credentials?: RequestCredentials | undefined;
  /** Topics that the stream shall have, besides those of its URL. */
  readonly topics?: readonly string[] | undefined;
  /** Begins behind this id, as after a reconnection. */
  readonly lastEventId?: string | undefined;
  /**
   * Names of the events that are wanted; default: those of `on`. Where they are known and cookies say who this is, a native
   * `EventSource` reads the stream, which hears no others, besides those without a name and the gaps. Else `fetch` does, and
   * all events come.
   */
  readonly events?: readonly string[] | undefined;
  /** `false`: a connection of its own. So it is with `fetch`, `headers` or `retry`, too. */
  readonly share?: boolean | undefined;
  /** Each event. With this, there is nothing to iterate over but gaps and events that it has not taken: use one. */
  readonly onEvent?: ((message: Message) => void) | undefined;
  /** The events of these names, instead of `onEvent` or besides it. Of a typed stream they have the values that it says. */
  readonly on?: { readonly [Name in keyof Events]?: ((data: Events[Name], message: Message) => void) | undefined } | undefined;
  /** Something is missing: read your state again. */
  readonly onGap?: ((gap: Gap, message: Message) => void) | undefined;
  /** Subscribed: from now on, every event that is published comes. Again after each reconnection. */
  readonly onReady?: ((id: string) => void) | undefined;
  /** Connected or not. */
  readonly onState?: ((isConnected: boolean) => void) | undefined;
  /** It has ended: closed, ended by the server (204), or refused, which has an error. */
  readonly onEnd?: ((error?: SseError) => void) | undefined;
}

/**
 * How many messages wait for an iterator. Beyond it the stream is closed until they are taken, and then resumed; where
 * others listen and nobody has asked for an iterator, the oldest go, and an iterator would begin with a gap.
 */
const WAITING = 1000;
/** How many ids are kept, for calls that want to know whether their own event has come. */
const SEEN = 1000;

export class Subscription implements AsyncIterable<Message> {
  /** The last id that was heard. */
  lastEventId: string;
  isConnected = false;
  readonly #target: Target;
  readonly #options: SubscribeOptions;
  /** How the data of events is read, by name. */
  readonly #kinds: Readonly<Record<string, Kind>>;
  #leave: (() => void) | undefined;
  #wake: (() => void) | undefined;
  /** Counts attachments, so that what comes late from an old one is not heard. */
  #turn = 0;
  #token: string | undefined;
  /** A token was renewed, and nothing has come since. */
  #isRenewed = false;
  #ended = false;
  /** That of the page when it was left. */
  #session: string | null | undefined;
  #error: SseError | undefined;
  #waiting: Message[] = [];
  #isIterated = false;
  /** Somebody hears what comes without iterating. */
  #isWatched: boolean;
  /** How many did not wait. */
  #missed = 0;
  #next: (() => void) | undefined;
  readonly #seen = new Set<string>();
  #watchers = new Set<(message: Message) => void>();

  constructor(where: string | URL | Place, options: SubscribeOptions = {}) {
    const { url, credentials } = locate(where, options.credentials);
    for (const topic of options.topics ?? []) url.searchParams.append("topic", topic);
    const { on, onEvent } = options;
    const events = options.events ?? (on && !onEvent ? Object.keys(on) : undefined);
    this.#target = { url: url.href, credentials, events };
    this.#options = options;
    this.#kinds = (where as Partial<Stream<Record<string, unknown>>>).events ?? {};
    this.lastEventId = options.lastEventId ?? "";
    this.#isWatched = !!(options.onGap || options.onReady || options.onState);
    if (options.signal?.aborted) {
      this.#ended = true;
      // Later, when its owner knows it.
      queueMicrotask(() => this.#call(options.onEnd));
    } else {
      options.signal?.addEventListener("abort", this.close);
      this.#listen("addEventListener");
      this.#attach();
    }
  }

  readonly close = (): void => this.#end();

  /** Begins anew, without the last id: on a stream with a snapshot, with a fresh one. */
  restart(): void {
    if (this.#ended) return;
    this.#detach();
    this.lastEventId = "";
    this.#attach();
  }

  /** Has this event come? */
  hasSeen(id: string): boolean {
    return this.#seen.has(id);
  }

  /** Calls back for each message, `sse.ready` and gaps included, until the answer is called. */
  watch(watcher: (message: Message) => void): () => void {
    this.#watchers.add(watcher);
    this.#isWatched = true;
    // Closed while nobody listened.
    if (this.#waiting.length >= WAITING && this.#limit() && !this.#leave && !this.#ended) this.#attach();
    return () => this.#watchers.delete(watcher);
  }

  /** Events and gaps (`sse.gap`). Ends with the stream; a refusal is thrown. To leave the loop closes it. */
  [Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    this.#isIterated = true;
    return this.#iterate();
  }

  async *#iterate(): AsyncGenerator<Message, void, undefined> {
    try {
      if (this.#missed) yield gap("slow", this.#missed);
      this.#missed = 0;
      for (;;) {
        const message = this.#waiting.shift();
        if (message) {
          if (!this.#waiting.length && !this.#leave && !this.#ended) this.#attach();
          yield message;
        } else if (this.#ended) {
          if (this.#error) throw this.#error;
          return;
        } else await new Promise<void>((resolve) => (this.#next = resolve));
      }
    } finally {
      this.close();
    }
  }

  #attach(): void {
    const turn = ++this.#turn;
    const isNow = () => turn === this.#turn && !this.#ended;
    const sink: Sink = {
      message: (message) => isNow() && this.#take(message),
      connected: (is) => {
        if (!isNow()) return;
        if (is) this.#isRenewed = false;
        this.#connected(is);
      },
      end: (problem) => isNow() && this.#refused(problem),
    };
    this.#leave = () => {};
    void this.#open(sink, isNow);
  }

  async #open(sink: Sink, isNow: () => boolean): Promise<void> {
    const { token, share, fetch, retry, headers } = this.#options;
    if (typeof token === "string") this.#token = token;
    else if (token && this.#token === undefined) await this.#renew(token, isNow);
    const target = { ...this.#target, token: this.#token };
    const isAlone = share === false || fetch || retry || headers || typeof document === "undefined";
    // Without its file (a bundler that has lost it, an old version in a cache), a page is alone.
    const bus = isAlone ? undefined : await import("./tabs.js").then((tabs) => tabs.bus(), () => undefined);
    if (!isNow()) return;
    let leave: () => void;
    if (bus) {
      this.#wake = () => bus.wake();
      leave = bus.join(target, this.lastEventId, sink);
    } else {
      const connection = new Connection(target, this.lastEventId, sink, { fetch, retry, headers });
      this.#wake = () => connection.wake();
      // What a hub does for those who share: another user is another stream.
      const session = typeof document === "object" && !target.token ? new BroadcastChannel(CHANNEL) : undefined;
      if (session) session.onmessage = () => sink.end(SESSION);
      leave = () => {
        connection.close();
        session?.close();
      };
    }
    // Closed by a handler in the meantime.
    if (isNow()) this.#leave = leave;
    else leave();
  }

  async #renew(get: Exclude<Token, string>, isNow: () => boolean): Promise<void> {
    for (let failures = 0; isNow(); failures++) {
      try {
        const token = await get({ isRenewal: this.#isRenewed });
        if (isNow()) this.#token = token;
        return;
      } catch (error) {
        if (!isNow()) return;
        const { name } = Object(error) as Partial<Error>;
        const isAway = error instanceof SseError ? isPassing(error.status) : name === "TypeError" || name === "TimeoutError";
        if (!isAway && globalThis.navigator?.onLine !== false) {
          return this.#end(new SseError({ status: 401, title: "No token", detail: String(error) }));
        }
        await pause(failures, this.#options.retry, (cut) => (this.#wake = this.#leave = cut));
      }
    }
  }

  #refused(problem: Problem | undefined): void {
    this.#detach();
    if (problem?.title === SESSION.title) {
      this.lastEventId = "";
      // What was read before was another user's: as with any gap, read again.
      this.#take(gap("session"));
      if (!this.#ended) this.#attach();
    } else if (problem?.status === 401 && typeof this.#options.token === "function" && !this.#isRenewed) {
      this.#isRenewed = true;
      // Whoever attaches from now on asks for another one; this attachment does at once.
      this.#token = undefined;
      this.#attach();
    } else this.#end(problem && new SseError(problem));
  }

  #detach(): void {
    this.#turn++;
    this.#leave?.();
    this.#leave = this.#wake = undefined;
    this.#connected(false);
  }

  #connected(is: boolean): void {
    if (is === this.isConnected) return;
    this.isConnected = is;
    this.#call(this.#options.onState, is);
  }

  #take(message: Message): void {
    const { id, event, data } = message;
    const { on, onEvent, onGap, onReady } = this.#options;
    if (id) this.lastEventId = id;
    for (const watcher of [...this.#watchers]) this.#call(watcher, message);
    if (event === "sse.ready") return this.#call(onReady, id);
    this.#seen.add(id);
    if (this.#seen.size > SEEN) for (const oldest of this.#seen) {
      this.#seen.delete(oldest);
      break;
    }
    if (event === "sse.gap") this.#call(onGap, gapOf(data), message);
    else {
      this.#call(onEvent, message);
      // An event may be named like what every object has.
      if (on && Object.hasOwn(on, event)) this.#call(() => on[event]?.(valueOf(this.#kinds[event], data) as string, message));
    }
    if (onEvent || on) return;
    this.#waiting.push(message);
    // The server keeps what follows, for as long as its window reaches.
    if (!this.#limit()) this.#detach();
    this.#next?.();
  }

  /** Is there room for one more? Makes it, if it may. */
  #limit(): boolean {
    for (; this.#waiting.length >= WAITING; this.#waiting.shift()) {
      if (this.#isIterated || !this.#isWatched) return false;
      this.#missed++;
    }
    return true;
  }

  /** A handler that throws is its owner's fault: it is told as any error of the page, and the stream goes on. */
  #call<A extends unknown[]>(handler: ((...args: A) => void) | undefined, ...args: A): void {
    try {
      handler?.(...args);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #end(error?: SseError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#detach();
    this.#listen("removeEventListener");
    this.#options.signal?.removeEventListener("abort", this.close);
    this.#next?.();
    this.#call(this.#options.onEnd, error);
  }

  #listen(how: "addEventListener" | "removeEventListener"): void {
    // Where there is no document, as in React Native, a `window` may have no events.
    if (typeof document !== "object") return;
    for (const name of ["online", "pageshow", "pagehide", "visibilitychange"]) window[how](name, this.#page);
  }

  #page = ({ type }: Event): void => {
    // A page that is kept for the way back holds no connection.
    if (type === "pagehide") {
      this.#session = session();
      this.#detach();
    } else if (type === "pageshow") {
      if (this.#leave || this.#waiting.length >= WAITING) return;
      if (this.#token || this.#session === session()) this.#attach();
      else this.#refused(SESSION);
    } else if (type !== "visibilitychange" || document.visibilityState === "visible") this.#wake?.();
  };
}

/** Opens a stream, and keeps it open. */
export function subscribe(url: string | URL, options?: SubscribeOptions): Subscription;
export function subscribe<Events>(stream: Stream<Events>, options?: SubscribeOptions<Events>): Subscription;
export function subscribe(where: string | URL | Place, options?: SubscribeOptions): Subscription {
  return new Subscription(where, options);
}
