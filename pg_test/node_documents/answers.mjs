// Whether a gateway answers as its OpenAPI document says. Arguments: the gateway's URL, and the document's file,
// whose name ends in openapi.json.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { BASIC } from "@hyperjump/json-schema/experimental";
import { validate } from "@hyperjump/json-schema/openapi-3-2";

const [base, file] = process.argv.slice(2);
const openapi = JSON.parse(await readFile(file, "utf8"));

function is(what, found, wanted) {
    const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
    if (a !== b) throw new Error(`${what}: found ${a}, wanted ${b}`);
}

const pointer = (...steps) => steps.map((step) => `/${step.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

async function check(steps, value) {
    const url = `${pathToFileURL(resolve(file)).href}#${encodeURI(pointer(...steps))}`;
    return validate(url, value, BASIC);
}

async function fits(steps, value) {
    const output = await check(steps, value);
    if (!output.valid) throw new Error(`${steps.join(" ")}: ${JSON.stringify(value)}: ${JSON.stringify(output.errors)}`);
}

/** Calls, and looks whether status, type and body are in the document. */
async function call(method, path, { query = "", body, headers = {} } = {}) {
    const options = body === undefined
        ? { method, headers }
        : { method, headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(base + path + query, options);
    const { responses, requestBody } = openapi.paths[path][method.toLowerCase()];
    let steps = ["paths", path, method.toLowerCase(), "responses", String(answer.status)];
    const text = await answer.text();
    const said = responses[answer.status] ?? responses.default;
    if (said === undefined) throw new Error(`${method} ${path}: ${answer.status} is not in the document`);
    if (answer.ok && body !== undefined && requestBody !== undefined) {
        await fits([...steps.slice(0, 3), "requestBody", "content", "application/json", "schema"], body);
    }
    const content = said.$ref === undefined ? said.content : openapi.components.responses[said.$ref.split("/").pop()].content;
    if (said.$ref !== undefined) steps = ["components", "responses", said.$ref.split("/").pop()];
    const type = (answer.headers.get("Content-Type") ?? "").split(";")[0];
    is(`${method} ${path}: the type of ${answer.status}`, type === "" || content?.[type] !== undefined, true);
    if (type !== "" && type !== "text/event-stream") {
        await fits([...steps, "content", type, "schema"], type === "text/plain" ? text : JSON.parse(text));
    }
    return { status: answer.status, type, text, headers: answer.headers };
}

/** The events of a text, as OpenAPI sees them. */
function events(text) {
    const blocks = text.split("\n\n").map((block) => block.split("\n").filter((line) => !line.startsWith(":") && line !== ""));
    return blocks.filter((lines) => lines.length > 0).map((lines) => {
        const event = {};
        for (const line of lines) {
            const [, name, value] = /^(\w+): ?(.*)$/.exec(line);
            if (name === "retry") event.retry = Number(value);
            else event[name] = name === "data" && event.data !== undefined ? `${event.data}\n${value}` : value;
        }
        return event;
    });
}

/** Reads a stream until an event is there. */
async function until(path, query, isThere) {
    const answer = await fetch(base + path + query);
    is(`${path}: its type`, answer.headers.get("Content-Type"), "text/event-stream");
    const [reader, decoder] = [answer.body.getReader(), new TextDecoder()];
    let text = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Error(`${path}: the stream has ended`);
        text += decoder.decode(value, { stream: true });
        const complete = events(text.slice(0, text.lastIndexOf("\n\n") + 2));
        if (complete.some(isThere)) {
            await reader.cancel();
            return complete;
        }
    }
}

