// The gateway of these tests, and what can be done to it: lines of JSON to pg_test/tests/common/control.rs.

import { connect } from "node:net";
import { createInterface } from "node:readline";

/** Where the gateway is. */
export const GATEWAY = process.env["PG_SSE_GATEWAY"] as string;

const socket = connect(Number(process.env["PG_SSE_CONTROL"]), "127.0.0.1");
const waiting: ((line: string) => void)[] = [];
createInterface({ input: socket }).on("line", (line) => waiting.shift()?.(line));
socket.unref();

async function ask(...words: string[]): Promise<string> {
  const line = await new Promise<string>((resolve, reject) => {
    socket.ref();
    const gone = () => reject(new Error("nobody answers"));
    socket.once("close", gone);
    waiting.push((line) => {
      socket.off("close", gone);
      resolve(line);
    });
    socket.write(`${JSON.stringify(words)}\n`);
  });
  socket.unref();
  const answer = JSON.parse(line) as string | { error: string };
  if (typeof answer !== "string") throw new Error(answer.error);
  return answer;
}

/** Runs statements as a superuser; the first column of the first row. */
export const sql = (text: string) => ask("sql", text);
/** Restarts Postgres, and waits until calls are taken. */
export const restart = () => ask("restart");
/** Stops the gateway's process, so that the ring fills. */
export const freeze = () => ask("freeze");
export const thaw = () => ask("thaw");
