// One connection for all who want the same stream: of a page, or of all tabs where the hub is in a shared worker or in
// the tab that leads (tabs.ts). Everybody gets what a connection of his own would have brought, each message once.
//
// Those who come later are given what they lack from a log of the stream. Where the log does not reach, a second
// connection is opened for them; as soon as it has brought an event that the first one has brought, too, the two are in
// step and become one. Not for reconnecting (connection.ts).

import { Connection, type Means, type Sink, type Target } from "./connection.js";
import { CHANNEL, isMarked, type Message, type Problem, SESSION } from "./message.js";

/** Where a subscription gets its stream from. */
export interface Bus {
  /** `id`: the last one that was heard, or nothing. Messages may come before this returns. */
  join(target: Target, id: string, sink: Sink): () => void;
  wake(): void;
}

/** How many messages the log keeps, and how many characters. Beyond it, latecomers cost a connection for a while. */
const LOG_MESSAGES = 1000;
const LOG_CHARACTERS = 4_000_000;

export const keyOf = ({ url, credentials, token, events }: Target): string =>
  JSON.stringify([url, credentials, token, events]);

export const hasToken = (key: string): boolean => typeof JSON.parse(key)[2] === "string";

class Stream {
  readonly members = new Set<Sink>();
  readonly connection: Connection;
  /** What has come since `base`, without `sse.ready`. */
  log: Message[] = [];
  #characters = 0;
  /** Where the stream stood in front of the log. */
  base: string;
  /** Where it stands: often behind the log's last, since `sse.ready` may come in the middle, too. */
  last: string;
  isConnected = false;
  /** Does the stream have a snapshot? Unknown where it was begun in the middle. */
  hasState: boolean | undefined;
  /** The log goes back to where somebody begins who comes without an id. */
  isWhole: boolean;

  constructor(hub: Hub, key: string, target: Target, id: string, means: Means) {
    this.base = this.last = id;
    this.isWhole = !id;
    const streams = hub.streams.get(key) ?? [];
    streams.push(this);
    hub.streams.set(key, streams);
    this.connection = new Connection(target, id, {
      message: (message) => {
        this.#take(message);
        for (const member of [...this.members]) member.message(message);
        hub.unite(key, this, message);
      },
      connected: (is) => {
        this.isConnected = is;
        for (const member of [...this.members]) member.connected(is);
      },
      end: (problem) => hub.end(key, this, problem),
    }, means);
  }

  /** What follows this id, if the log has it. */
  after(id: string): Message[] | undefined {
    if (isMarked(id)) return undefined;
    if (id === this.last) return [];
    const at = this.log.findLastIndex((message) => message.id === id);
    return at < 0 && id !== this.base ? undefined : this.log.slice(at + 1);
  }

  #take(message: Message): void {
    const { id, event, data } = message;
    this.last = id;
    if (event === "sse.ready") {
      // A snapshot follows, at the beginning or when the stream has come back: all begin there who begin from now on.
      if (isMarked(id)) this.#begin(id);
      else if (!this.base) {
        this.base = id;
        this.hasState = false;
      }
      return;
    }
    if (event === "sse.gap") {
      // What was before is of no use to anybody any more. After a gap a snapshot follows, if the stream has one; but a
      // gap in place of the snapshot is no beginning.
      const isMissing = data.includes('"snapshot"');
      const hasState = this.hasState || isMarked(id) || isMissing;
      this.#begin(id);
      this.hasState = hasState;
      this.isWhole = hasState && !isMissing;
      return;
    }
    this.log.push(message);
    this.#characters += data.length;
    if (this.log.length > LOG_MESSAGES || this.#characters > LOG_CHARACTERS) {
      this.isWhole = false;
      this.#drop(Math.floor(this.log.length / 2) + 1);
    }
  }

  #begin(id: string): void {
    this.#drop(this.log.length);
    this.base = id;
    this.hasState = this.isWhole = true;
  }

  #drop(count: number): void {
    for (const { id, data } of this.log.splice(0, count)) {
      this.base = id;
      this.#characters -= data.length;
    }
  }
}

export class Hub implements Bus {
  readonly streams = new Map<string, Stream[]>();
  readonly #means: Means;

  constructor(means: Means = {}) {
    this.#means = means;
    if (typeof BroadcastChannel === "function") new BroadcastChannel(CHANNEL).onmessage = () => this.reset();
  }

  join(target: Target, id: string, sink: Sink): () => void {
    const key = keyOf(target);
    const begins = !id || isMarked(id);
    // A URL that names a place is begun there by everybody, as one with a snapshot is begun with the snapshot.
    const isPlaced = /[?&]last_?event_?id=/i.test(target.url);
    let stream = this.streams.get(key)?.find((one) =>
      begins ? one.isWhole || (one.hasState === false && !isPlaced) : one.after(id));
    if (stream) {
      const isLive = begins && stream.hasState === false && !isPlaced;
      const missed = isLive ? [] : begins ? stream.log : stream.after(id) ?? [];
      const from = isLive ? stream.last : begins ? stream.base : id;
      stream.members.add(sink);
      if (stream.isConnected) sink.connected(true);
      // The stream's own has been, unless it is still on its way.
      if (stream.hasState !== undefined || !begins) sink.message({ id: from, event: "sse.ready", data: "{}" });
      for (const message of [...missed]) sink.message(message);
    } else {
      stream = new Stream(this, key, target, begins ? "" : id, this.#means);
      stream.members.add(sink);
    }
    return () => {
      // By then it may be a member of another one.
      for (const one of this.streams.get(key) ?? []) {
        if (one.members.delete(sink) && !one.members.size) this.#remove(key, one);
      }
    };
  }

  wake(): void {
    for (const streams of this.streams.values()) for (const { connection } of streams) connection.wake();
  }

  /** Ends all streams that a cookie may be behind: it is another user's now. */
  reset(): void {
    for (const [key, streams] of [...this.streams]) {
      if (hasToken(key)) continue;
      for (const one of [...streams]) this.end(key, one, SESSION);
    }
  }

  end(key: string, stream: Stream, problem?: Problem): void {
    this.#remove(key, stream);
    for (const member of [...stream.members]) member.end(problem);
  }

  /** `stream` has brought this message: if another one has, too, they are in step, and one of them is enough. */
  unite(key: string, stream: Stream, { id, event }: Message): void {
    if (isMarked(id) || event.startsWith("sse.")) return;
    const other = this.streams.get(key)?.find((one) => one !== stream && one.log.some((message) => message.id === id));
    if (!other) return;
    // The one that is whole serves those who come later; it can be kept if neither is ahead.
    const [kept, gone] = stream.isWhole && other.last === id ? [stream, other] : [other, stream];
    const missed = kept.after(id) ?? [];
    for (const member of gone.members) {
      kept.members.add(member);
      if (gone.isConnected !== kept.isConnected) member.connected(kept.isConnected);
      for (const message of missed) member.message(message);
    }
    gone.members.clear();
    this.#remove(key, gone);
  }

  #remove(key: string, stream: Stream): void {
    stream.connection.close();
    const rest = (this.streams.get(key) ?? []).filter((one) => one !== stream);
    if (rest.length) this.streams.set(key, rest);
    else this.streams.delete(key);
  }
}
