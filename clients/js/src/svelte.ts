// Stores for Svelte, of version 3 to 5: anything with this `subscribe` is one, so nothing of Svelte is needed.

import { live, type Live, type LiveOptions, type LiveState } from "./live.js";
import type { SseError } from "./message.js";

/** Svelte's contract: the listener is called at once, and at each change. */
export interface Store<Value> {
  subscribe(listener: (value: Value) => void): () => void;
}

/** Rows of a stream as a store (`$todos.rows`): open while somebody is subscribed, as the stores of Svelte are. */
export function liveStore<Row extends object>(url: string | URL, options: LiveOptions<Row>): Store<{
  readonly rows: readonly Row[];
  readonly state: LiveState;
  readonly isConnected: boolean;
  readonly error: SseError | undefined;
}> {
  let one: Live<Row> | undefined;
  let users = 0;
  return {
    subscribe(listener) {
      const mine = (one ??= live(url, options));
      users++;
      const tell = () => listener({ rows: mine.current, state: mine.state, isConnected: mine.isConnected, error: mine.error });
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
