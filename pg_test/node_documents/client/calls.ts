// Calls a gateway, whose URL is the argument, with what openapi-typescript has made of its OpenAPI document
// (api.ts) and openapi-fetch: pg_test/tests/documents.rs. What is assigned here to types of its own shows that the
// generated ones are these.
import createClient from "openapi-fetch";

import type { components, paths } from "./api.js";

declare const process: { argv: string[] };

function is(what: string, found: unknown, wanted: unknown): void {
    const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
    if (a !== b) throw new Error(`${what}: found ${a}, wanted ${b}`);
}

const baseUrl = process.argv[2] ?? "";
// Without these, the answer of a routine that publishes would be of any type: its events, too.
const api = createClient<paths, "application/json" | "application/problem+json">({ baseUrl });
type Visits = components["schemas"]["Visits"];
type Place = components["schemas"]["Place"];

// An answer of rows, with an enum, a composite, an array and what may be null.
const visits = await api.GET("/api/get-visits", { params: { query: { page: "/" } } });
const rows: Visits[] | undefined = visits.data;
const first = rows?.[0];
const page: string | undefined = first?.page;
const n: number | null | undefined = first?.n;
const mood: "so-so" | '"fine"' | "it's" | undefined = first?.mood;
const places: (Place | null)[] | null | undefined = first?.places;
is("a row", [visits.response.status, page, n, mood, places?.[0]?.streetName], [200, "/", 1.5, "so-so", "Main"]);

// A body, in which what has a default may be left out.
const echoed = await api.POST("/api/echo", { body: { a: 1, b: "7", e: { streetName: "x", mood: "it's" }, f: { any: [1] }, g: ["a", null], toString: "x" } });
const echo: { a: number | null; b: number | null; e: Place | null } | undefined = echoed.data?.[0];
is("echo", [echo?.a, echo?.b, echo?.e], [1, 7, { streetName: "x", big: null, mood: "it's" }]);
// @ts-expect-error: what has no default is asked for
is("missing", (await api.POST("/api/echo", { body: {} })).response.status, 400);
is("user parameter", (await api.POST("/api/say", { body: { message: "x", userId: "1" } })).response.status, 400);

// A row and JSON in a query string, and arrays by repetition.
const query = await api.GET("/api/echo-query", {
    params: { query: { f: JSON.stringify({ x: 1 }), each: ["[1]", "null"], tags: ["a", "b"], e: JSON.stringify({ streetName: "x" }) } },
});
is("query", query.data, { e: { big: null, mood: null, street_name: "x" }, f: { x: 1 }, each: [[1], null], tags: ["a", "b"] });

// A problem, with its type.
const failed = await api.POST("/api/fail", { body: { why: "gone" } });
const problem: components["schemas"]["Problem"] | undefined = failed.error;
is("error", [failed.response.status, problem?.detail, problem?.sqlstate], [404, "gone", "PT404"]);

// Text, and nothing.
const texts = createClient<paths, "text/plain">({ baseUrl });
const scalar: string | undefined = (await texts.GET("/api/scalars-int", { parseAs: "text" })).data;
is("text", scalar, "42");
is("void", (await api.POST("/api/say", { body: { message: "x" } })).response.status, 204);

// A call that goes on without its caller, and a call of a user.
const begun = await api.POST("/api/make-report", { params: { header: { Prefer: "respond-async" } }, body: { pages: 1 } });
is("begun", [begun.response.status, begun.response.headers.get("Location")?.startsWith("/api/make-report/info?")], [202, true]);
is("nobody", (await api.GET("/api/for-some")).response.status, 401);

// A stream: this generator knows nothing of its items, but the address and the parameters.
const ended = new AbortController();
const stream = await api.GET("/api/say/info", { params: { query: { id: "x", topic: ["a", "b"] } }, parseAs: "stream", signal: ended.signal });
is("stream", stream.response.headers.get("Content-Type"), "text/event-stream");
ended.abort();
