// live(): rows that keep themselves fresh. A snapshot, then each change by key; after a gap a snapshot again.
// Not for what a change does to rows (rows.ts).

import { gapOf, isMarked, type Message, type Problem, SseError } from "./message.js";
import { type Key, Rows } from "./rows.js";
import { type SubscribeOptions, Subscription } from "./subscription.js";
import type { LiveStream, Place, Plain } from "./typed.js";

export interface LiveOptions<Row extends object>
  extends Omit<SubscribeOptions, "on" | "onEvent" | "onGap" | "onReady" | "onState" | "onEnd" | "lastEventId"> {
  /** What makes a row one: a column, several, or a function. */
  readonly key: Key<Row>;
  /**
   * The event that has the snapshot (`as name` of `@sse_snapshot`): each of this name is one. Default: where a snapshot is
   * due (at the beginning of the stream, and after a gap), the first event whose data is an array or null.
   */
  readonly snapshot?: string | undefined;
  /**
   * How columns are named in `current`: in camelCase, as answers and snapshots of rows have them (the default), or as SQL
   * has them, which is right for a snapshot function that returns json. Changes are brought into line; only the columns
   * themselves, not what is within a value.
   */
  readonly names?: "camel" | "sql" | undefined;
  /** Applies an event that is neither a snapshot nor a change of `sse.publish_change`. */
  readonly apply?: ((rows: Map<string, Row>, message: Message, put: (row: Row) => void) => void) | undefined;
  /** Reads the rows, for a stream without a snapshot: after it has begun, and after each gap. */
  readonly load?: ((signal: AbortSignal) => Promise<Iterable<Row>>) | undefined;
  /** The rows could not be read, which is tried again. Called once until they are there again. */
  readonly onError?: ((error: SseError) => void) | undefined;
  /** Rows that were read before, on a server, and the id behind them: the stream goes on from there. */
  readonly initial?: Snapshot<Row> | undefined;
}

/** Rows, and where the stream stood behind them. */
export interface Snapshot<Row> {
  readonly rows: readonly Row[];
  readonly id: string;
}

/**
 * `loading`: no rows yet. `live`: all that has happened is in them. `stale`: something is missing, and is being read.
 * `failed`: there are no rows, because they could not be read; that is tried again.
 */
export type LiveState = "loading" | "live" | "stale" | "failed" | "closed";

/** How long to wait before trying for a snapshot again, where there was none. Twice as long each time, up to 16 times. */
const PATIENCE = 2000;

export class Live<Row extends object> {
  readonly stream: Subscription;
  /** Why the rows could not be read, until they are; or why it is closed, if not by its owner. */
  error: SseError | undefined;
  readonly #options: LiveOptions<Row>;
  readonly #rows: Rows<Row>;
  readonly #listeners = new Set<() => void>();
  #state: LiveState = "loading";
  /** The server has said, by a marked id, that a snapshot follows. An array of anybody's event is none. */
  #isDue = false;
  #isTold = true;
  /** Messages that come while rows are loaded. */
  #held: Message[] | undefined;
  #stop = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #tries = 0;

