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
