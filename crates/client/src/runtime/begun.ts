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
