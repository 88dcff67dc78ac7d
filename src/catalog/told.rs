//! The tables whose names are topics of streams: a client has the columns of those that tell their changes
//! (C7.7), so everything about them matters to it: that there is such a table, its triggers, its key, its
//! owner.
//!
//! A schema that comes later is not noticed, nor that a role becomes a member of another one.
//!
//! Not for what a client has of them (`client_tables.rs`).

use std::collections::HashSet;
use std::ffi::CString;

use pgrx::prelude::*;
use sse_proto::route::Routine;

use crate::pg::text::to_server;
use crate::pg::watched::{self, Kind, Set};

/// Schema and name of what a topic may name, and the table, if there is one. A dot may stand in a name, so a
/// topic has as many schemas as it has dots.
const TABLES: &str = "
    SELECT n.oid, pg_catalog.convert_to(s.name, pg_catalog.getdatabaseencoding()), c.oid
      FROM (SELECT pg_catalog.substr(t.topic, 1, d.at - 1) AS schema, pg_catalog.substr(t.topic, d.at + 1) AS name
              FROM (SELECT pg_catalog.convert_from(u.topic, pg_catalog.getdatabaseencoding()) AS topic FROM pg_catalog.unnest($1) AS u(topic)) AS t
             CROSS JOIN LATERAL pg_catalog.generate_series(1, pg_catalog.length(t.topic)) AS d(at)
             WHERE pg_catalog.substr(t.topic, d.at, 1) OPERATOR(pg_catalog.=) '.') AS s
      JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) s.schema::pg_catalog.name
      LEFT JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid AND c.relname OPERATOR(pg_catalog.=) s.name::pg_catalog.name";

/// Enters them. Answers those that there are.
pub(super) fn enter(routines: &[Routine], set: &mut Set) -> Vec<pg_sys::Oid> {
    let topics: HashSet<Vec<u8>> = routines.iter().filter_map(topic).collect();
    if topics.is_empty() {
        return Vec::new();
    }
    let topics: Vec<Vec<u8>> = topics.into_iter().collect();
    let read = Spi::connect(|client| {
        let mut tables = Vec::new();
        for row in client.select(TABLES, None, &[topics.into()])? {
            pgrx::check_for_interrupts!();
            let schema = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            // Without a NUL, as every text in a database.
            if let Ok(name) = CString::new(row.get::<Vec<u8>>(2)?.unwrap_or_default()) {
                set.add(Kind::TableName as u32, watched::hash_of_name(&name, schema));
            }
            if let Some(table) = row.get::<pg_sys::Oid>(3)? {
                set.add(Kind::Table as u32, watched::hash_of(Kind::Table, table.to_u32()));
                tables.push(table);
            }
        }
        Ok::<_, spi::Error>(tables)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the tables of topics: {error}"))
}

/// The topic of a routine's stream. Most comments have none, and are not parsed for that.
fn topic(routine: &Routine) -> Option<Vec<u8>> {
    const WORD: &[u8] = b"topic";
    let comment = routine.comment.as_bytes();
    if !comment.windows(WORD.len()).any(|word| word.eq_ignore_ascii_case(WORD)) {
        return None;
    }
    let annotation = routine.parse().ok().flatten()?;
    annotation.subscribe.as_ref()?;
    Some(to_server(annotation.topic?.as_str()))
}
