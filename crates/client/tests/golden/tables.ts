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

export interface Todo {
    id: number;
    title: string;
    isDone: boolean;
}

export interface Place {
    streetName: string | null;
}

/**
 * Things to do.
 *
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/todo-live/info`
 */
export function createTodoLiveEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/todo-live/info", id, topics);
}

export type TodoLiveSnapshot = Todo[];

/**
 * What the stream begins with: the data of its event "rows".
 */
export function readTodoLiveSnapshot(event: Event): TodoLiveSnapshot {
    return api_snapshot<TodoLiveSnapshot>("json", event);
}

/** The columns that changes tell, by their names of SQL. */
export interface TodoLiveColumns {
    id: number;
    title: string;
    is_done: boolean;
}

/** The data of its events "insert", "update" and "delete". */
export type TodoLiveChange = RowChange<TodoLiveColumns, Pick<TodoLiveColumns, "id">>;

/** What its events have, by name. */
export interface TodoLiveEvents {
    rows: TodoLiveSnapshot;
    insert: TodoLiveChange;
    update: TodoLiveChange;
    delete: TodoLiveChange;
    message: string;
}

/** A row of {@link todoLiveStream}. */
export interface TodoLiveRow {
    id: number;
    title: string;
    isDone: boolean;
}

/** This stream, for `live` and `subscribe` of pg-sse. */
export const todoLiveStream: ApiLive<TodoLiveEvents, TodoLiveRow> = {
    path: "/api/todo-live/info",
    origin: api_origin,
    events: { rows: "json", insert: "json", update: "json", delete: "json", message: "text" },
    snapshot: "rows",
    key: ["id"],
    names: "camel",
};

/**
 * Things to do.
 *
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/todo-sql/info`
 */
export function createTodoSqlEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/todo-sql/info", id, topics);
}

export type TodoSqlSnapshot = unknown;

/**
 * What the stream begins with: the data of its event "message".
 */
export function readTodoSqlSnapshot(event: Event): TodoSqlSnapshot {
    return api_snapshot<TodoSqlSnapshot>("json", event);
}

/** The columns that changes tell, by their names of SQL. */
export interface TodoSqlColumns {
    id: number;
    title: string;
    is_done: boolean;
}

/** The data of its events "insert", "update" and "delete". */
export type TodoSqlChange = RowChange<TodoSqlColumns, Pick<TodoSqlColumns, "id">>;

/** What its events have, by name. */
export interface TodoSqlEvents {
    message: string;
    insert: TodoSqlChange;
    update: TodoSqlChange;
    delete: TodoSqlChange;
}

/** A row of {@link todoSqlStream}. */
export interface TodoSqlRow {
    id: number;
    title: string;
    is_done: boolean;
}

/** This stream, for `live` and `subscribe` of pg-sse. */
export const todoSqlStream: ApiLive<TodoSqlEvents, TodoSqlRow> = {
    path: "/api/todo-sql/info",
    origin: api_origin,
    events: { message: "text", insert: "json", update: "json", delete: "json" },
    key: ["id"],
    names: "sql",
};

/**
 * Things to do.
 *
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/todo-alone/info`
 */
export function createTodoAloneEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/todo-alone/info", id, topics);
}

/** The columns that changes tell, by their names of SQL. */
export interface TodoAloneColumns {
    id: number;
    title: string;
    is_done: boolean;
}

/** The data of its events "insert", "update" and "delete". */
export type TodoAloneChange = RowChange<TodoAloneColumns, Pick<TodoAloneColumns, "id">>;

/** What its events have, by name. */
export interface TodoAloneEvents {
    insert: TodoAloneChange;
    update: TodoAloneChange;
    delete: TodoAloneChange;
    message: string;
}

/** A row of {@link todoAloneStream}. */
export interface TodoAloneRow {
    id: number;
    title: string;
    isDone: boolean;
}

/** This stream, for `live` and `subscribe` of pg-sse. */
export const todoAloneStream: ApiLive<TodoAloneEvents, TodoAloneRow> = {
    path: "/api/todo-alone/info",
    origin: api_origin,
    events: { insert: "json", update: "json", delete: "json", message: "text" },
    key: ["id"],
    names: "camel",
};

export interface AddTodoRequest {
    title: string | null;
}

/** {@link addTodo}, for `call` of pg-sse. */
export const addTodoCall: ApiCall<AddTodoRequest, Todo | null> = { method: "POST", path: "/api/add-todo", kind: "json", origin: api_origin };

