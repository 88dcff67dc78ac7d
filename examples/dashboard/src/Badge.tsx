// Who works here: the badge at the door, and the way out.

import { useEffect, useState } from "react";
import { login, logout } from "pg-sse";

import { logInCall, logOutCall, whoAmI } from "./client";

/** The name of who has logged in. Asked again whenever the stream begins anew: it does after each login and logout, in all tabs. */
export function useWho(isLive: boolean): string | null {
  const [who, setWho] = useState<string | null>(null);
  useEffect(() => {
    let isOver = false;
    whoAmI().then(
      ({ response }) => {
        if (!isOver) setWho(response ?? null);
      },
      () => {}, // The server is away: the stream begins anew when it is back.
    );
    return () => {
      isOver = true;
    };
  }, [isLive]);
  return who;
}

export function Badge({ who, attempt }: { who: string | null; attempt: (session: Promise<unknown>) => void }) {
  const [code, setCode] = useState("");
  if (who !== null) {
    return (
      <p className="badge">
        <b>{who}</b> <button type="button" className="quiet" onClick={() => attempt(logout(logOutCall))}>Log out</button>
      </p>
    );
  }
  return (
    <form
      className="badge"
      onSubmit={(event) => {
        event.preventDefault();
        setCode("");
        attempt(login(logInCall, { code }));
      }}
    >
      <label>
        Badge
        <input type="password" autoComplete="current-password" value={code} required onChange={(event) => setCode(event.target.value)} />
      </label>
      <button>Log in</button>
    </form>
  );
}
