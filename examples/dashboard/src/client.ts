/*
 * The client of a database of schema "depot", made by pg_sse 0.2.0 from the comments of its routines. Make it anew instead of
 * changing it: SELECT sse.typescript_client().
 */

/** Where the gateway is, as in `https://api.example.com`; empty: where the page comes from. */
export let baseUrl = "";

let api_credentials = false;

/**
 * Sets {@link baseUrl}. With `credentials`, cookies go to another origin, too, which the server has to allow
 * (`sse.cors_origins`).
 */
export function setBaseUrl(url: string, credentials = false): void {
    baseUrl = url.replace(/\/+$/, "");
    api_credentials = credentials;
}

/** Where the gateway is, for the npm package pg-sse. */
export interface ApiOrigin {
    readonly baseUrl: string;
    readonly credentials: "include" | "same-origin";
}

function api_origin(): ApiOrigin {
    return { baseUrl, credentials: api_credentials ? "include" : "same-origin" };
}

/** How the text of a value is read. */
export type ApiKind = "void" | "json" | "text" | "number" | "boolean";

const api_ID_HEADER = "x-execution-id";

/** Why a call failed, as the server says it (RFC 9457); `sqlstate` is the code of Postgres' error. */
export interface ApiError {
    /** 0: the call was not answered. */
    status: number;
    title: string;
    detail?: string;
    sqlstate?: string;
    /** The argument that it is about. */
    parameter?: string;
}

/** What a call resolves to; it rejects only if the server cannot be reached, or `signal` ends it. */
export type ApiResult<T> =
    | { status: number; response: T; error: undefined }
    | { status: number; response: undefined; error: ApiError };

/** The same of a call that is answered with nothing. */
export interface ApiVoidResult {
    status: number;
    error: ApiError | undefined;
}

export interface ApiOptions {
    /** The execution id: of streams that have one, those with this one get the events of the call. */
    id?: string | undefined;
    /** Ends the call. */
    signal?: AbortSignal | undefined;
}

/** How a routine is called: for `call` of the npm package pg-sse, with the types of its request and its answer. */
export interface ApiCall<Request, Response> {
    readonly method: string;
    readonly path: string;
    readonly kind: ApiKind;
    /** Of a query string: the parameters that are JSON, and those whose elements are. */
    readonly json?: readonly string[];
    readonly jsonArrays?: readonly string[];
    readonly origin: () => ApiOrigin;
    /** Never there. */
    readonly types?: { readonly request: Request; readonly response: Response };
}

type api_Call = ApiCall<unknown, unknown>;

/** JSON has no such numbers; as text the server takes them. */
function api_json(value: unknown): string {
    return JSON.stringify(value, (_key, part: unknown) =>
        typeof part === "bigint" || (typeof part === "number" && !Number.isFinite(part)) ? String(part) : part,
    );
}

function api_query(call: api_Call, request: object): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request) as [string, unknown][]) {
        const isJson = call.json?.includes(name) ?? false;
        const isJsonArray = call.jsonArrays?.includes(name) ?? false;
        for (const one of Array.isArray(value) && !isJson ? (value as unknown[]) : [value]) {
            if (one === undefined) continue;
            if (isJson || isJsonArray || (typeof one === "object" && one !== null)) {
                query.append(name, api_json(one));
            } else if (one === null) {
                throw new TypeError(`${name}: a query string cannot say null`);
            } else {
                query.append(name, String(one));
            }
        }
    }
    const text = query.toString();
    return text && `?${text}`;
}

function api_send(call: api_Call, request: object | undefined, options: ApiOptions, more?: [string, string]) {
    const isInQuery = call.method === "GET" || call.method === "DELETE";
    const headers: Record<string, string> = {};
    if (!isInQuery) headers["Content-Type"] = "application/json";
    // Headers are bytes: these are those of UTF-8.
    if (options.id) headers[api_ID_HEADER] = String.fromCharCode(...new TextEncoder().encode(options.id));
    if (more) headers[more[0]] = more[1];
    return globalThis.fetch(baseUrl + call.path + (isInQuery ? api_query(call, request ?? {}) : ""), {
        method: call.method,
        headers,
        body: isInQuery ? null : api_json(request ?? {}),
        credentials: api_credentials ? "include" : "same-origin",
        signal: options.signal ?? null,
    });
}

function api_error(status: number, text: string): ApiError {
    try {
        const problem: unknown = JSON.parse(text);
        if (typeof problem === "object" && problem !== null && "title" in problem) {
            return { ...(problem as ApiError), status };
        }
    } catch {
        // Not the gateway's: the page of a proxy.
    }
    return { status, title: `HTTP ${String(status)}`, detail: text };
}

