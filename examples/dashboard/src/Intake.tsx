// The form that takes a parcel in, and the button that makes it busy.

import { type SubmitEvent, useState } from "react";

import { type Attempt, useAttempt } from "./attempt";
import { beginRush, followRush, receive } from "./client";

const CITIES = ["Graz", "Lyon", "Porto", "Ghent", "Turku", "Split", "Brno", "Malmö", "Kraków", "Bilbao"];

/** `isOpen`: for who has logged in. */
export function Intake({ attempt, isOpen }: { attempt: Attempt; isOpen: boolean }) {
  const [destination, setDestination] = useState("");
  const [weight, setWeight] = useState("2.5");
  const [isSending, send] = useAttempt(attempt);
  const [isBusy, rush] = useAttempt(attempt);

  const takeIn = async () => {
    const answer = await receive({ destination, weightKg: Number(weight) });
    if (!answer.error) setDestination("");
    return answer;
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    send(takeIn);
  };

  return (
    <form className="card intake" onSubmit={submit}>
      <h2>Take a parcel in</h2>
      <label>
        To
        <input list="cities" value={destination} maxLength={40} required onChange={(event) => setDestination(event.target.value)} />
      </label>
      <datalist id="cities">{CITIES.map((city) => <option key={city} value={city} />)}</datalist>
      <label>
        Weight in kg
        <input type="number" value={weight} min="0.1" max="100" step="0.1" required onChange={(event) => setWeight(event.target.value)} />
      </label>
      <div className="buttons">
        <button disabled={isSending || !isOpen}>Take in</button>
        <button type="button" className="quiet" disabled={isBusy || !isOpen} onClick={() => rush(busyMorning)}>
          {isBusy ? "It is busy …" : "Busy morning"}
        </button>
      </div>
    </form>
  );
}

/** Half a minute that goes on without this page; the button is free when it is over. */
async function busyMorning() {
  const { location, error } = await beginRush();
  return location === undefined ? { error } : followRush(location);
}
