// A composable for Vue 3: closed with the component, or the scope, that has called it.

import { type MaybeRefOrGetter, onScopeDispose, type ShallowRef, shallowReadonly, shallowRef, toValue, watch } from "vue";

import { Live, type LiveOptions, type LiveState } from "./live.js";
import type { SseError } from "./message.js";
import type { Subscription } from "./subscription.js";
import type { LiveStream, Place, Plain } from "./typed.js";

/** What a component sees of live rows. */
export interface LiveRefs<Row> {
  readonly rows: Readonly<ShallowRef<readonly Row[]>>;
  readonly state: Readonly<ShallowRef<LiveState>>;
  readonly isConnected: Readonly<ShallowRef<boolean>>;
  readonly error: Readonly<ShallowRef<SseError | undefined>>;
  /** For `call(…, { stream: stream.value })`, whose `settled` then says when the rows know what the call did. */
  readonly stream: Readonly<ShallowRef<Subscription | undefined>>;
}

type Where = string | URL | Place | null;

/** The rows of a stream, each ref by itself. Another URL opens another stream; null opens none. */
export function useLive<Row extends object>(where: MaybeRefOrGetter<Plain | null>, options: LiveOptions<Row>): LiveRefs<Row>;
export function useLive<Row extends object>(stream: MaybeRefOrGetter<LiveStream<Row> | null>, options?: Partial<LiveOptions<Row>>): LiveRefs<Row>;
export function useLive<Row extends object>(where: MaybeRefOrGetter<Where>, options: Partial<LiveOptions<Row>> = {}): LiveRefs<Row> {
  const rows = shallowRef<readonly Row[]>(options.initial?.rows ?? []);
  const state = shallowRef<LiveState>(options.initial ? "live" : "loading");
  const isConnected = shallowRef(false);
  const error = shallowRef<SseError | undefined>();
  const stream = shallowRef<Subscription | undefined>();
  let close = () => {};
  const open = (to: Where) => {
    close();
    close = () => {};
    stream.value = undefined;
    // There is nobody to close a stream of a page that is rendered on a server.
    if (to === null || typeof window === "undefined") return;
    const one = new Live<Row>(to, options);
    stream.value = one.stream;
    const tell = () => {
      rows.value = one.current;
      state.value = one.state;
      isConnected.value = one.isConnected;
      error.value = one.error;
    };
    const stop = one.subscribe(tell);
    tell();
    close = () => {
      stop();
      one.close();
    };
  };
  watch(() => toValue(where), open, { immediate: true, flush: "sync" });
  onScopeDispose(() => close());
  return {
    rows: shallowReadonly(rows),
    state: shallowReadonly(state),
    isConnected: shallowReadonly(isConnected),
    error: shallowReadonly(error),
    stream,
  };
}