// Answers.
const { text: visits } = await call("GET", "/api/get-visits");
is("a number with all its digits", visits.includes("9007199254740993"), true);
await call("GET", "/api/get-visits", { query: "?page=x" });
const body = {
    a: 1, b: "12345678901234567890".slice(0, 18), c: null, d: 1.5, e: { streetName: "x", big: 9, mood: "it's" },
    f: { any: [1, null] }, g: ["a", null], h: "\\x00ff", toString: null,
};
await call("POST", "/api/echo", { body });
const query = new URLSearchParams({ f: "1", e: '{"streetName":"x"}' });
for (const each of ["[1]", "null"]) query.append("each", each);
for (const tag of ["a", "b"]) query.append("tags", tag);
await call("GET", "/api/echo-query", { query: `?${query}` });
is("a number as text", (await call("GET", "/api/scalars-int")).text, "42");
is("a boolean as text", (await call("GET", "/api/is-open")).text, "false");
is("nothing", (await call("GET", "/api/nothing")).status, 204);
is("a procedure", JSON.parse((await call("POST", "/api/delete", { body: { x: 1 } })).text), { x: 2 });
is("times", (await call("GET", "/api/measures")).status, 200);
is("a time", (await call("GET", "/api/measured-at")).status, 200);

// Errors.
is("refused", (await call("POST", "/api/fail", { body: { why: "gone" } })).status, 404);
is("not understood", (await call("POST", "/api/fail", { body: { what: "x" } })).status, 400);
is("not known", (await call("GET", "/api/for-some")).status, 401);
const wrong = await check(["paths", "/api/fail", "post", "requestBody", "content", "application/json", "schema"], { what: "x" });
is("what is refused does not fit the document", wrong.valid, false);

// A streamed call, and one that goes on without its caller.
const streamed = await call("POST", "/api/make-report", { body: { pages: 2 }, headers: { Accept: "text/event-stream" } });
is("a stream", streamed.type, "text/event-stream");
const items = ["paths", "/api/make-report", "post", "responses", "200", "content", "text/event-stream", "itemSchema"];
for (const event of events(streamed.text)) await fits(items, event);
const result = events(streamed.text).find(({ event }) => event === "sse.result");
is("its result", JSON.parse(result.data), { done: 2 });
const places = openapi.paths["/api/make-report"].post.responses["200"].content["text/event-stream"].itemSchema.anyOf;
const typed = places.findIndex(({ properties }) => properties?.event.const === "sse.result");
await fits([...items, "anyOf", String(typed), "properties", "data", "contentSchema"], JSON.parse(result.data));
const begun = await call("POST", "/api/make-report", { body: { pages: 2 }, headers: { Prefer: "respond-async" } });
is("begun", [begun.status, begun.headers.get("Preference-Applied")], [202, "respond-async"]);
const [path, location] = begun.headers.get("Location").split("?");
const stream = (of) => ["paths", of, "get", "responses", "200", "content", "text/event-stream", "itemSchema"];
for (const event of await until(path, `?${location}`, ({ event }) => event === "sse.result")) await fits(stream(path), event);

// A stream with a snapshot, a row change and a gap.
const live = await until("/api/live/info", "?topic=public.visits", ({ event }) => event === "state");
for (const event of live) await fits(stream("/api/live/info"), event);
const state = live.find(({ event }) => event === "state");
const known = openapi.paths["/api/live/info"].get.responses["200"].content["text/event-stream"].itemSchema.anyOf;
is("the snapshot is in the document", known[0].properties.event, { const: "state" });
await fits([...stream("/api/live/info"), "anyOf", "0", "properties", "data", "contentSchema"], JSON.parse(state.data));
// From the place of that snapshot on, so that it does not matter which of the two comes first.
const change = until("/api/live/info", `?topic=public.visits&last_event_id=${state.id}`, ({ event }) => event === "insert");
await call("POST", "/api/visit", { body: { page: "/new" } });
for (const event of await change) {
    await fits(stream("/api/live/info"), event);
    if (event.event === "insert") await fits(["components", "schemas", "SseRowChangeData"], JSON.parse(event.data));
}
const missed = await until("/api/say/info", "?last_event_id=abc", ({ event }) => event === "sse.gap");
for (const event of missed) {
    await fits(stream("/api/say/info"), event);
    if (event.event === "sse.gap") await fits(["components", "schemas", "SseGapData"], JSON.parse(event.data));
}
