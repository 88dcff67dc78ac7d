// The table of parcels.

import { useState } from "react";

import { type Attempt, useAttempt } from "./attempt";
import { moveOn, type Parcel, type Step } from "./client";
import { ago } from "./time";

/** The button that moves a parcel on from each step. */
const NEXT: Readonly<Record<Step, string>> = { arrived: "Sort", sorted: "Load", loaded: "Deliver", delivered: "" };
const STEPS = Object.keys(NEXT) as Step[];
/** How many rows are shown at first, and more each time. */
const ROWS = 12;

const weight = new Intl.NumberFormat("en", { minimumFractionDigits: 1 });

interface Shown {
  readonly parcels: readonly Parcel[];
  readonly now: number;
  readonly attempt: Attempt;
  /** Whether who looks may move parcels. */
  readonly isOpen: boolean;
  readonly isLoading: boolean;
}

export function Parcels({ parcels, now, attempt, isOpen, isLoading }: Shown) {
  const [only, setOnly] = useState<Step>();
  const [length, setLength] = useState(ROWS);
  const chosen = parcels.filter(({ step }) => only === undefined || step === only).sort((one, other) => other.id - one.id);
  const countOf = (step: Step | undefined) => parcels.filter((parcel) => step === undefined || parcel.step === step).length;

  return (
    <section className="card parcels" aria-labelledby="parcels">
      <h2 id="parcels">Parcels</h2>
      <div className="steps" role="group" aria-label="Show">
        {[undefined, ...STEPS].map((step) => (
          <button key={step ?? "all"} type="button" aria-pressed={only === step} onClick={() => setOnly(step)}>
            {step ?? "all"} <b>{countOf(step)}</b>
          </button>
        ))}
      </div>
      <table>
        <thead>
          <tr>
            <th scope="col">No.</th>
            <th scope="col">To</th>
            <th scope="col" className="number">Weight</th>
            <th scope="col">Arrived</th>
            <th scope="col">Step</th>
            <th scope="col"><span className="spoken">Next</span></th>
          </tr>
        </thead>
        <tbody>
          {chosen.slice(0, length).map((parcel) => <Row key={parcel.id} parcel={parcel} now={now} attempt={attempt} isOpen={isOpen} />)}
        </tbody>
      </table>
      {!chosen.length && <p className="quiet">{isLoading ? "Reading …" : "None."}</p>}
      {chosen.length > length && (
        <button type="button" className="quiet" onClick={() => setLength(length + ROWS)}>
          Show more ({chosen.length - length})
        </button>
      )}
    </section>
  );
}

function Row({ parcel, now, attempt, isOpen }: { parcel: Parcel; now: number; attempt: Attempt; isOpen: boolean }) {
  const { id, destination, weightKg, step, arrivedAt } = parcel;
  const [isMoving, move] = useAttempt(attempt);
  return (
    <tr>
      <td className="id">{id}</td>
      <th scope="row">{destination}</th>
      <td className="number">{weight.format(weightKg)} kg</td>
      <td className="quiet">{ago(now, arrivedAt)}</td>
      {/* Another element for another step, so that it shows up. */}
      <td><span key={step} className="step" data-step={step}>{step}</span></td>
      <td className="next">
        {NEXT[step] && (
          <button
            type="button"
            className="quiet"
            aria-label={`${NEXT[step]} parcel ${id} to ${destination}`}
            disabled={isMoving || !isOpen}
            onClick={() => move(() => moveOn({ id, from: step }))}
          >
            {NEXT[step]}
          </button>
        )}
      </td>
    </tr>
  );
}
