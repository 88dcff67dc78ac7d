// What a stream brings. Not for how it is read (parser.ts) or connected (connection.ts).

/** One event of a stream. */
export interface Message {
  /** Where the stream stands behind this event. Opaque text. */
  readonly id: string;
  /** The event's name; `message` where it has none. */
  readonly event: string;
  /** Its text: several lines are joined with LF. */
  readonly data: string;
}

/** What `sse.gap` says: something is missing here; read your state again. */
export interface Gap {
  /** Why: those of docs/streams.md, or `session` after a login or logout of this package. */
  readonly reason: string;
  /** How many events are missing, if that can be known. */
  readonly missed: number | null;
}

/** A problem object (RFC 9457), as the gateway answers errors. */
export interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail?: string;
  readonly sqlstate?: string;
  /** The argument of a call that it is about. */
  readonly parameter?: string;
}

/** A stream or a call was refused, or failed. `status` is 0 where there was no answer at all. */
export class SseError extends Error {
  override readonly name = "SseError";
  readonly status: number;
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail ?? problem.title);
    this.status = problem.status;
    this.problem = problem;
  }
}

/** The problem that an answer tells, or one made from its status. */
export async function problemOf(answer: Response): Promise<Problem> {
  const { status } = answer;
  try {
    return { title: "", ...(JSON.parse(await answer.text()) as object), status };
  } catch {
    // Not ours: a proxy's page, or a connection that broke in the middle of the answer.
    return { status, title: answer.statusText || `HTTP ${status}` };
  }
}

/** What is wrong where an answer is none, or has no body to be read from. */
export const NO_STREAM = "No readable event stream";

/** How a stream ends that somebody else shall take up again: a login or a logout has changed who the user is. */
export const SESSION: Problem = { status: 0, title: "session" };
/** The name of the channel on which a login or a logout is told to all tabs and workers. */
export const CHANNEL = "pg-sse";

/** Changes with each login and logout: pages that are kept for the way back hear of none. */
export function session(): string | null | undefined {
  try {
    return localStorage.getItem(CHANNEL);
  } catch {
    return undefined; // forbidden
  }
}

/** An id of which the server says that a fresh snapshot follows it, or would, whenever one goes on from it. */
export const isMarked = (id: string) => id.endsWith("s");

/** A gap that the package itself tells: `slow`, in front of what was kept where nobody took what came before; `session`. */
export const gap = (reason: string, missed: number | null = null): Message =>
  ({ id: "", event: "sse.gap", data: JSON.stringify({ reason, missed }) });

/** What a gap says. */
export function gapOf(data: string): Gap {
  return JSON.parse(data) as Gap;
}
