function api_snapshot<T>(kind: ApiKind, event: Event): T {
    const { data } = event as MessageEvent<string>;
    if (data === "null" || kind === "void") return null as T;
    if (kind === "text") return data as T;
    if (kind === "number") return Number(data) as T;
    return (kind === "boolean" ? data === "true" : JSON.parse(data)) as T;
}
