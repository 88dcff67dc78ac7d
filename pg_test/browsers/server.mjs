// The server of an example, and what can be done to it: lines of JSON to pg_test/tests/common/control.rs.

import { connect } from "node:net";
import { createInterface } from "node:readline";

/** The address of the page. */
export const URL = process.env.PG_SSE_URL;

const socket = connect(Number(process.env.PG_SSE_CONTROL), "127.0.0.1");
const waiting = [];
createInterface({ input: socket }).on("line", line => waiting.shift()?.(line));
socket.unref();

async function ask(...words) {
  const line = await new Promise((resolve, reject) => {
    socket.ref();
    const gone = () => reject(new Error("nobody answers"));
    socket.once("close", gone);
    waiting.push(line => {
      socket.off("close", gone);
      resolve(line);
    });
    socket.write(`${JSON.stringify(words)}\n`);
  });
  if (!waiting.length) socket.unref();
  const answer = JSON.parse(line);
  if (typeof answer !== "string") throw new Error(answer.error);
  return answer;
}

/** Runs statements as a superuser; the first column of the first row. */
export const sql = text => ask("sql", text);
/** Restarts Postgres, and waits until calls are taken. */
export const restart = () => ask("restart");
export const stop = () => ask("stop");
/** Starts it again, and waits until calls are taken. */
export const start = () => ask("start");