  constructor(where: string | URL | Place, more: Partial<LiveOptions<Row>>) {
    const { key, names, snapshot } = where as Partial<LiveStream<Row>>;
    const options = { key, names, snapshot, ...more } as LiveOptions<Row>;
    this.#options = options;
    this.#rows = new Rows(options.key, options.names ?? "camel");
    const { initial, events = options.apply || !(options.snapshot || options.load) ? undefined : [] } = options;
    if (initial) {
      this.#rows.replace(initial.rows);
      this.#state = "live";
    }
    this.stream = new Subscription(where, {
      ...more,
      lastEventId: initial?.id,
      events: events && [...events, "insert", "update", "delete", ...(options.snapshot ? [options.snapshot] : [])],
      onEvent: (message) => this.#take(message),
      onGap: (_, message) => this.#gap(message),
      onReady: (id) => {
        this.#isDue = isMarked(id);
        if (options.load && this.#state === "loading" && !this.#held) void this.#load();
      },
      onState: () => this.#tell(),
      onEnd: (error) => {
        this.error = error;
        this.#stop.abort();
        clearTimeout(this.#timer);
        this.#become("closed");
      },
    });
  }

  /** The rows as they are now: the same array until they change. */
  get current(): readonly Row[] {
    return this.#rows.list;
  }

  get state(): LiveState {
    return this.#state;
  }

  get isConnected(): boolean {
    return this.stream.isConnected;
  }

  /** Calls back after each change of rows or state, once for changes that come together. Answers how to stop it. */
  subscribe(listener: () => void): () => void {
    const mine = () => listener();
    this.#listeners.add(mine);
    return () => this.#listeners.delete(mine);
  }

  close(): void {
    this.stream.close();
  }

  #take(message: Message): void {
    if (this.#held) {
      this.#held.push(message);
      return;
    }
    const { snapshot, apply } = this.#options;
    const { event, data } = message;
    if (event === snapshot || (!snapshot && this.#isDue && /^\s*(\[|null\s*$)/.test(data))) {
      this.#isDue = false;
      this.#rows.replace((JSON.parse(data) as object[] | null) ?? []);
      this.#tries = 0;
      this.#become("live");
    } else if (!this.#rows.change(message)) {
      apply?.(this.#rows.byKey, message, (row) => this.#rows.put(row));
      this.#rows.touch();
    }
    this.#tell();
  }

  #gap({ id, data }: Message): void {
    const { reason } = gapOf(data);
    // In place of the snapshot, its id is marked, too: the next one follows when the stream has begun anew.
    this.#isDue = isMarked(id) && reason !== "snapshot";
    if (reason === "session") {
      // The rows were another user's. They are read anew when the stream has begun anew.
      this.#rows.replace([]);
      this.#held = this.error = undefined;
      return this.#become("loading");
    }
    if (this.#options.load) void this.#load();
    else if (reason === "snapshot") {
      // There should have been one. The stream has none until it begins anew.
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.stream.restart(), PATIENCE * 2 ** Math.min(this.#tries++, 4));
      return this.#fail({ status: 0, title: "The server cannot make the snapshot of this stream; its log says why" });
    }
    if (this.#state === "live") this.#become("stale");
  }

  /** Reads the rows beside the stream: those that come meanwhile are applied to what was read. */
  async #load(): Promise<void> {
    const mine: Message[] = (this.#held = []);
    for (let wait = PATIENCE; this.#held === mine && this.#state !== "closed"; wait = Math.min(2 * wait, 16 * PATIENCE)) {
      try {
        const rows = await this.#options.load?.(this.#stop.signal);
        // Another gap has come in the meantime, and another reading with it.
        if (this.#held !== mine || !rows) return;
        this.#rows.replace(rows);
        this.#held = undefined;
        for (const message of mine) this.#take(message);
        return this.#become("live");
      } catch (error) {
        if (this.#held !== mine || this.#stop.signal.aborted) return;
        const { status = 0, problem } = error as Partial<SseError>;
        this.#fail(problem ?? { status, title: "The rows cannot be read", detail: `The rows cannot be read: ${String(error)}` });
        await new Promise<void>((resolve) => {
          this.#timer = setTimeout(resolve, wait);
          this.#stop.signal.addEventListener("abort", () => resolve());
        });
      }
    }
  }

  /** The rows could not be read. It is said once, until they are. */
  #fail(problem: Problem): void {
    const isKnown = this.error;
    this.error = new SseError(problem);
    if (!isKnown) {
      console.warn(`pg-sse: ${this.error.message}`);
      queueMicrotask(() => this.error && this.#options.onError?.(this.error));
    }
    this.#become(this.#state === "live" || this.#state === "stale" ? "stale" : "failed");
  }

  #become(state: LiveState): void {
    if (state === "live") this.error = undefined;
    this.#state = state;
    this.#tell();
  }

  #tell(): void {
    if (!this.#isTold) return;
    this.#isTold = false;
    queueMicrotask(() => {
      this.#isTold = true;
      for (const listener of [...this.#listeners]) listener();
    });
  }
}

/** Opens a stream and keeps its rows: a snapshot, and every change of it. A stream of the typed client needs no options. */
export function live<Row extends object>(where: Plain, options: LiveOptions<Row>): Live<Row>;
export function live<Row extends object>(stream: LiveStream<Row>, options?: Partial<LiveOptions<Row>>): Live<Row>;
export function live<Row extends object>(where: string | URL | Place, options: Partial<LiveOptions<Row>> = {}): Live<Row> {
  return new Live(where, options);
}
