/*
 * The client of a database, made by pg_sse 0.2.0 from the comments of its routines. Make it anew instead of
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

export type Delete_ = "delete*/";

export type PromisePromise = "promise*/";

export type Constructor_ = "constructor*/";

export type Proto = "__proto__*/";

export type AB = "a\nb*/";

export type X = "x(){}*/";

export type XAlert1 = "x\"; alert(1); \"*/";

export type ApiCallApiCall = "api_call*/";

export type Fetch = "fetch*/";

export type Ÿ = "ÿ*/";

export type XX = "\u202ex*/";

export interface DeleteRequest {
    delete?: Delete_ | null;
}

/** {@link delete_}, for `call` of pg-sse. */
export const deleteCall: ApiCall<DeleteRequest | undefined, Delete_ | null> = { method: "POST", path: "/x1106", kind: "text", origin: api_origin };

/**
 * delete*\/
 *
 * `POST /x1106`
 */
export function delete_(request?: DeleteRequest, options: ApiOptions = {}): Promise<ApiResult<Delete_ | null>> {
    return api_call<Delete_ | null>(deleteCall, request, options);
}

export interface PromiseRequest {
    promise?: PromisePromise | null;
}

/** {@link promise}, for `call` of pg-sse. */
export const promiseCall: ApiCall<PromiseRequest | undefined, PromisePromise | null> = { method: "POST", path: "/x1119", kind: "text", origin: api_origin };

/**
 * promise*\/
 *
 * `POST /x1119`
 */
export function promise(request?: PromiseRequest, options: ApiOptions = {}): Promise<ApiResult<PromisePromise | null>> {
    return api_call<PromisePromise | null>(promiseCall, request, options);
}

export interface ConstructorRequest {
    constructor?: Constructor_ | null | object;
}

/** {@link constructor_}, for `call` of pg-sse. */
export const constructorCall: ApiCall<ConstructorRequest | undefined, Constructor_ | null> = { method: "POST", path: "/x1110", kind: "text", origin: api_origin };

/**
 * constructor*\/
 *
 * `POST /x1110`
 */
export function constructor_(request?: ConstructorRequest, options: ApiOptions = {}): Promise<ApiResult<Constructor_ | null>> {
    return api_call<Constructor_ | null>(constructorCall, request, options);
}

export interface ProtoRequest {
    proto?: Proto | null;
}

/** {@link proto}, for `call` of pg-sse. */
export const protoCall: ApiCall<ProtoRequest | undefined, Proto | null> = { method: "POST", path: "/x1104", kind: "text", origin: api_origin };

/**
 * __proto__*\/
 *
 * `POST /x1104`
 */
export function proto(request?: ProtoRequest, options: ApiOptions = {}): Promise<ApiResult<Proto | null>> {
    return api_call<Proto | null>(protoCall, request, options);
}

export interface ABRequest {
    "a\nb"?: AB | null;
}

/** {@link aB}, for `call` of pg-sse. */
export const aBCall: ApiCall<ABRequest | undefined, AB | null> = { method: "POST", path: "/x1100", kind: "text", origin: api_origin };

/**
 * a
 * b*\/
 *
 * `POST /x1100`
 */
export function aB(request?: ABRequest, options: ApiOptions = {}): Promise<ApiResult<AB | null>> {
    return api_call<AB | null>(aBCall, request, options);
}

export interface XRequest {
    "x(){}"?: X | null;
}

/** {@link x}, for `call` of pg-sse. */
export const xCall: ApiCall<XRequest | undefined, X | null> = { method: "POST", path: "/x1125", kind: "text", origin: api_origin };

/**
 * x(){}*\/
 *
 * `POST /x1125`
 */
export function x(request?: XRequest, options: ApiOptions = {}): Promise<ApiResult<X | null>> {
    return api_call<X | null>(xCall, request, options);
}

export interface XAlert1Request {
    "x\"; alert(1); \""?: XAlert1 | null;
}

/** {@link xAlert1}, for `call` of pg-sse. */
export const xAlert1Call: ApiCall<XAlert1Request | undefined, XAlert1 | null> = { method: "POST", path: "/x1135", kind: "text", origin: api_origin };

/**
 * x"; alert(1); "*\/
 *
 * `POST /x1135`
 */
export function xAlert1(request?: XAlert1Request, options: ApiOptions = {}): Promise<ApiResult<XAlert1 | null>> {
    return api_call<XAlert1 | null>(xAlert1Call, request, options);
}

export interface ApiCallRequest {
    apiCall?: ApiCallApiCall | null;
}

/** {@link apiCall}, for `call` of pg-sse. */
export const apiCallCall: ApiCall<ApiCallRequest | undefined, ApiCallApiCall | null> = { method: "POST", path: "/x1105", kind: "text", origin: api_origin };

/**
 * api_call*\/
 *
 * `POST /x1105`
 */
export function apiCall(request?: ApiCallRequest, options: ApiOptions = {}): Promise<ApiResult<ApiCallApiCall | null>> {
    return api_call<ApiCallApiCall | null>(apiCallCall, request, options);
}

export interface FetchRequest {
    fetch?: Fetch | null;
}

/** {@link fetch}, for `call` of pg-sse. */
export const fetchCall: ApiCall<FetchRequest | undefined, Fetch | null> = { method: "POST", path: "/x1107", kind: "text", origin: api_origin };

/**
 * fetch*\/
 *
 * `POST /x1107`
 */
export function fetch(request?: FetchRequest, options: ApiOptions = {}): Promise<ApiResult<Fetch | null>> {
    return api_call<Fetch | null>(fetchCall, request, options);
}

export interface ŸRequest {
    "ÿ"?: Ÿ | null;
}

/** {@link ÿ}, for `call` of pg-sse. */
export const ÿCall: ApiCall<ŸRequest | undefined, Ÿ | null> = { method: "POST", path: "/x1197", kind: "text", origin: api_origin };

/**
 * ÿ*\/
 *
 * `POST /x1197`
 */
export function ÿ(request?: ŸRequest, options: ApiOptions = {}): Promise<ApiResult<Ÿ | null>> {
    return api_call<Ÿ | null>(ÿCall, request, options);
}

export interface PublicXRequest {
    "\u202ex"?: XX | null;
}

/** {@link publicX}, for `call` of pg-sse. */
export const publicXCall: ApiCall<PublicXRequest | undefined, XX | null> = { method: "POST", path: "/x1230", kind: "text", origin: api_origin };

/**
 *  x*\/
 *
 * `POST /x1230`
 */
export function publicX(request?: PublicXRequest, options: ApiOptions = {}): Promise<ApiResult<XX | null>> {
    return api_call<XX | null>(publicXCall, request, options);
}
