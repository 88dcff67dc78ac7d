/** Fields of one event, until its empty line. */
interface api_Event {
    name: string;
    data: string[];
}

async function api_stream<T>(
    call: api_Call,
    request: object | undefined,
    onMessage: ((message: string, event: string) => void) | undefined,
    options: ApiOptions,
): Promise<ApiResult<T>> {
    const answer = await api_send(call, request, options, ["Accept", "text/event-stream"]);
    const isStream = answer.headers.get("Content-Type")?.startsWith("text/event-stream") ?? false;
    if (!isStream || answer.body === null) return api_result<T>(call, answer);
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    let event: api_Event = { name: "", data: [] };
    for (;;) {
        const { done, value } = await reader.read();
        text += decoder.decode(value, { stream: !done });
        // The gateway ends lines with LF alone.
        const lines = text.split("\n");
        text = lines.pop() ?? "";
        for (const line of lines) {
            if (line.startsWith("event: ")) event.name = line.slice(7);
            else if (line.startsWith("data: ")) event.data.push(line.slice(6));
            else if (line === "data:") event.data.push("");
            else if (line === "") {
                const { name, data } = event;
                event = { name: "", data: [] };
                if (name === "sse.result" || name === "sse.error") {
                    return api_ended<T>(call, name, data.join("\n"));
                }
                if (data.length > 0 && !name.startsWith("sse.")) onMessage?.(data.join("\n"), name || "message");
            }
        }
        if (done) return { status: 0, response: undefined, error: api_NO_RESULT };
    }
}