/**
 * `POST /api/add-todo`
 */
export function addTodo(request: AddTodoRequest, options: ApiOptions = {}): Promise<ApiResult<Todo | null>> {
    return api_call<Todo | null>(addTodoCall, request, options);
}

/** {@link todoCount}, for `call` of pg-sse. */
export const todoCountCall: ApiCall<undefined, number | null> = { method: "GET", path: "/api/todo-count", kind: "number", origin: api_origin };

/**
 * `GET /api/todo-count`
 */
export function todoCount(options: ApiOptions = {}): Promise<ApiResult<number | null>> {
    return api_call<number | null>(todoCountCall, undefined, options);
}

/**
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 * Its events are named "said".
 *
 * `GET /api/stock-live/info`
 */
export function createStockLiveEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/stock-live/info", id, topics);
}

export interface StockLiveSnapshotRow {
    shopId: number | null;
    item: string | null;
    amount: number | null;
    place: Place | null;
    level: number | null;
}

export type StockLiveSnapshot = StockLiveSnapshotRow[];

/**
 * What the stream begins with: the data of its event "insert".
 */
export function readStockLiveSnapshot(event: Event): StockLiveSnapshot {
    return api_snapshot<StockLiveSnapshot>("json", event);
}

/** The columns that changes tell, by their names of SQL. */
export interface StockLiveColumns {
    shop_id?: number;
    item?: string;
    amount?: number | null;
    place: unknown;
}

/** The data of its events "insert", "update" and "delete". */
export type StockLiveChange = RowChange<StockLiveColumns, Required<Pick<StockLiveColumns, "shop_id" | "item">>>;

/** What its events have, by name. */
export interface StockLiveEvents {
    insert: string;
    update: StockLiveChange;
    delete: StockLiveChange;
    said: string;
    message: string;
}

/** A row of {@link stockLiveStream}. */
export interface StockLiveRow {
    shopId: number | null;
    item: string | null;
    amount?: number | null;
    place: unknown;
    level?: number | null;
}

/** This stream, for `live` and `subscribe` of pg-sse. */
export const stockLiveStream: ApiLive<StockLiveEvents, StockLiveRow> = {
    path: "/api/stock-live/info",
    origin: api_origin,
    events: { insert: "text", update: "json", delete: "json", said: "text", message: "text" },
    key: ["shopId", "item"],
    names: "camel",
};

/**
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/log-live/info`
 */
export function createLogLiveEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/log-live/info", id, topics);
}

/** The columns that changes tell, by their names of SQL. */
export interface LogLiveColumns {
    line: string | null;
}

/** The data of its events "insert", "update" and "delete". */
export type LogLiveChange = RowChange<LogLiveColumns, never>;

/** What its events have, by name. */
export interface LogLiveEvents {
    insert: LogLiveChange;
    update: LogLiveChange;
    delete: LogLiveChange;
    message: string;
}

/** This stream, for `subscribe` of pg-sse. */
export const logLiveStream: ApiStream<LogLiveEvents> = {
    path: "/api/log-live/info",
    origin: api_origin,
    events: { insert: "json", update: "json", delete: "json", message: "text" },
};

/**
 * Things to do.
 *
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/title-live/info`
 */
export function createTitleLiveEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/title-live/info", id, topics);
}

export type TitleLiveSnapshot = (string | null)[];

/**
 * What the stream begins with: the data of its event "__proto__".
 */
export function readTitleLiveSnapshot(event: Event): TitleLiveSnapshot {
    return api_snapshot<TitleLiveSnapshot>("json", event);
}

/** The columns that changes tell, by their names of SQL. */
export interface TitleLiveColumns {
    id: number;
    title: string;
    is_done: boolean;
}

/** The data of its events "insert", "update" and "delete". */
export type TitleLiveChange = RowChange<TitleLiveColumns, Pick<TitleLiveColumns, "id">>;

/** What its events have, by name. */
export interface TitleLiveEvents {
    __proto__: TitleLiveSnapshot;
    insert: TitleLiveChange;
    update: TitleLiveChange;
    delete: TitleLiveChange;
    message: string;
}

/** This stream, for `subscribe` of pg-sse. */
export const titleLiveStream: ApiStream<TitleLiveEvents> = {
    path: "/api/title-live/info",
    origin: api_origin,
    events: { ["__proto__"]: "json", insert: "json", update: "json", delete: "json", message: "text" },
};
