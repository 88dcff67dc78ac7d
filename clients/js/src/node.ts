// For servers that render pages: state with its id, from which the browser goes on.

import { Live, type LiveOptions, type Snapshot } from "./live.js";
import type { LiveStream, Place, Plain } from "./typed.js";

export * from "./index.js";

/**
 * The rows that a stream begins with, and the id behind them: give it to the page, whose `live` takes it as `initial`. Throws
 * an `SseError` where it is refused, and what `signal` says when that ends it (`AbortSignal.timeout(2000)`).
 */
export function readSnapshot<Row extends object>(where: Plain, options: LiveOptions<Row>): Promise<Snapshot<Row>>;
export function readSnapshot<Row extends object>(stream: LiveStream<Row>, options?: Partial<LiveOptions<Row>>): Promise<Snapshot<Row>>;
export function readSnapshot<Row extends object>(
  where: string | URL | Place, options: Partial<LiveOptions<Row>> = {},
): Promise<Snapshot<Row>> {
  return new Promise((resolve, reject) => {
    const one = new Live<Row>(where, options);
    const look = () => {
      if (one.state === "live") {
        resolve({ rows: one.current, id: one.stream.lastEventId });
        one.close();
      } else if (one.state === "closed" || one.state === "failed") {
        reject(one.error ?? options.signal?.reason ?? new Error("closed"));
        one.close();
      }
    };
    one.subscribe(look);
    look();
  });
}
