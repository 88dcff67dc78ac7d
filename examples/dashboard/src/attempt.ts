// What a button does: a call, and what is shown of it while it runs and when it fails.

import { useState } from "react";

import type { ApiError } from "./client";

/** What a call resolves to, whatever it answers. */
type Called = Promise<{ readonly error: ApiError | undefined }>;
/** Waits for a call, and shows what went wrong with it. */
export type Attempt = (called: Called) => Promise<void>;

/** Whether the last call still runs, and how to make one. No transition: what went wrong before is to go at once. */
export function useAttempt(attempt: Attempt): [isRunning: boolean, run: (call: () => Called) => void] {
  const [isRunning, setRunning] = useState(false);
  const run = (call: () => Called) => {
    setRunning(true);
    void attempt(call()).finally(() => setRunning(false));
  };
  return [isRunning, run];
}
