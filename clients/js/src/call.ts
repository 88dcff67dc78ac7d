// Calls of routines: answered at once, as a stream, or followed from a stream of their own. Logins and logouts.
// Not for streams of events (subscription.ts).

import { CHANNEL, gap, isMarked, type Message, NO_STREAM, type Problem, problemOf, SseError } from "./message.js";
import { Parser, read } from "./parser.js";
import { subscribe, type SubscribeOptions, type Subscription, type Token } from "./subscription.js";
import { type Kind, type Place, type Routine, valueOf } from "./typed.js";
import { isPlace, locate } from "./url.js";

export interface CallOptions {
  /** Default: that of a routine of the typed client, else `POST`. With `GET` and `DELETE` the arguments go into the query string. */
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | undefined;
  /** Ends the wait, and the statement with it. */
  readonly signal?: AbortSignal | undefined;
  readonly token?: Token | undefined;
  readonly credentials?: RequestCredentials | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly fetch?: typeof fetch | undefined;
  /** What `settled` listens to. It must have the topic of the event, as the stream asks for it. */
  readonly stream?: Subscription | { readonly stream: Subscription } | undefined;
  /** How long `settled` waits at most, in milliseconds. Default: 5000. */
  readonly patience?: number | undefined;
}

export interface Settled {
  /** The call's own event has come. Otherwise a gap or a snapshot has, or nothing in time, or there is nothing to wait for. */
  readonly seen: boolean;
}

export interface Answer<Result> {
  readonly status: number;
  /** What the routine returned; `null` for an answer without a body. */
  readonly response: Result;
  /** The id of the last event that the call has published, for its caller. */
  readonly position: string | null;
  /** When an optimistic value can be dropped: the stream of the options knows what the call did, or never will. */
  readonly settled: Promise<Settled>;
}

type Where = string | URL | Place;
/** The arguments of a routine of the typed client, and options. */
export type Given<Request> = undefined extends Request
  ? [args?: Request, options?: CallOptions] : [args: Request, options?: CallOptions];

/** What the typed client says of a routine; of a URL, nothing. */
const told = (where: Where): Partial<Routine<unknown, unknown>> => (isPlace(where) ? where : {});

/** JSON, in which such numbers are texts: JSON has none, and the server takes them so. */
const json = (value: unknown) => JSON.stringify(value, (_, part: unknown) =>
  typeof part === "bigint" || (typeof part === "number" && !Number.isFinite(part)) ? String(part) : part);

async function send(where: Where, args: object | undefined, options: CallOptions, more: Record<string, string>) {
  const { token, signal } = options;
  const routine = told(where);
  const method = options.method ?? routine.method ?? "POST";
  const { url: full, credentials } = locate(where, options.credentials);
  const hasQuery = method === "GET" || method === "DELETE";
  const headers: Record<string, string> = { ...more, ...options.headers };
  if (!hasQuery) headers["Content-Type"] = "application/json";
  else for (const [name, value] of Object.entries(args ?? {})) {
    // One that is left out has its default; a query string has no NULL.
    const isJson = routine.json?.includes(name);
    for (const one of Array.isArray(value) && !isJson ? value : [value]) {
      if (one === undefined) continue;
      const isText = typeof one !== "object" && !isJson && !routine.jsonArrays?.includes(name);
      full.searchParams.append(name, isText ? String(one) : json(one));
    }
  }
  const body = hasQuery ? null : json(args ?? {});
  for (let isRenewal = false; ; isRenewal = true) {
    const bearer = typeof token === "function" ? await token({ isRenewal }) : token;
    if (bearer) headers.Authorization = `Bearer ${bearer}`;
    const answer = await (options.fetch ?? fetch)(full, { method, headers, body, credentials, signal: signal ?? null });
    if (answer.ok) return answer;
    // Refused before anything has run; so it can be sent again.
    if (answer.status !== 401 || isRenewal || typeof token !== "function") throw new SseError(await problemOf(answer));
    await answer.body?.cancel();
  }
}

/** Calls a routine. What it refuses is thrown as an `SseError`, with the problem that it was answered. */
export function call<Result = unknown>(url: string | URL, args?: object, options?: CallOptions): Promise<Answer<Result>>;
export function call<Request, Response>(routine: Routine<Request, Response>, ...given: Given<Request>): Promise<Answer<Response>>;
export async function call<Result = unknown>(where: Where, args?: object, options: CallOptions = {}): Promise<Answer<Result>> {
  const own = ownEvent(options);
  try {
    const answer = await send(where, args, options, { Accept: "application/json, text/plain;q=0.9, */*;q=0.8" });
    const text = await answer.text();
    const position = answer.headers.get("SSE-Position");
    const kind = told(where).kind ?? (answer.headers.get("Content-Type")?.includes("json") ? "json" : "text");
    return {
      status: answer.status,
      response: (answer.status === 204 ? null : valueOf(kind, text)) as Result,
      position,
      settled: own.settle(position),
    };
  } catch (error) {
    own.stop();
    throw error;
  }
}

