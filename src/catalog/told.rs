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

/// Of what topics may name the schema, the name, and the table, if there is one.
const TABLES: &str = "
    SELECT n.oid, w.name, c.oid
      FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS w(schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) pg_catalog.convert_from(w.schema, pg_catalog.getdatabaseencoding())::pg_catalog.name
      LEFT JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid
                                     AND c.relname OPERATOR(pg_catalog.=) pg_catalog.convert_from(w.name, pg_catalog.getdatabaseencoding())::pg_catalog.name";

/// Names that are looked for with one query.
const NAMES_OF_A_QUERY: usize = 10_000;

/// Bytes of the longest name (`NAMEDATALEN` - 1): a longer part of a topic names nothing.
const LONGEST_NAME: usize = 63;

/// Enters them. Answers those that there are.
pub(super) fn enter(routines: &[Routine], set: &mut Set) -> Vec<pg_sys::Oid> {
    let topics: HashSet<Vec<u8>> = routines.iter().filter_map(topic).collect();
    let names: HashSet<(&[u8], &[u8])> = topics.iter().flat_map(|topic| splits(topic)).collect();
    let mut tables = Vec::new();
    for part in names.into_iter().collect::<Vec<_>>().chunks(NAMES_OF_A_QUERY) {
        pgrx::check_for_interrupts!();
        if let Err(error) = look_up(part, set, &mut tables) {
            error!("pg_sse: cannot read the tables of topics: {error}");
        }
    }
    tables
}

/// Schemas and names that a topic may consist of: a dot may stand in each of them.
fn splits(topic: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let is_name = |part: &[u8]| !part.is_empty() && part.len() <= LONGEST_NAME;
    let dots = topic.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    dots.map(|at| (&topic[..at], &topic[at + 1..]))
        .filter(move |(schema, name)| is_name(schema) && is_name(name))
}

fn look_up(names: &[(&[u8], &[u8])], set: &mut Set, tables: &mut Vec<pg_sys::Oid>) -> Result<(), spi::Error> {
    let (schemas, names): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
        names.iter().map(|(schema, name)| (schema.to_vec(), name.to_vec())).unzip();
    Spi::connect(|client| {
        for row in client.select(TABLES, None, &[schemas.into(), names.into()])? {
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
        Ok(())
    })
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
