// Stores for Svelte, of version 3 to 5: anything with this `subscribe` is one, so nothing of Svelte is needed.

import { Live, type LiveOptions, type LiveState } from "./live.js";
import type { SseError } from "./message.js";
import type { Subscription } from "./subscription.js";
import type { LiveStream, Place, Plain } from "./typed.js";

/** Svelte's contract: the listener is called at once, and at each change. */
export interface Store<Value> {
  subscribe(listener: (value: Value) => void): () => void;
}

/** What a component sees of live rows. */
export interface LiveRows<Row> {
  readonly rows: readonly Row[];
  readonly state: LiveState;
  readonly isConnected: boolean;
  readonly error: SseError | undefined;
  /** For `call(…, { stream: $todos.stream })`, whose `settled` then says when the rows know what the call did. */
  readonly stream: Subscription;
}

/** Rows of a stream as a store (`$todos.rows`): open while somebody is subscribed, as the stores of Svelte are. */
export function liveStore<Row extends object>(where: Plain, options: LiveOptions<Row>): Store<LiveRows<Row>>;
export function liveStore<Row extends object>(stream: LiveStream<Row>, options?: Partial<LiveOptions<Row>>): Store<LiveRows<Row>>;
export function liveStore<Row extends object>(where: string | URL | Place, options: Partial<LiveOptions<Row>> = {}): Store<LiveRows<Row>> {
  let one: Live<Row> | undefined;
  let users = 0;
  return {
    subscribe(listener) {
      const mine = (one ??= new Live<Row>(where, options));
      users++;
      const tell = () => {
        const { current: rows, state, isConnected, error, stream } = mine;
        listener({ rows, state, isConnected, error, stream });
      };
      const stop = mine.subscribe(tell);
      tell();
      let isSubscribed = true;
      return () => {
        if (!isSubscribed) return;
        isSubscribed = false;
        stop();
        if (--users) return;
        one = undefined;
        mine.close();
      };
    },
  };
}