/** Listens from before the call on: its event often comes before its answer. */
function ownEvent({ stream, patience = 5000 }: CallOptions) {
  const subscription = stream && "stream" in stream ? stream.stream : stream;
  let hasBegunAnew = false;
  let look = () => {};
  const stop = subscription?.watch(({ event, id }) => {
    // Snapshots have the name that their author gave them, but follow a gap, or a beginning whose id is marked.
    if (event === "sse.gap" || (event === "sse.ready" && isMarked(id))) hasBegunAnew = true;
    look();
  }) ?? (() => {});
  const settle = (id: string | null): Promise<Settled> => new Promise((resolve) => {
    const done = (seen: boolean) => {
      clearTimeout(last);
      stop();
      resolve({ seen });
    };
    const last = setTimeout(() => done(false), patience);
    look = () => {
      if (!subscription || !id) done(false);
      else if (subscription.hasSeen(id)) done(true);
      else if (hasBegunAnew) done(false);
    };
    look();
  });
  return { settle, stop };
}

/**
 * A call that is followed: its events, and in the end its result. Until somebody iterates, the last 1000 events are kept;
 * where there were more, the first message is a gap.
 */
export interface Running<Result> extends AsyncIterable<Message> {
  readonly result: Promise<Result>;
  close(): void;
}

/**
 * A call whose answer is a stream: iterate over the events that it raises, or just await `result`. To leave the loop
 * before the end cancels the statement.
 */
export function callStream<Result = unknown>(url: string | URL, args?: object, options?: CallOptions): Running<Result>;
export function callStream<Request, Response>(routine: Routine<Request, Response>, ...given: Given<Request>): Running<Response>;
export function callStream<Result = unknown>(where: Where, args?: object, options: CallOptions = {}): Running<Result> {
  const abort = new AbortController();
  const stop = () => abort.abort(options.signal?.reason);
  if (options.signal?.aborted) stop();
  options.signal?.addEventListener("abort", stop);
  const { signal } = abort;
  return running(told(where).kind, async (take) => {
    const answer = await send(where, args, { ...options, signal }, { Accept: "text/event-stream" });
    const isStream = answer.headers.get("Content-Type")?.startsWith("text/event-stream");
    if (isStream && answer.body) await read(answer.body, new Parser(take));
    throw new SseError({ status: 0, title: isStream && !answer.body ? NO_STREAM : "The stream of the call ended without a result" });
  }, () => {
    options.signal?.removeEventListener("abort", stop);
    abort.abort();
  });
}

/** A call that goes on without its caller, and where it can be followed. */
export type Begun<Result> = Running<Result> & { readonly url: string };

/**
 * A call that goes on without its caller. Keep `url`: whoever calls `follow(url)`, after a reload or in another tab, gets
 * all of it, as long as the server's window reaches. No stream is open before `result` is asked for, or iteration begins:
 * they have the call's events from the first one all the same.
 */
export function callAsync<Result = unknown>(url: string | URL, args?: object, options?: CallOptions): Promise<Begun<Result>>;
export function callAsync<Request, Response>(routine: Routine<Request, Response>, ...given: Given<Request>): Promise<Begun<Response>>;
export async function callAsync<Result = unknown>(where: Where, args?: object, options: CallOptions = {}): Promise<Begun<Result>> {
  const answer = await send(where, args, options, { Prefer: "respond-async" });
  const location = answer.headers.get("Location");
  if (answer.status !== 202 || !location) {
    throw new SseError({ status: answer.status, title: "The routine has no subscribe URL, so it was called and answered at once" });
  }
  const { signal, token, fetch } = options;
  const { url, credentials } = locate(where, options.credentials);
  const full = new URL(location, answer.url || url).href;
  const routine = isPlace(where) ? where as Routine<unknown, Result> : undefined;
  let running: Running<Result> | undefined;
  const open = () => (running ??= follow<Result>(full, { signal, token, credentials, fetch, routine }));
  return {
    url: full,
    get result() {
      return open().result;
    },
    close: () => open().close(),
    [Symbol.asyncIterator]: () => open()[Symbol.asyncIterator](),
  };
}

