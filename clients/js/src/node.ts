// For servers that render pages: state with its id, from which the browser goes on.

import { live, type LiveOptions, type Snapshot } from "./live.js";

export * from "./index.js";

/**
 * The rows that a stream begins with, and the id behind them: give it to the page, whose `live` takes it as `initial`. Throws
 * an `SseError` where it is refused, and what `signal` says when that ends it (`AbortSignal.timeout(2000)`).
 */
export function readSnapshot<Row extends object>(url: string | URL, options: LiveOptions<Row>): Promise<Snapshot<Row>> {
  return new Promise((resolve, reject) => {
    const one = live<Row>(url, options);
    const look = () => {
      if (one.state === "live") {
        resolve({ rows: one.current, id: one.stream.lastEventId });
        one.close();
      } else if (one.state === "closed") reject(one.error ?? options.signal?.reason ?? new Error("closed"));
    };
    one.subscribe(look);
    look();
  });
}
