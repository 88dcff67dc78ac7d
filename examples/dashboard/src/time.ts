// What time it is, for components.

import { useEffect, useState } from "react";

/** The time, told anew every so many milliseconds. */
export function useNow(every: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** How many minutes ago this was; what has just happened may be ahead of this machine's clock. */
export const minutesAgo = (now: number, at: string) => Math.max(0, (now - Date.parse(at)) / 60_000);

const relative = new Intl.RelativeTimeFormat("en", { style: "short" });

export function ago(now: number, at: string): string {
  const minutes = Math.floor(minutesAgo(now, at));
  if (minutes < 1) return "just now";
  return minutes < 60 ? relative.format(-minutes, "minute") : relative.format(-Math.floor(minutes / 60), "hour");
}