function api_failed(status: number, text: string): { status: number; response: undefined; error: ApiError } {
    return { status, response: undefined, error: api_error(status, text) };
}

/** An answer without a body has the type's `null`. */
function api_read<T>(kind: ApiKind, text: string | null): T {
    if (text === null || kind === "text") return text as T;
    if (kind === "number") return Number(text) as T;
    return (kind === "boolean" ? text === "true" : JSON.parse(text)) as T;
}

async function api_result<T>(call: api_Call, answer: Response): Promise<ApiResult<T>> {
    const text = await answer.text();
    if (!answer.ok) return api_failed(answer.status, text);
    const isEmpty = answer.status === 204 || call.kind === "void";
    return { status: answer.status, response: api_read<T>(call.kind, isEmpty ? null : text), error: undefined };
}

async function api_call<T>(call: api_Call, request: object | undefined, options: ApiOptions): Promise<ApiResult<T>> {
    return api_result<T>(call, await api_send(call, request, options));
}

async function api_void(result: Promise<ApiResult<null>>): Promise<ApiVoidResult> {
    const { status, error } = await result;
    return { status, error };
}

/**
 * The data of an event of `sse.publish_change()`: `JSON.parse(event.data) as RowChange<Row>`. Columns have
 * their names of SQL.
 */
export interface RowChange<Row = Record<string, unknown>, Key = Partial<Row>> {
    op: "INSERT" | "UPDATE" | "DELETE";
    schema: string;
    table: string;
    /** The primary key; null of a table without one. */
    key: Key | null;
    new: Row | null;
    old: Row | null;
}

/** A stream for `subscribe` of the npm package pg-sse: what its events are, by name. */
export interface ApiStream<Events> {
    readonly path: string;
    readonly origin: () => ApiOrigin;
    readonly events: { readonly [Name in keyof Events]: ApiKind };
    /** Never there. */
    readonly types?: { readonly events: Events };
}

/** A stream of a table's changes, for `live` of pg-sse: what keeps its rows. */
export interface ApiLive<Events, Row> extends ApiStream<Events> {
    /** The event that has all rows. */
    readonly snapshot?: string;
    /** The columns of the primary key. */
    readonly key: readonly (keyof Row & string)[];
    /** How columns are named in rows: as in answers, or as in SQL. */
    readonly names: "camel" | "sql";
    /** Never there. */
    readonly types?: { readonly events: Events; readonly row: Row };
}

function api_open(path: string, id: string, topics: readonly string[]): EventSource {
    const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
    if (id) query.append("id", id);
    const text = query.toString();
    return new globalThis.EventSource(baseUrl + path + (text && `?${text}`), { withCredentials: api_credentials });
}

function api_snapshot<T>(kind: ApiKind, event: Event): T {
    const { data } = event as MessageEvent<string>;
    if (data === "null" || kind === "void") return null as T;
    if (kind === "text") return data as T;
    if (kind === "number") return Number(data) as T;
    return (kind === "boolean" ? data === "true" : JSON.parse(data)) as T;
}

/** Whether the stream has begun; `false`: it was refused, or did not begin in time (0: there is no limit). */
function api_opened(source: EventSource, withinMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => {
        const timer = withinMs > 0 ? setTimeout(() => resolve(false), withinMs) : undefined;
        const end = (isOpen: boolean) => {
            clearTimeout(timer);
            resolve(isOpen);
        };
        source.addEventListener("sse.ready", () => end(true));
        source.addEventListener("error", () => {
            if (source.readyState === 2) end(false);
        });
        const abort = () => {
            clearTimeout(timer);
            reject(signal?.reason as Error);
        };
        if (signal?.aborted) abort();
        signal?.addEventListener("abort", abort, { once: true });
    });
}

interface api_Listening {
    path: string;
    /** The names of its events. */
    events: readonly string[];
    onMessage: ((message: string) => void) | undefined;
    id: string | undefined;
    closeAfterMs: number;
    awaitConnectionMs: number;
}

/** Calls as soon as the stream is open, so that no event of the call is missed. */
async function api_listen<T>(
    listening: api_Listening,
    options: ApiOptions,
    call: (options: ApiOptions) => Promise<ApiResult<T>>,
): Promise<ApiResult<T>> {
    const { onMessage, closeAfterMs } = listening;
    const given = listening.id || options.id;
    if (onMessage === undefined) return call({ ...options, id: given });
    const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
    const id = given || Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const source = api_open(listening.path, id, []);
    for (const name of listening.events) {
        source.addEventListener(name, (event) => onMessage((event as MessageEvent<string>).data));
    }
    let wasCalled = false;
    try {
        if (!(await api_opened(source, listening.awaitConnectionMs, options.signal))) {
            return { status: 0, response: undefined, error: { status: 0, title: "The stream could not be opened." } };
        }
        wasCalled = true;
        return await call({ ...options, id });
    } finally {
        if (wasCalled && closeAfterMs > 0) setTimeout(() => source.close(), closeAfterMs);
        else source.close();
    }
}

