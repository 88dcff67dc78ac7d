//! The tables whose changes streams tell: what the triggers of `sse.publish_change()` show of them, and their
//! primary keys (C7.7).
//!
//! Not for the types of their columns (client_types.rs), nor for what a trigger publishes (`publish/`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pgrx::prelude::*;
use sse_client::{Column, Shown, Table, TooLarge};

use super::utf8;
use crate::pg::text::try_from_server;
use crate::pg::want_of_memory::{ask_for, or_raise};

/// A partition's copy of a trigger tells under the name of the table that the trigger was made on.
const TRIGGERS: &str = "
    SELECT t.tgrelid, t.tgargs, pg_catalog.convert_to(pg_catalog.concat(n.nspname, '.', c.relname), pg_catalog.getdatabaseencoding())
      FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE t.tgfoid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure('sse.publish_change()') AND NOT t.tgisinternal
       AND t.tgparentid OPERATOR(pg_catalog.=) 0 AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'";

/// Whoever has the client reads the columns of a stream's table there, and not every owner of a routine may
/// know those of every table: the table has to be the owner's, or that of a role that the owner is a member
/// of.
const MAY_TELL: &str = "
    SELECT w.routine, c.oid
      FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS w(routine, told)
      JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) w.routine
      JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) w.told
     WHERE pg_catalog.pg_has_role(p.proowner, c.relowner, 'MEMBER')";

/// Columns and labels of all types and tables of a client, each some dozen bytes of it. Beyond it:
/// [`TooLarge`].
pub(super) const MAX_MEMBERS: usize = 100_000;

/// Types, or tables, that are read with one query; each may have 1,600 columns.
pub(super) const TYPES_OF_A_QUERY: usize = 50;

/// Routines that are asked for with one query.
const ROUTINES_OF_A_QUERY: usize = 1_000;

/// A trigger's rows have no virtual columns (PostgreSQL 18).
const COLUMNS: &str = "
    SELECT a.attrelid, pg_catalog.convert_to(pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.attnotnull,
               EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) a.attrelid AND i.indisprimary
                          AND a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey))
           ) ORDER BY a.attnum)::pg_catalog.text, pg_catalog.getdatabaseencoding())
      FROM pg_catalog.unnest($1) AS r(oid) JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid
     WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attgenerated OPERATOR(pg_catalog.<>) 'v'
     GROUP BY a.attrelid";

/// For each trigger on a table the columns that it names; none: it shows all.
type Triggers = Vec<Vec<String>>;

/// What was read.
#[derive(Default)]
pub(super) struct Tables {
    /// Of each routine the table that has the topic of its stream, and tells its changes.
    pub(super) of_routines: HashMap<u32, Arc<Table>>,
    /// The types of their columns.
    pub(super) types: HashSet<u32>,
    /// How many columns they have, each table's counted once.
    pub(super) members: usize,
}

/// Reads the tables of these topics, each of a routine's stream.
///
/// # Errors
/// [`TooLarge`]: their columns are more than [`MAX_MEMBERS`].
pub(super) fn read(topics: &[(u32, &str)]) -> Result<Tables, TooLarge> {
    let mut read = Tables::default();
    if topics.is_empty() {
        return Ok(read);
    }
    let (triggers, by_topic) = triggers(&topics.iter().map(|(_, topic)| *topic).collect())?;
    let tables_of = |topic: &str| by_topic.get(topic).into_iter().flatten();
    let pairs = topics.iter().flat_map(|(routine, topic)| tables_of(topic).map(|table| (*routine, *table)));
    let told = may_tell(&pairs.collect::<Vec<_>>());
    let wanted: HashSet<u32> = told.values().copied().collect();
    let mut tables = HashMap::new();
    for part in wanted.into_iter().collect::<Vec<_>>().chunks(TYPES_OF_A_QUERY) {
        pgrx::check_for_interrupts!();
        for (table, columns) in columns(part) {
            let Some(triggers) = triggers.get(&table) else { continue };
            let columns = shown(columns, triggers);
            read.members += columns.len();
            if read.members > MAX_MEMBERS {
                return Err(TooLarge);
            }
            read.types.extend(columns.iter().map(|shown| shown.column.of));
            tables.insert(table, Arc::new(Table { columns }));
        }
    }
    let of = |(routine, table)| Some((routine, Arc::clone(tables.get(&table)?)));
    read.of_routines = told.into_iter().filter_map(of).collect();
    Ok(read)
}

