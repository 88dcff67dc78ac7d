// Runs a client against a gateway, whose URL is the argument: pg_test/tests/typescript_client.rs.
// What is assigned here to types of its own shows that the client's are these.
import { EventSource as NodeEventSource } from "eventsource";

import * as api from "./client.js";
import type { Place, Visits } from "./client.js";

declare const process: { argv: string[]; exit(code: number): never };
const surroundings = globalThis as unknown as Record<string, unknown>;
// Browsers have both; Node 18 has neither as a global.
surroundings["EventSource"] = NodeEventSource;
if (!("crypto" in globalThis)) {
    // @ts-expect-error: there are no types of Node here
    surroundings["crypto"] = ((await import("node:crypto")) as { webcrypto: unknown }).webcrypto;
}

function is(what: string, found: unknown, wanted: unknown): void {
    const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
    if (a !== b) throw new Error(`${what}: found ${a}, wanted ${b}`);
}

async function until(what: string, isSo: () => boolean): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
        if (isSo()) return;
        await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`in vain: ${what}`);
}

async function calls(): Promise<void> {
    const visits: api.ApiResult<Visits[]> = await api.getVisits({});
    if (visits.error) throw new Error(visits.error.title);
    const [first] = visits.response;
    const page: string | undefined = first?.page;
    const n: number | null | undefined = first?.n;
    const mood: "so-so" | "\"fine\"" | "it's" | undefined = first?.mood;
    const places: (Place | null)[] | null | undefined = first?.places;
    is("a row", [page, n, mood, places], ["/", 1.5, "so-so", [{ streetName: "Main", big: 9007199254740992, mood: "it's" }]]);
    is("keys", [first?.proto, first?.["it's"], first?.at], [null, null, "2026-01-02T03:04:05+00:00"]);
    is("another page", (await api.getVisits({ page: "a b&=ü" })).response, []);

    const echoed = await api.echo({
        a: 1, b: 12345678901234567890n % 1000n, c: null, d: -Infinity, e: { streetName: "x", big: "9", mood: "\"fine\"" },
        f: { "__proto__": [1, null] }, g: ["a", null, "{},\""], h: "\\x00ff",
    });
    is("echo", [echoed.status, echoed.error], [200, undefined]);
    is("echo", echoed.response?.[0], {
        a: 1, b: 890, c: null, d: "-Infinity", e: { streetName: "x", big: 9, mood: "\"fine\"" },
        f: {}, g: ["a", null, "{},\""], h: "\\x00ff",
    });
    is("defaults", (await api.echo({ a: 2 })).response?.[0]?.b, 7);
    const query = await api.echoQuery({ f: "text", each: ["a", [1], null], tags: ["1", "two"], e: { big: 3n } });
    is("query", query.response, {
        e: { big: 3, mood: null, street_name: null }, f: "text", each: ["a", [1], null], tags: ["1", "two"],
    });

    const count: number | null | undefined = (await api.scalarsInt()).response;
    const isOpen: boolean | null | undefined = (await api.isOpen()).response;
    const nothing: string | null | undefined = (await api.nothing()).response;
    is("scalars", [count, isOpen, nothing], [42, false, null]);
    const failed: api.ApiVoidResult = await api.fail({ why: "gone" });
    is("error", failed, { status: 404, error: { type: "about:blank", title: "Not Found", status: 404, detail: "gone", sqlstate: "PT404" } });
    is("reserved", (await api.delete_({ x: 1 })).response, { x: 2 });
    is("odd", (await api.aB()).status, 204);
    // @ts-expect-error: a user parameter is not given by a request
    is("user parameter", (await api.say({ message: "x", userId: "1" })).status, 400);
    // @ts-expect-error: what has no default is asked for
    is("missing", (await api.say({})).status, 400);
    const ended = new AbortController();
    ended.abort();
    const aborted = await api.scalarsInt({ signal: ended.signal }).catch((error: unknown) => (error as Error).name);
    is("aborted", aborted, "AbortError");
}

async function streams(): Promise<void> {
    const heard: string[] = [];
    const source: EventSource = api.createSayEventSource("a b&ü#");
    source.onmessage = (event) => heard.push(event.data as string);
    await new Promise((resolve) => source.addEventListener("sse.ready", resolve));
    await api.say({ message: "another" }, undefined, "other");
    await api.say({ message: "mine" }, undefined, "a b&ü#");
    await until("own id", () => heard.length > 0);
    is("only with its id", heard, ["mine"]);
    source.close();

    // Twenty times: without waiting for the stream an event would be missed now and then.
    for (let round = 0; round < 20; round++) {
        const messages: string[] = [];
        const said = await api.say({ message: `round ${round}` }, (message) => messages.push(message));
        is("said", said, { status: 204 });
        await until("the event of the call", () => messages.length > 0);
        is("messages", messages, [`round ${round}`]);
    }
    const named: string[] = [];
    is("named", (await api.saidNamed({ message: "x" }, (message) => named.push(message))).response, 5);
    await until("an event with a name", () => named.length > 0);

    const states: Visits[][] = [];
    const live = api.createLiveEventSource("", ["public.visits"]);
    live.addEventListener("state", (event) => states.push(api.readLiveSnapshot(event)));
    await until("a snapshot", () => states.length > 0);
    is("snapshot", states[0]?.[0]?.page, "/");
    live.close();
}

async function long(): Promise<void> {
    const steps: string[] = [];
    const done = await api.streamMakeReport({ pages: 3 }, (message, event) => steps.push(`${event} ${message}`));
    is("streamed", done, { status: 200, response: { done: 3 } });
    is("its events", steps, ["message 1 of 3", "message 2 of 3", "message 3 of 3"]);
    const failed = await api.streamMakeReport({ pages: 6 });
    is("streamed, failed", [failed.status, failed.error?.detail], [400, "too long"]);
    const refused = await api.streamMakeReport({ pages: "x" as unknown as number });
    is("streamed, refused", refused.status, 400);
    is("streamed, void", await api.streamSay({ message: "x\ny" }, (message) => steps.push(message)), { status: 200 });
    is("lines", steps[steps.length - 1], "x\ny");

    const begun: api.ApiBegun = await api.beginMakeReport({ pages: 2 });
    if (begun.error) throw new Error(begun.error.title);
    const followed: string[] = [];
    const end = await api.followMakeReport(begun.location, (message) => followed.push(message));
    is("followed", [end, followed], [{ status: 200, response: { done: 2 } }, ["1 of 2", "2 of 2"]]);
    is("not begun", (await api.beginMakeReport({} as { pages: number })).status, 400);
}

api.setBaseUrl(process.argv[2] ?? "");
is("base URL", api.baseUrl, process.argv[2]?.replace(/\/$/, ""));
await calls();
await streams();
await long();
// A stream that is refused: the call is not sent.
api.setBaseUrl(`${api.baseUrl}/nowhere`);
is("no stream", (await api.say({ message: "x" }, () => undefined)).error, { status: 0, title: "The stream could not be opened." });
process.exit(0);
