import { afterEach } from "vitest";

import { type Gap, type SseError, subscribe, type SubscribeOptions, type Subscription } from "../../src/index.js";
import { FakeServer } from "../../src/testing.js";

export const URL = "http://fake.test/api/f/info";
const open: Subscription[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** A stream, and all that its subscriber has been told. Closed after the test. */
export function begin(options: SubscribeOptions = {}, server = new FakeServer()) {
  const told = { data: [] as string[], gaps: [] as Gap[], ready: [] as string[], states: [] as boolean[], ends: [] as (SseError | undefined)[] };
  const { stream, subscription } = beginUnheard({
    onEvent: (message) => told.data.push(message.data),
    onGap: (gap) => told.gaps.push(gap),
    onReady: (id) => told.ready.push(id),
    onState: (is) => told.states.push(is),
    onEnd: (error) => told.ends.push(error),
    ...options,
  }, server);
  return { server, stream, told, subscription };
}

/** The same without callbacks: for iterators. */
export function beginUnheard(options: SubscribeOptions = {}, server = new FakeServer()) {
  const stream = server.stream("/api/f/info");
  const subscription = subscribe(URL, { fetch: server.fetch, ...options });
  open.push(subscription);
  return { stream, subscription };
}
