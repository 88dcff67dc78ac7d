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
