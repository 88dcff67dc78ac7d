//! What `everything` (fixture/databases.rs) has not.

use crate::fixture::{BIGINT, BOOL, Database, INT, JSONB, TEXT, VOID};
use sse_client::Kind;

/// What `everything` has not: the types whose JSON is another than one thinks, overloads, topics, rules.
// Long because it is one list of what a catalog can hold.
pub(crate) fn more() -> Database {
    let mut database = Database::new();
    for (oid, kind) in [(21, Kind::Number), (701, Kind::Number), (1700, Kind::BigNumber)] {
        database.define(oid, "pg_catalog", "base", kind);
    }
    let row = database.row(
        300,
        "measures",
        &[
            ("small", 21, true),
            ("int", INT, true),
            ("big", BIGINT, true),
            ("amount", 1700, true),
            ("double", 701, false),
            ("picture", 17, true),
            ("on_day", 1082, true),
            ("at_time", 1083, false),
            ("local_time", 1114, false),
            ("at", 1184, true),
            ("id", 2950, true),
            ("flag", BOOL, true),
        ],
    );
    let rows = database.define(301, "public", "_measures", Kind::Array(row));
    database.function(
        "measures",
        &[("only", row, true)],
        (rows, false),
        "HTTP GET\n@authorize role:secret, id:42",
    );
    database.function(
        "measure",
        &[("m", row, false)],
        (row, false),
        "HTTP POST\n@authorize\n@sse\n@sse_topic measures",
    );
    database.function("measured_at", &[], (1184, false), "HTTP GET");
    database.function("total", &[], (1700, false), "HTTP GET");
    database.function("next_id", &[], (2950, false), "HTTP GET");
    database.function("find", &[("id", INT, false)], (TEXT, false), "By id.\n\nHTTP GET");
    database.function(
        "find",
        &[("id", INT, false), ("name", TEXT, true)],
        (JSONB, false),
        "By id and name.\n\nHTTP GET",
    );
    database.function(
        "put",
        &[("id", INT, false)],
        (VOID, false),
        "HTTP POST\n@sse_publish\n@sse_topic measures\n@sse_event put",
    );
    database.function(
        "put",
        &[("name", TEXT, true)],
        (INT, false),
        "HTTP POST\n@sse_publish\n@sse_topic measures\n@sse_event put",
    );
    database.function("logout", &[], (VOID, false), "HTTP POST\n@logout");
    database.procedure();
    database.function("only_publishes", &[], (VOID, false), "@sse_publish\n@sse_topic hidden");
    database
}