/// The triggers on the tables with these names, by table, and these tables. One name may be that of several,
/// since a dot may stand in a name.
#[expect(clippy::type_complexity)]
fn triggers(
    topics: &HashSet<&str>,
) -> Result<(HashMap<u32, Triggers>, HashMap<String, HashSet<u32>>), TooLarge> {
    let read = Spi::connect(|client| {
        let (mut triggers, mut by_topic) = (HashMap::<_, Triggers>::new(), HashMap::<_, HashSet<_>>::new());
        let mut named = 0;
        for row in client.select(TRIGGERS, None, &[])? {
            pgrx::check_for_interrupts!();
            let topic = utf8(row.get::<Vec<u8>>(3)?);
            if !topics.contains(topic.as_str()) {
                continue;
            }
            let table = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let columns = columns_of(row.get::<&[u8]>(2)?.unwrap_or_default());
            named += columns.len();
            if named > MAX_MEMBERS {
                return Ok(Err(TooLarge));
            }
            triggers.entry(table).or_default().push(columns);
            by_topic.entry(topic).or_default().insert(table);
        }
        Ok::<_, spi::Error>(Ok((triggers, by_topic)))
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the triggers of tables: {error}"))
}

/// Of these routines and tables those that belong together ([`MAY_TELL`]). A routine whose topic is the name
/// of two such tables has none.
fn may_tell(pairs: &[(u32, u32)]) -> HashMap<u32, u32> {
    let read = Spi::connect(|client| {
        let (mut told, mut of_several) = (HashMap::new(), HashSet::new());
        for part in pairs.chunks(ROUTINES_OF_A_QUERY) {
            pgrx::check_for_interrupts!();
            let (routines, tables): (Vec<_>, Vec<_>) = part
                .iter()
                .map(|(routine, table)| (pg_sys::Oid::from(*routine), pg_sys::Oid::from(*table)))
                .unzip();
            for row in client.select(MAY_TELL, None, &[routines.into(), tables.into()])? {
                let number = |oid: Option<pg_sys::Oid>| oid.map_or(0, |oid| oid.to_u32());
                let (routine, table) = (number(row.get(1)?), number(row.get(2)?));
                if told.insert(routine, table).is_some() {
                    of_several.insert(routine);
                }
            }
        }
        told.retain(|routine, _| !of_several.contains(routine));
        Ok::<_, spi::Error>(told)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the owners of tables: {error}"))
}

const ARGUMENT_FACTOR: usize = 64;

/// Arguments end with a zero byte each. The first one is the scope.
fn columns_of(arguments: &[u8]) -> Vec<String> {
    // One may be a letter, and is a text of its own.
    or_raise(ask_for(ARGUMENT_FACTOR * arguments.len()));
    let text = |bytes: &[u8]| or_raise(try_from_server(bytes));
    let mut arguments: Vec<String> = arguments.split(|byte| *byte == 0).map(text).collect();
    arguments.pop();
    arguments.into_iter().skip(1).collect()
}

/// As the catalog has it: name, type, NOT NULL, of the primary key.
type Listed = (String, u32, bool, bool);

/// What some trigger shows, and the key: each tells it, if not in `new` and `old`.
fn shown(columns: Vec<Listed>, triggers: &[Vec<String>]) -> Vec<Shown> {
    let whole = triggers.iter().filter(|named| named.is_empty()).count();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for named in triggers {
        for name in named.iter().map(String::as_str).collect::<HashSet<_>>() {
            *by_name.entry(name).or_default() += 1;
        }
    }
    let column = |(name, of, not_null, is_key): Listed| {
        let by = whole + by_name.get(name.as_str()).copied().unwrap_or_default();
        let is_always = by == triggers.len();
        (by > 0 || is_key).then_some(Shown { column: Column { name, of, not_null }, is_key, is_always })
    };
    columns.into_iter().filter_map(column).collect()
}

fn columns(of: &[u32]) -> Vec<(u32, Vec<Listed>)> {
    let oids: Vec<pg_sys::Oid> = of.iter().copied().map(pg_sys::Oid::from).collect();
    let read = Spi::connect(|client| {
        let mut columns = Vec::new();
        for row in client.select(COLUMNS, None, &[oids.into()])? {
            let table = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let text = utf8(row.get::<Vec<u8>>(2)?);
            match serde_json::from_str(&text) {
                Ok(listed) => columns.push((table, listed)),
                Err(error) => warning!("pg_sse: cannot read the columns of table {table}: {error}"),
            }
        }
        Ok::<_, spi::Error>(columns)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the columns of tables: {error}"))
}
