// The numbers at the top.

import { useEffect, useState } from "react";

import { type Parcel, viewers } from "./client";
import { minutesAgo } from "./time";

/** How often the number of viewers is asked for, in milliseconds. */
const ASKED = 5000;

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

interface Shown {
  readonly parcels: readonly Parcel[];
  readonly now: number;
  readonly isConnected: boolean;
}

export function Tiles({ parcels, now, isConnected }: Shown) {
  const here = parcels.filter(({ step }) => step !== "delivered");
  const delivered = parcels.filter(({ deliveredAt }) => deliveredAt !== null && minutesAgo(now, deliveredAt) < 30);
  const looking = useViewers(isConnected);
  return (
    <dl className="tiles">
      <Tile name="In the depot" value={number.format(here.length)} unit="parcels" />
      <Tile name="Weight" value={number.format(here.reduce((sum, { weightKg }) => sum + weightKg, 0))} unit="kg" />
      <Tile name="Delivered" value={number.format(delivered.length)} unit="in 30 min" />
      <Tile name="Looking on" value={looking === undefined ? "–" : number.format(looking)} unit={looking === 1 ? "browser" : "browsers"} />
    </dl>
  );
}

function Tile({ name, value, unit }: { name: string; value: string; unit: string }) {
  return (
    <div className="card">
      <dt>{name}</dt>
      <dd><b>{value}</b> {unit}</dd>
    </div>
  );
}

/** How many browsers look on. Nobody publishes that, so it is asked now and then, while somebody sees it. */
function useViewers(isConnected: boolean): number | undefined {
  const [count, setCount] = useState<number>();
  useEffect(() => {
    if (!isConnected) return;
    const end = new AbortController();
    const ask = async () => {
      if (document.visibilityState === "hidden") return;
      // Unknown until the next time, if that goes wrong.
      const answer = await viewers({ signal: end.signal }).catch(() => undefined);
      if (!end.signal.aborted) setCount(answer?.response ?? undefined);
    };
    void ask();
    const timer = setInterval(() => void ask(), ASKED);
    document.addEventListener("visibilitychange", () => void ask(), { signal: end.signal });
    return () => {
      clearInterval(timer);
      end.abort();
    };
  }, [isConnected]);
  return count;
}
