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
