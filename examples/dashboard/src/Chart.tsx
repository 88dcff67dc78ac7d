// How many parcels came and went in each minute of the last half hour.

import type { Parcel } from "./client";
import { minutesAgo } from "./time";

const MINUTES = 30;
/** In the units of the picture: the room of a minute, the height of everything, and how much a bar leaves free. */
const [WIDTH, HEIGHT, AIR] = [20, 160, 3];

interface Shown {
  readonly parcels: readonly Parcel[];
  readonly now: number;
}

export function Chart({ parcels, now }: Shown) {
  const came = perMinute(parcels.map(({ arrivedAt }) => arrivedAt), now);
  const went = perMinute(parcels.flatMap(({ deliveredAt }) => deliveredAt ?? []), now);
  const most = roundUp(Math.max(4, ...came, ...went));
  const [allCame, allWent] = [came, went].map((counts) => counts.reduce((sum, count) => sum + count, 0));
  return (
    <figure className="card chart">
      <figcaption>
        <h2>Last 30 minutes</h2>
        <ul aria-hidden="true">
          <li className="came">arrived</li>
          <li className="went">delivered</li>
        </ul>
      </figcaption>
      <div className="plot">
        <svg
          role="img"
          aria-label={`${allCame} parcels arrived and ${allWent} were delivered in the last 30 minutes.`}
          viewBox={`0 0 ${MINUTES * WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
        >
          {[0, 0.5, 1].map((part) => (
            <line key={part} x1="0" x2={MINUTES * WIDTH} y1={HEIGHT * part} y2={HEIGHT * part} vectorEffect="non-scaling-stroke" />
          ))}
          <Bars counts={came} most={most} at={0} className="came" />
          <Bars counts={went} most={most} at={1} className="went" />
        </svg>
        <ol className="scale" aria-hidden="true">
          <li>{most}</li>
          <li>{most / 2}</li>
          <li>0</li>
        </ol>
      </div>
      <ol className="minutes" aria-hidden="true">
        <li>30 min ago</li>
        <li>15</li>
        <li>now</li>
      </ol>
    </figure>
  );
}

function Bars({ counts, most, at, className }: { counts: readonly number[]; most: number; at: 0 | 1; className: string }) {
  const width = (WIDTH - 2 * AIR) / 2;
  return (
    <g className={className}>
      {counts.map((count, minute) => {
        const height = HEIGHT * count / most;
        return <rect key={minute} x={minute * WIDTH + AIR + at * width} y={HEIGHT - height} width={width} height={height} />;
      })}
    </g>
  );
}

/** The oldest minute first. */
function perMinute(times: readonly string[], now: number): number[] {
  const counts = new Array<number>(MINUTES).fill(0);
  for (const at of times) {
    const minute = MINUTES - 1 - Math.floor(minutesAgo(now, at));
    if (minute >= 0) counts[minute] = (counts[minute] ?? 0) + 1;
  }
  return counts;
}

/** Even numbers have a half for the middle of the scale. */
const roundUp = (most: number) => 2 * Math.ceil(most / (most > 20 ? 10 : 2)) * (most > 20 ? 5 : 1);
