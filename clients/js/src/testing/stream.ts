// A stream of the fake server: who has it open, what has been published, where somebody may go on.

import type { Message } from "../message.js";
import { block, Open, problem, text } from "./wire.js";

/** Where all streams of a server stand. */
export interface Clock {
  /** Changes with a restart. */
  boot: number;
  /** Of the last event. */
  now: number;
  /** What streams say in `retry:`, in milliseconds. */
  retry: number;
}

/** A stream of the fake server. */
export class FakeStream {
  /** Answered in place of a stream, if set: 401, 503, 204. */
  refuse: number | undefined;
  /**
   * The state that a stream begins with, and gets again after a gap; none: a stream without a snapshot. Where it throws there
   * is the gap `snapshot` in its place, as where the function of a real server fails.
   */
  snapshot: (() => unknown) | undefined;
  /** The snapshot's event. */
  snapshotName = "message";
  /** Requests so far, in order. */
  readonly requests: Request[] = [];
  readonly #clock: Clock;
  readonly #open = new Set<Open>();
  #events: { readonly at: number; readonly message: Message }[] = [];
  /** Up to here, events are forgotten. */
  #lost: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lost = clock.now;
  }

  /** How many are open. */
  get subscribers(): number {
    return this.#open.size;
  }

  /** The id of now. */
  get position(): string {
    return this.#id();
  }

  /** Publishes an event, and answers its id. */
  publish(data: unknown, event = "message"): string {
    const id = this.#tick();
    const message = { id, event, data: text(data) };
    this.#events.push({ at: this.#clock.now, message });
    this.#write(block(message));
    return id;
  }

  /** As `sse.publish_change` does; `key` names the columns of the primary key. */
  change(table: string, key: string[], old: Record<string, unknown> | null, now: Record<string, unknown> | null): string {
    const op = !old ? "INSERT" : now ? "UPDATE" : "DELETE";
    const keys = Object.fromEntries(key.map((name) => [name, (now ?? old)?.[name]]));
    return this.publish({ op, schema: "public", table, key: keys, new: now, old }, op.toLowerCase());
  }

  /** Tells all subscribers that something is missing; a fresh snapshot follows if there is one. */
  gap(reason: string, missed: number | null = null): void {
    this.#tick();
    this.forget();
    this.#write(this.#gap(reason, missed));
  }

  /** Forgets what was published: who comes back with an older id gets the gap `expired`. */
  forget(): void {
    this.#events = [];
    this.#lost = this.#clock.now;
  }

  /** Ends all open answers, cleanly or not; subscribers come back. */
  cut(how: "end" | "break" = "break"): void {
    for (const open of [...this.#open]) open[how]();
    this.#open.clear();
  }

  /** Writes text as it is to all subscribers. */
  raw(bytes: string): void {
    this.#write(bytes);
  }

  answer(request: Request): Response {
    this.requests.push(request);
    if (this.refuse === 204) return new Response(null, { status: 204 });
    if (this.refuse) return problem(this.refuse, "refused by the test");
    const open: Open = new Open(request.signal, () => this.#open.delete(open));
    this.#open.add(open);
    const from = request.headers.get("Last-Event-ID") || new URL(request.url).searchParams.get("last_event_id") || "";
    open.write(this.#beginning(from));
    return open.answer;
  }

  /** All that comes before the stream is live. */
  #beginning(from: string): string {
    const { boot, now, retry } = this.#clock;
    const ready = (id: string) => block({ id, event: "sse.ready", data: "{}" }, retry);
    if (!from || (this.snapshot && from.endsWith("s"))) return ready(this.#begin()) + this.#state();
    const [was, count] = from.split("-");
    const at = Number.parseInt(count ?? "", 16);
    const reason = was !== String(boot) ? "restarted" : !(at <= now) ? "unknown" : at < this.#lost ? "expired" : "";
    if (reason) return ready(from) + this.#gap(reason, null);
    return ready(from) + this.#events.filter((event) => event.at > at).map(({ message }) => block(message)).join("");
  }

  #gap(reason: string, missed: number | null): string {
    const data = JSON.stringify({ reason, missed });
    if (reason === "snapshot") return block({ id: this.#id(), event: "sse.gap", data });
    return block({ id: this.#begin(), event: "sse.gap", data }) + this.#state();
  }

  #state(): string {
    if (!this.snapshot) return "";
    try {
      return block({ id: this.#id(), event: this.snapshotName, data: text(this.snapshot() ?? null) });
    } catch {
      return this.#gap("snapshot", null);
    }
  }

  #tick(): string {
    this.#clock.now++;
    return this.#id();
  }

  #id(): string {
    return `${this.#clock.boot}-${this.#clock.now.toString(16)}`;
  }

  /** The id of now, which on a stream with a snapshot leads to a fresh one. */
  #begin(): string {
    return this.snapshot ? `${this.#id()}s` : this.#id();
  }

  #write(bytes: string): void {
    for (const open of this.#open) open.write(bytes);
  }
}
