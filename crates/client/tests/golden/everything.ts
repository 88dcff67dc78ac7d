/*
 * The client of a database, made by pg_sse 0.2.0 from the comments of its routines. Make it anew instead of
 * changing it: SELECT sse.typescript_client().
 */

// runtime/base.ts

const api_ID_HEADER = "x-execution-id";

// runtime/call.ts

// runtime/stream.ts

// runtime/snapshot.ts

// runtime/listen.ts

// runtime/ended.ts

// runtime/streamed.ts

// runtime/begun.ts

export type EMail = string;

export interface PlaceInput {
    streetName?: string | null;
    big?: number | bigint | string | null;
}

export type Amount = number;

export type Mood = "so-so" | "\"fine\"";

export interface Place {
    streetName: string | null;
    big: number | null;
}

export interface Visits {
    page: string;
    n: Amount | null;
    mood: Mood;
    places: (Place | null)[] | null;
    n_: number | null;
    proto: string | null;
    "it's": string | null;
}

export interface GetVisitsRequest {
    page: EMail;
    place?: PlaceInput;
    filter?: unknown;
    each?: unknown[];
}

/** {@link getVisits}, for `call` of pg-sse. */
export const getVisitsCall: ApiCall<GetVisitsRequest, Visits[]> = { method: "GET", path: "/api/get-visits", kind: "json", json: ["filter"], jsonArrays: ["each"], origin: api_origin };

/**
 * `GET /api/get-visits`
 */
export function getVisits(request: GetVisitsRequest, options: ApiOptions = {}): Promise<ApiResult<Visits[]>> {
    return api_call<Visits[]>(getVisitsCall, request, options);
}

export interface SaveRequest {
    page: EMail;
    place?: PlaceInput | null;
    filter?: unknown;
    each?: unknown[] | null;
}

/** {@link save}, for `call` of pg-sse. */
export const saveCall: ApiCall<SaveRequest, Visits | null> = { method: "PUT", path: "/visits", kind: "json", origin: api_origin };

/**
 * `PUT /visits`
 */
export function save(
    request: SaveRequest,
    onMessage?: (message: string) => void,
    id?: string,
    closeAfterMs = 1000,
    awaitConnectionMs = 10000,
    options: ApiOptions = {},
): Promise<ApiResult<Visits | null>> {
    return api_listen(
        { path: "/visits/info", events: ["message", "saved"], onMessage, id, closeAfterMs, awaitConnectionMs },
        options,
        (all) => api_call<Visits | null>(saveCall, request, all),
    );
}

/** The same; the events of this very call come to `onMessage` while it runs. */
export function streamSave(
    request: SaveRequest,
    onMessage?: (message: string, event: string) => void,
    options: ApiOptions = {},
): Promise<ApiResult<Visits | null>> {
    return api_stream<Visits | null>(saveCall, request, onMessage, options);
}

/** The same; it goes on without its caller, and can be followed with {@link followSave}. */
export function beginSave(request: SaveRequest, options: ApiOptions = {}): Promise<ApiBegun> {
    return api_begin(saveCall, request, options);
}

/** What was begun: its events, then its answer. */
export function followSave(
    location: string,
    onMessage?: (message: string) => void,
    options: ApiOptions = {},
): Promise<ApiResult<Visits | null>> {
    return api_follow<Visits | null>(saveCall, ["message", "saved"], location, onMessage, options);
}

/**
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 * Its events are named "saved".
 *
 * `GET /visits/info`
 */
export function createSaveEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/visits/info", id, topics);
}

export type SaveSnapshot = Visits[];

/**
 * What the stream begins with: the data of its event "saved".
 */
export function readSaveSnapshot(event: Event): SaveSnapshot {
    return api_snapshot<SaveSnapshot>("json", event);
}

/** What its events have, by name. */
export interface SaveEvents {
    saved: string;
    message: string;
}

/** This stream, for `subscribe` of pg-sse. */
export const saveStream: ApiStream<SaveEvents> = {
    path: "/visits/info",
    origin: api_origin,
    events: { saved: "text", message: "text" },
};

export interface CountUpRequest {
    $1: number | bigint | string | null;
}

/** {@link countUp}, for `call` of pg-sse. */
export const countUpCall: ApiCall<CountUpRequest, number | null> = { method: "POST", path: "/api/count-up", kind: "number", origin: api_origin };

/**
 * `POST /api/count-up`
 */
export function countUp(request: CountUpRequest, options: ApiOptions = {}): Promise<ApiResult<number | null>> {
    return api_call<number | null>(countUpCall, request, options);
}

/** The same; the events of this very call come to `onMessage` while it runs. */
export function streamCountUp(
    request: CountUpRequest,
    onMessage?: (message: string, event: string) => void,
    options: ApiOptions = {},
): Promise<ApiResult<number | null>> {
    return api_stream<number | null>(countUpCall, request, onMessage, options);
}

/** {@link isOpen}, for `call` of pg-sse. */
export const isOpenCall: ApiCall<undefined, boolean | null> = { method: "GET", path: "/api/is-open", kind: "boolean", origin: api_origin };

/**
 * `GET /api/is-open`
 */
export function isOpen(options: ApiOptions = {}): Promise<ApiResult<boolean | null>> {
    return api_call<boolean | null>(isOpenCall, undefined, options);
}

/** {@link anything}, for `call` of pg-sse. */
export const anythingCall: ApiCall<undefined, unknown> = { method: "GET", path: "/api/anything", kind: "json", origin: api_origin };

/**
 * `GET /api/anything`
 */
export function anything(options: ApiOptions = {}): Promise<ApiResult<unknown>> {
    return api_call<unknown>(anythingCall, undefined, options);
}

/** {@link moods}, for `call` of pg-sse. */
export const moodsCall: ApiCall<undefined, (Mood | null)[]> = { method: "GET", path: "/api/moods", kind: "json", origin: api_origin };

/**
 * `GET /api/moods`
 */
export function moods(options: ApiOptions = {}): Promise<ApiResult<(Mood | null)[]>> {
    return api_call<(Mood | null)[]>(moodsCall, undefined, options);
}

export interface TwoRequest {
    a?: number | null;
}

export interface TwoResponse {
    firstOne: number | null;
    second: EMail;
}

/** {@link two}, for `call` of pg-sse. */
export const twoCall: ApiCall<TwoRequest | undefined, TwoResponse | null> = { method: "POST", path: "/api/two", kind: "json", origin: api_origin };

/**
 * `POST /api/two`
 */
export function two(request?: TwoRequest, options: ApiOptions = {}): Promise<ApiResult<TwoResponse | null>> {
    return api_call<TwoResponse | null>(twoCall, request, options);
}

/**
 * News. *\/ alert(1) /*
 *
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/listen-only/info`
 */
export function createListenOnlyEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/listen-only/info", id, topics);
}

export interface ListenOnlySnapshotRow {
    line: string | null;
}

export type ListenOnlySnapshot = ListenOnlySnapshotRow[];

/**
 * What the stream begins with: the data of its event "message".
 */
export function readListenOnlySnapshot(event: Event): ListenOnlySnapshot {
    return api_snapshot<ListenOnlySnapshot>("json", event);
}

/** What its events have, by name. */
export interface ListenOnlyEvents {
    message: string;
}

/** This stream, for `subscribe` of pg-sse. */
export const listenOnlyStream: ApiStream<ListenOnlyEvents> = {
    path: "/api/listen-only/info",
    origin: api_origin,
    events: { message: "text" },
};
