/*
 * The client of a database, made by pg_sse 0.2.0 from the comments of its routines. Make it anew instead of
 * changing it: SELECT sse.typescript_client().
 */

// runtime/base.ts

const api_ID_HEADER = "x-execution-id";

// runtime/call.ts

// runtime/void.ts

// runtime/stream.ts

// runtime/listen.ts

// runtime/ended.ts

// runtime/streamed.ts

// runtime/begun.ts

export interface Messages {
    messageId: number;
    userName: string;
    messageText: string | null;
}

/** {@link getMessages}, for `call` of pg-sse. */
export const getMessagesCall: ApiCall<undefined, Messages[]> = { method: "GET", path: "/api/get-messages", kind: "json", origin: api_origin };

/**
 * What was said.
 *
 * `GET /api/get-messages`
 */
export function getMessages(options: ApiOptions = {}): Promise<ApiResult<Messages[]>> {
    return api_call<Messages[]>(getMessagesCall, undefined, options);
}

export interface SendMessageRequest {
    messageText: string | null;
}

/** {@link sendMessage}, for `call` of pg-sse. */
export const sendMessageCall: ApiCall<SendMessageRequest, null> = { method: "POST", path: "/api/send-message", kind: "void", origin: api_origin };

/**
 * Says something.
 *
 * `POST /api/send-message`
 */
export function sendMessage(
    request: SendMessageRequest,
    onMessage?: (message: string) => void,
    id?: string,
    closeAfterMs = 1000,
    awaitConnectionMs = 10000,
    options: ApiOptions = {},
): Promise<ApiVoidResult> {
    return api_void(api_listen(
        { path: "/api/send-message/info", events: ["message"], onMessage, id, closeAfterMs, awaitConnectionMs },
        options,
        (all) => api_call<null>(sendMessageCall, request, all),
    ));
}

/** The same; the events of this very call come to `onMessage` while it runs. */
export function streamSendMessage(
    request: SendMessageRequest,
    onMessage?: (message: string, event: string) => void,
    options: ApiOptions = {},
): Promise<ApiVoidResult> {
    return api_void(api_stream<null>(sendMessageCall, request, onMessage, options));
}

/** The same; it goes on without its caller, and can be followed with {@link followSendMessage}. */
export function beginSendMessage(request: SendMessageRequest, options: ApiOptions = {}): Promise<ApiBegun> {
    return api_begin(sendMessageCall, request, options);
}

/** What was begun: its events, then its answer. */
export function followSendMessage(
    location: string,
    onMessage?: (message: string) => void,
    options: ApiOptions = {},
): Promise<ApiVoidResult> {
    return api_void(api_follow<null>(sendMessageCall, ["message"], location, onMessage, options));
}

/**
 * A stream that opens itself again. With `id`, of the events that have an execution id those with
 * this one come; with `topics`, those of these topics come, too.
 *
 * `GET /api/send-message/info`
 */
export function createSendMessageEventSource(id = "", topics: readonly string[] = []): EventSource {
    return api_open("/api/send-message/info", id, topics);
}

/** What its events have, by name. */
export interface SendMessageEvents {
    message: string;
}

/** This stream, for `subscribe` of pg-sse. */
export const sendMessageStream: ApiStream<SendMessageEvents> = {
    path: "/api/send-message/info",
    origin: api_origin,
    events: { message: "text" },
};

export interface LoginRequest {
    username: string | null;
}

/** {@link login}, for `call` of pg-sse. */
export const loginCall: ApiCall<LoginRequest, string> = { method: "POST", path: "/api/login", kind: "text", origin: api_origin };

/**
 * `POST /api/login`
 */
export function login(request: LoginRequest, options: ApiOptions = {}): Promise<ApiResult<string>> {
    return api_call<string>(loginCall, request, options);
}

/** {@link logout}, for `call` of pg-sse. */
export const logoutCall: ApiCall<undefined, null> = { method: "POST", path: "/api/logout", kind: "void", origin: api_origin };

/**
 * `POST /api/logout`
 */
export function logout(options: ApiOptions = {}): Promise<ApiVoidResult> {
    return api_void(api_call<null>(logoutCall, undefined, options));
}
