// What the client of `sse.typescript_client()` says of streams and routines (docs/typescript.md), as `subscribe`, `live` and
// `call` take it in place of a URL. That file depends on nothing, so these are but the shapes of what is in it.

/** How the text of a value is read. */
export type Kind = "void" | "json" | "text" | "number" | "boolean";

/** A path, and where the gateway is. */
export interface Place {
  readonly path: string;
  origin(): { readonly baseUrl: string; readonly credentials: "include" | "same-origin" };
}

/** A stream: what its events are, by name. */
export interface Stream<Events> extends Place {
  readonly events: { readonly [Name in keyof Events]: Kind };
  readonly types?: { readonly events: Events };
}

/** A stream of a table's changes, and what keeps its rows. */
export interface LiveStream<Row> extends Place {
  readonly snapshot?: string;
  readonly key: readonly string[];
  readonly names: "camel" | "sql";
  readonly types?: { readonly row: Row };
}

/**
 * A URL, or a place of which the typed client does not know how to keep rows. Overloads that take it stand before those for
 * streams of the typed client: of the last one the compiler tells what does not fit.
 */
export type Plain = string | URL | (Place & { readonly key?: never });

/** How a routine is called. */
export interface Routine<Request, Response> extends Place {
  readonly method: string;
  readonly kind: Kind;
  readonly json?: readonly string[];
  readonly jsonArrays?: readonly string[];
  readonly types?: { readonly request: Request; readonly response: Response };
}

/** The value that a text is. */
export function valueOf(kind: Kind | undefined, text: string): unknown {
  if (!kind || kind === "text") return text;
  return kind === "number" && text !== "null" ? Number(text) : JSON.parse(text);
}
