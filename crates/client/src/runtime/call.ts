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
