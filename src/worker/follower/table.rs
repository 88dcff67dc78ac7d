//! The table of refusals, `sse._refusals`, with SQL.
//!
//! A row says what a line of the file says. There is one for each user or token; when a later moment is known
//! of it, the row gets a new number. Numbers grow in the order in which others see the rows, because whoever
//! adds rows holds a lock until they are seen: so a standby asks for what is above the last number.
//!
//! Names are bytes, because a user's id may have characters that the database's encoding lacks.

use pgrx::prelude::*;
use sse_gateway::{KeptRefusal, MAX_REFUSALS, RefusalKind};

/// A row of the table.
pub(super) struct Row {
    pub(super) number: i64,
    /// `None`: it is nothing of ours.
    pub(super) refusal: Option<KeptRefusal>,
}

/// Bytes of user ids that are kept, as the gateway has them in memory.
const MAX_USER_BYTES: i64 = 16 << 20;

/// Oid of the table, if the extension is there and has it.
pub(super) fn find() -> Option<u32> {
    let sql = "SELECT c.oid FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
             AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
        JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
       WHERE n.nspname OPERATOR(pg_catalog.=) 'sse' AND c.relname OPERATOR(pg_catalog.=) '_refusals'
         AND e.extname OPERATOR(pg_catalog.=) 'pg_sse'";
    let found = Spi::connect(|client| client.select(sql, Some(1), &[])?.first().get_one::<pg_sys::Oid>());
    // No row is an error of pgrx'.
    found.ok().flatten().map(|oid| oid.to_u32())
}

/// The rows above this number, by number, at most so many.
pub(super) fn after(last: i64, most: usize) -> Vec<Row> {
    let sql = "SELECT number, kind, name, moment FROM sse._refusals
        WHERE number OPERATOR(pg_catalog.>) $1 ORDER BY number LIMIT $2";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let read = Spi::connect(|client| {
        let mut rows = Vec::new();
        for row in client.select(sql, None, &[last.into(), most.into()])? {
            let number = row.get::<i64>(1)?.unwrap_or(last);
            let kind = row.get::<&str>(2)?.and_then(RefusalKind::parse);
            let (name, moment) = (row.get::<Vec<u8>>(3)?, row.get::<i64>(4)?);
            let refusal = kind.zip(name).zip(moment.and_then(|moment| u64::try_from(moment).ok()));
            let refusal = refusal.map(|((kind, name), moment)| KeptRefusal { kind, name, moment });
            rows.push(Row { number, refusal });
        }
        Ok::<_, spi::Error>(rows)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the table of refusals: {error}"))
}

/// Adds those of which the table does not know it, and says how many these are. Without any, nothing is
/// locked or written.
pub(super) fn add(refusals: &[KeptRefusal]) -> usize {
    let new = format!("{NEW} SELECT pg_catalog.count(*) FROM new");
    let insert = format!(
        "{NEW} INSERT INTO sse._refusals AS r (kind, name, moment) SELECT kind, name, moment FROM new
         ON CONFLICT (kind, pg_catalog.sha256(name)) DO UPDATE SET number = DEFAULT, moment = excluded.moment"
    );
    let kinds: Vec<String> = refusals.iter().map(|refusal| refusal.kind.as_str().to_owned()).collect();
    let names: Vec<Vec<u8>> = refusals.iter().map(|refusal| refusal.name.clone()).collect();
    let moments: Vec<i64> =
        refusals.iter().map(|refusal| i64::try_from(refusal.moment).unwrap_or(i64::MAX)).collect();
    let arguments = || [kinds.clone().into(), names.clone().into(), moments.clone().into()];
    let added = Spi::connect_mut(|client| {
        let count = client.select(&new, Some(1), &arguments())?.first().get_one::<i64>()?.unwrap_or(0);
        if count > 0 {
            client.update("LOCK TABLE sse._refusals IN SHARE ROW EXCLUSIVE MODE", None, &[])?;
            client.update(&insert, None, &arguments())?;
        }
        Ok::<_, spi::Error>(usize::try_from(count).unwrap_or(0))
    });
    added.unwrap_or_else(|error| error!("pg_sse: cannot write the table of refusals: {error}"))
}

const NEW: &str = "WITH told AS (
        SELECT t.kind, t.name, pg_catalog.max(t.moment) AS moment
          FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.bytea[]),
               pg_catalog.unnest($3::pg_catalog.int8[])) AS t(kind, name, moment) GROUP BY t.kind, t.name
    ), new AS (
        SELECT t.* FROM told t WHERE NOT EXISTS (
            SELECT FROM sse._refusals o WHERE o.kind OPERATOR(pg_catalog.=) t.kind
               AND pg_catalog.sha256(o.name) OPERATOR(pg_catalog.=) pg_catalog.sha256(t.name)
               AND o.moment OPERATOR(pg_catalog.>=) t.moment)
    )";

/// Takes out what the gateway would forget as well: tokens that have expired by `now`, and beyond the number
/// that is remembered those with the earliest moments.
pub(super) fn prune(now: u64) {
    let expired = "DELETE FROM sse._refusals WHERE kind OPERATOR(pg_catalog.<>) 'user' AND moment OPERATOR(pg_catalog.<=) $1";
    let beyond = "DELETE FROM sse._refusals r USING (
            SELECT number, kind, pg_catalog.row_number() OVER latest AS place,
                   pg_catalog.sum(pg_catalog.octet_length(name)) OVER latest AS bytes
              FROM sse._refusals WINDOW latest AS (PARTITION BY kind ORDER BY moment DESC, number DESC)
        ) s
        WHERE s.number OPERATOR(pg_catalog.=) r.number AND (s.place OPERATOR(pg_catalog.>) $1
           OR s.kind OPERATOR(pg_catalog.=) 'user' AND s.bytes OPERATOR(pg_catalog.>) $2)";
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let most = i64::try_from(MAX_REFUSALS).unwrap_or(i64::MAX);
    let pruned = Spi::connect_mut(|client| {
        client.update(expired, None, &[now.into()])?;
        client.update(beyond, None, &[most.into(), MAX_USER_BYTES.into()]).map(drop)
    });
    pruned.unwrap_or_else(|error| error!("pg_sse: cannot prune the table of refusals: {error}"));
}
