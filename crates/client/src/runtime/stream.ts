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

function api_open(path: string, id: string, topics: readonly string[]): EventSource {
    const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
    if (id) query.append("id", id);
    const text = query.toString();
    return new globalThis.EventSource(baseUrl + path + (text && `?${text}`), { withCredentials: api_credentials });
}
