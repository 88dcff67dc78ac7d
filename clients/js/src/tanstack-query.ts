// Rows for TanStack Query, of every framework: a query that does not end for as long as somebody looks, and puts what
// changes into the cache. Its `fetchStatus` is `fetching` all the time, as of every query that streams.

import type { QueryClient, QueryKey } from "@tanstack/query-core";

import { Live, type LiveOptions } from "./live.js";
import type { LiveStream, Place, Plain } from "./typed.js";
import { isPlace } from "./url.js";

export interface LiveQuery<Row> {
  queryKey: QueryKey;
  queryFn(context: { client: QueryClient; queryKey: QueryKey; signal: AbortSignal }): Promise<readonly Row[]>;
  staleTime: number;
  refetchOnMount: "always";
  retry: false;
  refetchOnWindowFocus: false;
  refetchOnReconnect: false;
}

/** Options for `useQuery`, `createQuery` and their like: `useQuery(liveQuery("/api/todo-live/info", { key: "id" }))`. */
export function liveQuery<Row extends object>(where: Plain, options: Omit<LiveOptions<Row>, "signal">): LiveQuery<Row>;
export function liveQuery<Row extends object>(stream: LiveStream<Row>, options?: Partial<Omit<LiveOptions<Row>, "signal">>): LiveQuery<Row>;
export function liveQuery<Row extends object>(
  where: string | URL | Place, options: Partial<Omit<LiveOptions<Row>, "signal">> = {},
): LiveQuery<Row> {
  return {
    queryKey: ["pg-sse", isPlace(where) ? where.path : String(where), options.topics ?? []],
    queryFn: ({ client, queryKey, signal }) => new Promise((resolve, reject) => {
      const one = new Live<Row>(where, { ...options, signal });
      one.subscribe(() => {
        if (one.state === "closed") {
          // Without an error, nobody looks any more.
          if (one.error) reject(one.error);
          else resolve(one.current);
        } else if (one.state === "failed") {
          // Rows that come later take the error away.
          client.getQueryCache().find({ queryKey, exact: true })?.setState({ status: "error", error: one.error ?? null });
        } else if (one.state !== "loading") client.setQueryData(queryKey, one.current);
      });
    }),
    // The stream keeps it fresh, and comes back by itself.
    staleTime: Infinity,
    // While nobody looked, nothing was heard.
    refetchOnMount: "always",
    retry: false,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  };
}
