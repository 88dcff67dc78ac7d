/*
 * The client of a database, made by pg_sse 0.2.0 from the comments of its routines. Make it anew instead of
 * changing it: SELECT sse.typescript_client().
 */

// runtime/base.ts

const api_ID_HEADER = "x-execution-id";

// runtime/call.ts

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
