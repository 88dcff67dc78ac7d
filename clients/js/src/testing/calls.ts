// Calls of the fake server: answered, streamed, or followed.

import type { FakeStream } from "./stream.js";
import { block, Open, problem, text } from "./wire.js";

/** A call that a test answers. */
export interface FakeCall {
  /** Arguments: of the body, or of the query string, where they are texts. */
  readonly args: Readonly<Record<string, unknown>>;
  readonly request: Request;
  /** What RAISE does in a routine: an event of the call, and of the routine's stream if there is one. */
  raise(data: unknown, event?: string): void;
}

/** What a routine returns: undefined is 204, a text `text/plain`, everything else JSON. Throw a `FakeProblem`. */
export type FakeRoutine = (call: FakeCall) => unknown;

/** Thrown by a routine, it is the answer. */
export class FakeProblem extends Error {
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

const problemOf = (error: unknown) =>
  error instanceof FakeProblem ? problem(error.status, error.message) : problem(500, String(error));

export async function answerCall(request: Request, routine: FakeRoutine, stream?: FakeStream): Promise<Response> {
  const url = new URL(request.url);
  const hasQuery = request.method === "GET" || request.method === "DELETE";
  const args = hasQuery ? Object.fromEntries(url.searchParams) : JSON.parse((await request.text()) || "{}");
  const accept = request.headers.get("Accept") ?? "";
  if (stream && request.headers.get("Prefer") === "respond-async") {
    const position = stream.position;
    const raise = (data: unknown, event?: string) => void stream.publish(data, event);
    void Promise.resolve().then(() => routine({ args, request, raise })).then(
      (result) => stream.publish(result ?? null, "sse.result"),
      async (error: unknown) => stream.publish(await problemOf(error).text(), "sse.error"),
    );
    const location = `${url.pathname}/info?id=${Math.random().toString(16).slice(2)}&last_event_id=${position}`;
    return new Response(null, { status: 202, headers: { Location: location, "Preference-Applied": "respond-async" } });
  }
  if (accept.includes("text/event-stream")) return streamed(request, args, routine, stream);
  let position: string | undefined;
  const raise = (data: unknown, event?: string) => void (position = stream?.publish(data, event));
  try {
    const result = await routine({ args, request, raise });
    const headers = new Headers(position ? { "SSE-Position": position } : {});
    if (result === undefined || result === null) return new Response(null, { status: 204, headers });
    headers.set("Content-Type", typeof result === "string" ? "text/plain; charset=utf-8" : "application/json");
    return new Response(text(result), { headers });
  } catch (error) {
    return problemOf(error);
  }
}

function streamed(request: Request, args: Record<string, unknown>, routine: FakeRoutine, stream?: FakeStream): Response {
  const open = new Open(request.signal, () => {});
  let id = stream?.position ?? "0-0";
  open.write(block({ id, event: "sse.ready", data: "{}" }));
  const raise = (data: unknown, event = "message") => {
    id = stream?.publish(data, event) ?? `0-${Number.parseInt(id.slice(2), 16) + 1}`;
    open.write(block({ id, event, data: text(data) }));
  };
  void Promise.resolve().then(() => routine({ args, request, raise })).then(
    (result) => open.write(block({ id, event: "sse.result", data: text(result ?? null) })),
    async (error: unknown) => open.write(block({ id, event: "sse.error", data: await problemOf(error).text() })),
  ).then(() => open.end());
  return open.answer;
}