const api_NO_RESULT = { status: 0, title: "The stream ended without a result." };

/** An empty result is `null`. */
function api_ended<T>(call: api_Call, name: string, data: string): ApiResult<T> {
    if (name === "sse.result") {
        const isEmpty = data === "null" || call.kind === "void";
        return { status: 200, response: api_read<T>(call.kind, isEmpty ? null : data), error: undefined };
    }
    const { status } = JSON.parse(data) as ApiError;
    return api_failed(status, data);
}

/** A call that goes on without its caller: `location` is where it can be followed, also after a reload of the page. */
export type ApiBegun =
    | { status: number; location: string; error: undefined }
    | { status: number; location: undefined; error: ApiError };

async function api_begin(call: api_Call, request: object | undefined, options: ApiOptions): Promise<ApiBegun> {
    const answer = await api_send(call, request, options, ["Prefer", "respond-async"]);
    const location = answer.headers.get("Location");
    if (answer.status === 202 && location !== null) return { status: 202, location, error: undefined };
    return { status: answer.status, location: undefined, error: api_error(answer.status, await answer.text()) };
}

/** Resolves when the call has ended. */
function api_follow<T>(
    call: api_Call,
    events: readonly string[],
    location: string,
    onMessage: ((message: string) => void) | undefined,
    options: ApiOptions,
): Promise<ApiResult<T>> {
    return new Promise((resolve, reject) => {
        const source = new globalThis.EventSource(baseUrl + location, { withCredentials: api_credentials });
        for (const name of events) {
            source.addEventListener(name, (event) => onMessage?.((event as MessageEvent<string>).data));
        }
        for (const name of ["sse.result", "sse.error"]) {
            source.addEventListener(name, (event) => {
                source.close();
                resolve(api_ended<T>(call, name, (event as MessageEvent<string>).data));
            });
        }
        source.addEventListener("error", () => {
            if (source.readyState === 2) resolve({ status: 0, response: undefined, error: api_NO_RESULT });
        });
        const abort = () => {
            source.close();
            reject(options.signal?.reason as Error);
        };
        if (options.signal?.aborted) abort();
        options.signal?.addEventListener("abort", abort, { once: true });
    });
}

export type Step = "arrived" | "sorted" | "loaded" | "delivered";

export interface Parcel {
    id: number;
    destination: string;
    weightKg: number;
    step: Step;
    arrivedAt: string;
    deliveredAt: string | null;
}

export interface LogInRequest {
    code: string | null;
}

/** {@link logIn}, for `call` of pg-sse. */
export const logInCall: ApiCall<LogInRequest, string> = { method: "POST", path: "/api/depot/log-in", kind: "text", origin: api_origin };

/**
 * Lets somebody in who has a badge.
 *
 * `POST /api/depot/log-in`
 */
export function logIn(request: LogInRequest, options: ApiOptions = {}): Promise<ApiResult<string>> {
    return api_call<string>(logInCall, request, options);
}

/** {@link logOut}, for `call` of pg-sse. */
export const logOutCall: ApiCall<undefined, null> = { method: "POST", path: "/api/depot/log-out", kind: "void", origin: api_origin };

/**
 * Ends the session of this browser.
 *
 * `POST /api/depot/log-out`
 */
export function logOut(options: ApiOptions = {}): Promise<ApiVoidResult> {
    return api_void(api_call<null>(logOutCall, undefined, options));
}

/** {@link whoAmI}, for `call` of pg-sse. */
export const whoAmICall: ApiCall<undefined, string | null> = { method: "GET", path: "/api/depot/who-am-i", kind: "text", origin: api_origin };

/**
 * The name of who has logged in, or nobody.
 *
 * `GET /api/depot/who-am-i`
 */
export function whoAmI(options: ApiOptions = {}): Promise<ApiResult<string | null>> {
    return api_call<string | null>(whoAmICall, undefined, options);
}

/**
 * The parcels of the last hour, and each change of them.
 *
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/depot/parcels/info`
 */
export function createParcelsEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/depot/parcels/info", id, topics);
}

export type ParcelsSnapshot = Parcel[];

/**
 * What the stream begins with: the data of its event "parcels".
 */
