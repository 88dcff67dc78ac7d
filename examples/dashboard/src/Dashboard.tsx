// The page: what is heard from the stream, and who shows which part of it.

import { useCallback, useState } from "react";
import { SseError } from "pg-sse";
import { useLive } from "pg-sse/react";

import type { Attempt } from "./attempt";
import { Badge, useWho } from "./Badge";
import { Chart } from "./Chart";
import { parcelsStream } from "./client";
import { Intake } from "./Intake";
import { Parcels } from "./Parcels";
import { Tiles } from "./Tiles";
import { useNow } from "./time";

export function Dashboard() {
  const { rows, state, isConnected, error } = useLive(parcelsStream);
  const who = useWho(state === "live");
  const now = useNow(10_000);
  const [problem, setProblem] = useState("");

  const attempt = useCallback<Attempt>(async (called) => {
    setProblem("");
    try {
      const { error } = await called;
      if (error) setProblem(error.detail ?? error.title);
    } catch {
      setProblem("The server cannot be reached.");
    }
  }, []);

  const enter = useCallback((session: Promise<unknown>) => {
    setProblem("");
    session.catch((error: unknown) => setProblem(error instanceof SseError ? error.message : "The server cannot be reached."));
  }, []);

  return (
    <main>
      <header>
        <h1>Depot</h1>
        <Badge who={who} attempt={enter} />
        <Connection is={state === "closed" && error ? "refused" : isConnected ? state : "away"} />
      </header>
      <p id="problem" role="alert">{error?.message ?? problem}</p>
      <div className="all" aria-busy={state === "loading"}>
        <Tiles parcels={rows} now={now} isConnected={isConnected} />
        <Chart parcels={rows} now={now} />
        <Intake attempt={attempt} isOpen={who !== null} />
        <Parcels parcels={rows} now={now} attempt={attempt} isOpen={who !== null} isLoading={state === "loading"} />
      </div>
    </main>
  );
}

const CONNECTIONS = {
  loading: "Reading", live: "Live", stale: "Catching up", failed: "Cannot be read", closed: "Closed", away: "Connecting", refused: "Refused",
};

function Connection({ is }: { is: keyof typeof CONNECTIONS }) {
  return <p id="state" role="status" data-is={is}>{CONNECTIONS[is]}</p>;
}
