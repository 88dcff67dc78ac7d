//! The tables whose changes streams tell: what the triggers of `sse.publish_change()` show of them, and their
//! primary keys (C7.7).
//!
//! Not for the types of their columns (client_types.rs), nor for what a trigger publishes (`publish/`).

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;
use sse_client::{Column, Shown, Table};

use crate::pg::text::from_server;

/// A partition's copy of a trigger tells under the name of the table that the trigger was made on.
const TRIGGERS: &str = "
    SELECT t.tgrelid, t.tgargs, pg_catalog.convert_to(pg_catalog.concat(n.nspname, '.', c.relname), pg_catalog.getdatabaseencoding())
      FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE t.tgfoid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure('sse.publish_change()') AND NOT t.tgisinternal
       AND t.tgparentid OPERATOR(pg_catalog.=) 0 AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'";

/// A trigger's rows have no virtual columns (PostgreSQL 18).
const COLUMNS: &str = "
    SELECT a.attrelid, pg_catalog.convert_to(pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.attnotnull,
               EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) a.attrelid AND i.indisprimary
                          AND a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey))
           ) ORDER BY a.attnum)::pg_catalog.text, pg_catalog.getdatabaseencoding())
      FROM pg_catalog.unnest($1) AS r(oid) JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid
     WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attgenerated OPERATOR(pg_catalog.<>) 'v'
     GROUP BY a.attrelid";

/// A trigger on a table with one of the names that were asked for.
struct Trigger {
    table: u32,
    topic: String,
    /// The columns that it names; none: it shows all.
    columns: Vec<String>,
}

/// Reads the tables that have one of these topics, and tell their changes.
pub(super) fn read(topics: &HashSet<&str>) -> HashMap<String, Table> {
    if topics.is_empty() {
        return HashMap::new();
    }
    let triggers = Spi::connect(|client| {
        let mut triggers = Vec::new();
        for row in client.select(TRIGGERS, None, &[])? {
            let table = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let arguments = row.get::<Vec<u8>>(2)?.unwrap_or_default();
            let topic = row.get::<Vec<u8>>(3)?.map(|bytes| from_server(&bytes)).unwrap_or_default();
            if topics.contains(topic.as_str()) {
                triggers.push(Trigger { table, topic, columns: columns_of(&arguments) });
            }
        }
        Ok::<_, spi::Error>(triggers)
    });
    let triggers =
        triggers.unwrap_or_else(|error| error!("pg_sse: cannot read the triggers of tables: {error}"));
    let mut columns = columns(&triggers);
    let mut tables = HashMap::new();
    for topic in triggers.iter().map(|trigger| &trigger.topic).collect::<HashSet<_>>() {
        let own: Vec<&Trigger> = triggers.iter().filter(|trigger| trigger.topic == *topic).collect();
        let Some(columns) = own.first().and_then(|trigger| columns.remove(&trigger.table)) else { continue };
        tables.insert(topic.clone(), Table { columns: shown(columns, &own) });
    }
    tables
}

/// Arguments end with a zero byte each. The first one is the scope.
fn columns_of(arguments: &[u8]) -> Vec<String> {
    let mut arguments: Vec<String> = arguments.split(|byte| *byte == 0).map(from_server).collect();
    arguments.pop();
    arguments.into_iter().skip(1).collect()
}

/// As the catalog has it: name, type, NOT NULL, of the primary key.
type Listed = (String, u32, bool, bool);

/// The key is shown always.
fn shown(columns: Vec<Listed>, triggers: &[&Trigger]) -> Vec<Shown> {
    let column = |(name, of, not_null, is_key): Listed| {
        let shows =
            |trigger: &&&Trigger| is_key || trigger.columns.is_empty() || trigger.columns.contains(&name);
        let by = triggers.iter().filter(shows).count();
        let is_always = by == triggers.len();
        (by > 0).then_some(Shown { column: Column { name, of, not_null }, is_key, is_always })
    };
    columns.into_iter().filter_map(column).collect()
}

fn columns(triggers: &[Trigger]) -> HashMap<u32, Vec<Listed>> {
    let tables: HashSet<u32> = triggers.iter().map(|trigger| trigger.table).collect();
    let oids: Vec<pg_sys::Oid> = tables.into_iter().map(pg_sys::Oid::from).collect();
    let read = Spi::connect(|client| {
        let mut columns = HashMap::new();
        for row in client.select(COLUMNS, None, &[oids.into()])? {
            let table = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let text = row.get::<Vec<u8>>(2)?.map(|bytes| from_server(&bytes)).unwrap_or_default();
            match serde_json::from_str(&text) {
                Ok(listed) => drop(columns.insert(table, listed)),
                Err(error) => warning!("pg_sse: cannot read the columns of table {table}: {error}"),
            }
        }
        Ok::<_, spi::Error>(columns)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the columns of tables: {error}"))
}