export function readParcelsSnapshot(event: Event): ParcelsSnapshot {
    return api_snapshot<ParcelsSnapshot>("json", event);
}

/** The columns that changes tell, by their names of SQL. */
export interface ParcelsColumns {
    id: number;
    destination: string;
    weight_kg: number;
    step: Step;
    arrived_at: string;
    delivered_at: string | null;
}

/** The data of its events "insert", "update" and "delete". */
export type ParcelsChange = RowChange<ParcelsColumns, Pick<ParcelsColumns, "id">>;

/** What its events have, by name. */
export interface ParcelsEvents {
    parcels: ParcelsSnapshot;
    insert: ParcelsChange;
    update: ParcelsChange;
    delete: ParcelsChange;
    message: string;
}

/** A row of {@link parcelsStream}. */
export interface ParcelsRow {
    id: number;
    destination: string;
    weightKg: number;
    step: Step;
    arrivedAt: string;
    deliveredAt: string | null;
}

/** This stream, for `live` and `subscribe` of pg-sse. */
export const parcelsStream: ApiLive<ParcelsEvents, ParcelsRow> = {
    path: "/api/depot/parcels/info",
    origin: api_origin,
    events: { parcels: "json", insert: "json", update: "json", delete: "json", message: "text" },
    snapshot: "parcels",
    key: ["id"],
    names: "camel",
};

export interface ReceiveRequest {
    destination: string | null;
    weightKg: number | bigint | string | null;
}

/** {@link receive}, for `call` of pg-sse. */
export const receiveCall: ApiCall<ReceiveRequest, Parcel | null> = { method: "POST", path: "/api/depot/receive", kind: "json", origin: api_origin };

/**
 * Takes a parcel in.
 *
 * `POST /api/depot/receive`
 */
export function receive(request: ReceiveRequest, options: ApiOptions = {}): Promise<ApiResult<Parcel | null>> {
    return api_call<Parcel | null>(receiveCall, request, options);
}

export interface MoveOnRequest {
    id: number | null;
    from: Step | null;
}

/** {@link moveOn}, for `call` of pg-sse. */
export const moveOnCall: ApiCall<MoveOnRequest, Parcel | null> = { method: "POST", path: "/api/depot/move-on", kind: "json", origin: api_origin };

/**
 * Moves a parcel on by one step, unless somebody else was faster.
 *
 * `POST /api/depot/move-on`
 */
export function moveOn(request: MoveOnRequest, options: ApiOptions = {}): Promise<ApiResult<Parcel | null>> {
    return api_call<Parcel | null>(moveOnCall, request, options);
}

/** {@link viewers}, for `call` of pg-sse. */
export const viewersCall: ApiCall<undefined, number | null> = { method: "GET", path: "/api/depot/viewers", kind: "number", origin: api_origin };

/**
 * How many browsers look at the parcels.
 *
 * `GET /api/depot/viewers`
 */
export function viewers(options: ApiOptions = {}): Promise<ApiResult<number | null>> {
    return api_call<number | null>(viewersCall, undefined, options);
}

/** {@link rush}, for `call` of pg-sse. */
export const rushCall: ApiCall<undefined, null> = { method: "POST", path: "/api/depot/rush", kind: "void", origin: api_origin };

/**
 * Half a minute of a busy morning, for whoever wants to see something move.
 *
 * `POST /api/depot/rush`
 */
export function rush(
    onMessage?: (message: string) => void,
    id?: string,
    closeAfterMs = 1000,
    awaitConnectionMs = 10000,
    options: ApiOptions = {},
): Promise<ApiVoidResult> {
    return api_void(api_listen(
        { path: "/api/depot/rush/info", events: ["message"], onMessage, id, closeAfterMs, awaitConnectionMs },
        options,
        (all) => api_call<null>(rushCall, undefined, all),
    ));
}

/** The same; it goes on without its caller, and can be followed with {@link followRush}. */
export function beginRush(options: ApiOptions = {}): Promise<ApiBegun> {
    return api_begin(rushCall, undefined, options);
}

/** What was begun: its events, then its answer. */
export function followRush(
    location: string,
    onMessage?: (message: string) => void,
    options: ApiOptions = {},
): Promise<ApiVoidResult> {
    return api_void(api_follow<null>(rushCall, ["message"], location, onMessage, options));
}

/**
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/depot/rush/info`
 */
export function createRushEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/depot/rush/info", id, topics);
}

/** What its events have, by name. */
export interface RushEvents {
    message: string;
}

/** This stream, for `subscribe` of pg-sse. */
export const rushStream: ApiStream<RushEvents> = {
    path: "/api/depot/rush/info",
    origin: api_origin,
    events: { message: "text" },
};
