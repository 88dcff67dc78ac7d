// Hooks for React: rows that keep themselves fresh, and events. Safe in Strict Mode and in concurrent rendering, since the
// rows are read through `useSyncExternalStore`.

import { useEffect, useRef, useState, useSyncExternalStore } from "react";

import { Live, type LiveOptions, type LiveState } from "./live.js";
import type { Message, SseError } from "./message.js";
import { type SubscribeOptions, Subscription } from "./subscription.js";
import type { LiveStream, Place, Plain, Stream } from "./typed.js";

/** What a component sees of live rows. */
export interface LiveRows<Row> {
  readonly rows: readonly Row[];
  readonly state: LiveState;
  readonly isConnected: boolean;
  readonly error: SseError | undefined;
  /** For `call(…, { stream })`, whose `settled` then says when the rows know what the call did. Open while somebody looks. */
  readonly stream: Subscription | undefined;
}

/** Opens a stream while somebody looks, and has the same answer until something changes. */
class Store<Row extends object> {
  #live: Live<Row> | undefined;
  #view: LiveRows<Row>;
  #users = 0;
  readonly #open: () => Live<Row>;

  constructor(open: () => Live<Row>, initial: LiveOptions<Row>["initial"]) {
    this.#open = open;
    this.#view = { rows: initial?.rows ?? [], state: initial ? "live" : "loading", isConnected: false, error: undefined, stream: undefined };
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#users++;
    const one = (this.#live ??= this.#open());
    // React looks at the view again when this returns.
    this.#see(one);
    const stop = one.subscribe(() => {
      this.#see(one);
      listener();
    });
    return () => {
      stop();
      this.#users--;
      // Strict Mode comes back at once: the stream is kept for that long.
      setTimeout(() => {
        if (this.#users || this.#live !== one) return;
        this.#live = undefined;
        one.close();
      });
    };
  };

  readonly view = (): LiveRows<Row> => this.#view;

  #see({ current: rows, state, isConnected, error, stream }: Live<Row>): void {
    const now = { rows, state, isConnected, error, stream };
    const last: LiveRows<Row> = this.#view;
    if (Object.entries(now).every(([name, value]) => last[name as keyof LiveRows<Row>] === value)) return;
    this.#view = now;
  }
}

/**
 * The rows of a stream, and their changes. Another stream or URL, `topics`, `names` or `credentials` open another stream;
 * the other options count as they are when it is opened. `null` in its place opens none.
 */
export function useLive<Row extends object>(where: Plain | null, options: LiveOptions<Row>): LiveRows<Row>;
export function useLive<Row extends object>(stream: LiveStream<Row> | null, options?: Partial<LiveOptions<Row>>): LiveRows<Row>;
export function useLive<Row extends object>(where: string | URL | Place | null, options: Partial<LiveOptions<Row>> = {}): LiveRows<Row> {
  const latest = useRef(options);
  // Not in an effect: the store is opened before the effects of this component run.
  latest.current = options;
  const key = JSON.stringify([where, options.topics, options.names, options.credentials]);
  const make = () => ({ key, store: new Store<Row>(() => new Live<Row>(where as string, latest.current), options.initial) });
  const [held, hold] = useState(make);
  const now = held.key === key ? held : make();
  if (now !== held) hold(now);
  const { store } = now;
  return useSyncExternalStore(where === null ? nothing : store.subscribe, store.view, store.view);
}

const nothing = () => () => {};

/** Events of a stream, for as long as the component is there. Handlers may be others at each rendering. */
export function useEvents(url: string | URL | null, options: SubscribeOptions): void;
export function useEvents<Events>(stream: Stream<Events> | null, options: SubscribeOptions<Events>): void;
export function useEvents(where: string | URL | Place | null, options: SubscribeOptions): void {
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  const names = Object.keys(options.on ?? {});
  const key = JSON.stringify([where, options.topics, options.events, names, options.credentials]);
  useEffect(() => {
    if (where === null) return;
    const { on, onEvent } = latest.current;
    const subscription = new Subscription(where, {
      ...latest.current,
      on: on && Object.fromEntries(names.map((name) => [name, (data: string, message: Message) => latest.current.on?.[name]?.(data, message)])),
      onEvent: onEvent && ((message) => latest.current.onEvent?.(message)),
      onGap: (gap, message) => latest.current.onGap?.(gap, message),
      onReady: (id) => latest.current.onReady?.(id),
      onState: (is) => latest.current.onState?.(is),
      onEnd: (error) => latest.current.onEnd?.(error),
    });
    return subscription.close;
    // The key stands for what opens another stream.
  }, [key]);
}