export interface FollowOptions<Result> extends SubscribeOptions {
  /** What was called, of the typed client: says how the result is read, and its type. */
  readonly routine?: Routine<unknown, Result> | undefined;
  /**
   * How long a call whose end may have been missed is waited for, in milliseconds, from the gap that says so: it may still
   * run, for `sse.call_timeout` at most. Default: 60000.
   */
  readonly patience?: number | undefined;
}

/** What such a gap says is missing cannot be the end of a call: it is kept until there is room, has a size, and needs no snapshot. */
const KEEPS_THE_END = ["overflow", "too_large", "snapshot"];

/**
 * Follows a call of `callAsync`, from its first event on. Where its end may have gone by, further back than the server's
 * window reaches, it fails with status 410 when nothing has come in time; after a restart of the server at once.
 */
export function follow<Result = unknown>(url: string | URL, options: FollowOptions<Result> = {}): Running<Result> {
  let subscription: Subscription | undefined;
  let last: ReturnType<typeof setTimeout> | undefined;
  return running(options.routine?.kind, async (take) => {
    await new Promise<void>((resolve, reject) => {
      const gone = () => reject(new SseError({ status: 410, title: "The result of the call is no longer there" }));
      subscription = subscribe(url, {
        ...options,
        // Names are not known here.
        events: undefined,
        onEvent: take,
        onGap: ({ reason }, message) => {
          take(message);
          // Calls do not outlive the gateway.
          if (reason === "restarted") gone();
          else if (!KEEPS_THE_END.includes(reason)) last ??= setTimeout(gone, options.patience ?? 60_000);
        },
        onEnd: (error) => (error ? reject(error) : resolve()),
      });
    });
    throw new SseError({ status: 0, title: "Closed before the call has ended" });
  }, () => {
    clearTimeout(last);
    subscription?.close();
  });
}

/** How many events are kept for whoever iterates, until somebody does. */
const KEPT = 1000;

function running<Result>(
  kind: Kind | undefined, run: (take: (message: Message) => void) => Promise<never>, close: () => void,
): Running<Result> {
  const waiting: Message[] = [];
  let next = () => {};
  let isOver = false;
  let isIterated = false;
  let missed = 0;
  const result = new Promise<Result>((resolve, reject) => {
    const over = (settle: () => void) => {
      isOver = true;
      settle();
      next();
      close();
    };
    run((message) => {
      const { event, data } = message;
      if (isOver || event === "sse.ready") return;
      if (event === "sse.result") over(() => resolve(resultOf(data, kind) as Result));
      else if (event === "sse.error") over(() => reject(new SseError(JSON.parse(data) as Problem)));
      else {
        waiting.push(message);
        // Whoever just awaits the result takes none of them.
        if (!isIterated && waiting.length > KEPT) {
          waiting.shift();
          missed++;
        }
        next();
      }
    }).catch((error: unknown) => over(() => reject(error)));
  });
  // Whoever only iterates has the error thrown there.
  result.catch(() => {});
  async function* iterate(): AsyncGenerator<Message, void, undefined> {
    try {
      if (missed) yield gap("slow", missed);
      for (;;) {
        const message = waiting.shift();
        if (message) yield message;
        else if (isOver) return void (await result);
        else await new Promise<void>((resolve) => (next = resolve));
      }
    } finally {
      close();
    }
  }
  return {
    result,
    close,
    [Symbol.asyncIterator]() {
      isIterated = true;
      return iterate();
    },
  };
}

/** A result is the text that the ordinary answer would be; only that answer's head says whether it is JSON, or who knows the kind. */
function resultOf(data: string, kind: Kind | undefined): unknown {
  if (kind) return data === "null" ? null : valueOf(kind, data);
  try {
    return JSON.parse(data);
  } catch {
    return data;
  }
}

/** Calls a login routine. Streams that cookies are behind then begin anew, in all tabs, as the new user. */
export function login<Result = unknown>(url: string | URL, args?: object, options?: CallOptions): Promise<Answer<Result>>;
export function login<Request, Response>(routine: Routine<Request, Response>, ...given: Given<Request>): Promise<Answer<Response>>;
export async function login<Result = unknown>(where: Where, args?: object, options: CallOptions = {}): Promise<Answer<Result>> {
  const answer = await call<Result>(where as string, args, options);
  changeSession();
  return answer;
}

/** Calls a logout routine. Streams that cookies are behind then begin anew, in all tabs, as nobody. */
export async function logout(where: Where, options: CallOptions = {}): Promise<void> {
  await call(where as string, {}, options);
  changeSession();
}

function changeSession(): void {
  if (typeof document === "undefined") return;
  try {
    localStorage.setItem(CHANNEL, `${Math.random()}`);
  } catch {
    // Forbidden: then pages that are kept for the way back do not know.
  }
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage("session");
  channel.close();
}
