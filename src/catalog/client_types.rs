//! What a client has to know of types beyond what a call does: their names, the labels of enums, and what
//! forbids NULL (C7.7).
//!
//! The catalog is read as whoever asks may read it: a role that may not look at `pg_type` gets an error.
//!
//! Not for which routines are in a client, nor for what is made of it (`sse_client`).

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;
use serde::Deserialize;
use sse_client::{Catalog, Column, Kind, TooLarge, TypeDefinition};

use super::client_tables::{self, MAX_MEMBERS, TYPES_OF_A_QUERY};
use super::utf8;
use crate::pg::jit;

/// Kinds: `d`omain, `a`rray, `c`omposite, `o`paque (`to_json` uses its cast; or its elements, of a type like
/// `int2vector` whose text is none of an array), `e`num, `b`oolean, `n`umber, `l`ong number, `j`son, or
/// `t`ext. An enum of more than `$2` labels is a text.
const TYPES: &str = "
WITH kinds AS MATERIALIZED (
    SELECT t.oid, t.typname, t.typnamespace, t.typrelid, t.typnotnull,
           CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN 'd'
                WHEN t.typelem OPERATOR(pg_catalog.<>) 0 AND t.typsubscript OPERATOR(pg_catalog.=) 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
                THEN CASE WHEN t.typarray OPERATOR(pg_catalog.=) 0 THEN 'a' ELSE 'o' END
                WHEN t.typtype OPERATOR(pg_catalog.=) 'c' THEN 'c'
                WHEN t.oid OPERATOR(pg_catalog.=) 16 THEN 'b'
                WHEN t.oid OPERATOR(pg_catalog.=) ANY ('{21,23,700,701}'::pg_catalog._oid) THEN 'n'
                WHEN t.oid OPERATOR(pg_catalog.=) ANY ('{20,1700}'::pg_catalog._oid) THEN 'l'
                WHEN t.oid OPERATOR(pg_catalog.=) ANY ('{114,3802}'::pg_catalog._oid) THEN 'j'
                WHEN t.oid OPERATOR(pg_catalog.>=) 16384 AND EXISTS (
                    SELECT FROM pg_catalog.pg_cast c WHERE c.castsource OPERATOR(pg_catalog.=) t.oid AND c.casttarget OPERATOR(pg_catalog.=) 114
                       AND c.castmethod OPERATOR(pg_catalog.=) 'f') THEN 'o'
                WHEN t.typtype OPERATOR(pg_catalog.=) 'e' AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_enum e WHERE e.enumtypid OPERATOR(pg_catalog.=) t.oid OFFSET $2) THEN 'e'
                ELSE 't' END AS kind,
           CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE t.typelem END AS of
      FROM pg_catalog.unnest($1) AS a(oid) JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.oid
), labels AS MATERIALIZED (
    SELECT e.enumtypid, pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder) AS list
      FROM kinds k JOIN pg_catalog.pg_enum e ON e.enumtypid OPERATOR(pg_catalog.=) k.oid WHERE k.kind OPERATOR(pg_catalog.=) 'e' GROUP BY e.enumtypid
), columns AS MATERIALIZED (
    SELECT a.attrelid, pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.attnotnull) ORDER BY a.attnum) AS list
      FROM kinds k JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.typrelid
     WHERE k.kind OPERATOR(pg_catalog.=) 'c' AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
     GROUP BY a.attrelid
)
SELECT k.oid, pg_catalog.convert_to(pg_catalog.json_build_object(
    'schema', n.nspname, 'name', k.typname, 'kind', k.kind, 'of', k.of::pg_catalog.int8, 'not_null', k.typnotnull, 'labels', l.list, 'columns', c.list
    )::pg_catalog.text, pg_catalog.getdatabaseencoding())
  FROM kinds k JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) k.typnamespace
  LEFT JOIN labels l ON l.enumtypid OPERATOR(pg_catalog.=) k.oid
  LEFT JOIN columns c ON c.attrelid OPERATOR(pg_catalog.=) k.typrelid";

/// A routine is looked at only for its result: its parameters were read with its signature.
const RESULTS: &str = "
    SELECT p.oid, p.prorettype FROM pg_catalog.unnest($1) AS a(oid) JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) a.oid";

/// Labels of an enum that are written out. Beyond it the enum is a text.
const MAX_LABELS: i64 = 1_000;

/// A type as the query returns it.
#[derive(Deserialize)]
struct Row {
    schema: String,
    name: String,
    kind: char,
    of: u32,
    not_null: bool,
    labels: Option<Vec<String>>,
    columns: Option<Vec<(String, u32, bool)>>,
}

/// Reads what these routines return, and the tables of these topics of routines; and the types of these
/// parameters, of the results and of the tables' columns, with all that are within them.
pub(crate) fn read(
    routines: &[u32],
    parameters: impl Iterator<Item = u32>,
    topics: &[(u32, &str)],
) -> Result<Catalog, TooLarge> {
    jit::without(|| {
        let results = results(routines);
        let told = client_tables::read(topics)?;
        let (columns, mut members) = (told.types, told.members);
        let mut wanted: HashSet<u32> = parameters.chain(results.values().copied()).chain(columns).collect();
        let mut catalog = Catalog { results, types: HashMap::new(), tables: told.of_routines };
        while !wanted.is_empty() {
            let level: Vec<u32> = wanted.drain().collect();
            for part in level.chunks(TYPES_OF_A_QUERY) {
                pgrx::check_for_interrupts!();
                for (oid, definition) in types(part) {
                    let (count, within) = contents(&definition.kind);
                    members += count;
                    if members > MAX_MEMBERS {
                        return Err(TooLarge);
                    }
                    wanted.extend(within);
                    catalog.types.insert(oid, definition);
                }
            }
            wanted.retain(|oid| !catalog.types.contains_key(oid));
        }
        Ok(catalog)
    })
}

/// How many members a type has, and the types that are directly within it.
fn contents(kind: &Kind) -> (usize, Vec<u32>) {
    match kind {
        Kind::Enum(labels) => (labels.len(), Vec::new()),
        Kind::Row(columns) => (columns.len(), columns.iter().map(|column| column.of).collect()),
        Kind::Array(of) | Kind::Domain { base: of, .. } => (1, vec![*of]),
        _ => (0, Vec::new()),
    }
}

fn oids(oids: &[u32]) -> Vec<pg_sys::Oid> {
    oids.iter().copied().map(pg_sys::Oid::from).collect()
}

fn results(routines: &[u32]) -> HashMap<u32, u32> {
    let read = Spi::connect(|client| {
        let mut results = HashMap::new();
        for row in client.select(RESULTS, None, &[oids(routines).into()])? {
            let number = |oid: Option<pg_sys::Oid>| oid.map_or(0, |oid| oid.to_u32());
            results.insert(number(row.get(1)?), number(row.get(2)?));
        }
        Ok::<_, spi::Error>(results)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the results of the routines: {error}"))
}

fn types(of: &[u32]) -> Vec<(u32, TypeDefinition)> {
    let read = Spi::connect(|client| {
        let mut types = Vec::new();
        for row in client.select(TYPES, None, &[oids(of).into(), MAX_LABELS.into()])? {
            let oid = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let text = utf8(row.get::<Vec<u8>>(2)?);
            match serde_json::from_str(&text) {
                Ok(row) => types.push((oid, definition(row))),
                Err(error) => warning!("pg_sse: cannot read type {oid}: {error}"),
            }
        }
        Ok::<_, spi::Error>(types)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the types of the routines: {error}"))
}

fn definition(Row { schema, name, kind, of, not_null, labels, columns }: Row) -> TypeDefinition {
    let column = |(name, of, not_null)| Column { name, of, not_null };
    let kind = match kind {
        'd' => Kind::Domain { base: of, not_null },
        'a' => Kind::Array(of),
        'c' => Kind::Row(columns.unwrap_or_default().into_iter().map(column).collect()),
        'o' => Kind::Opaque,
        'e' => Kind::Enum(labels.unwrap_or_default()),
        'b' => Kind::Boolean,
        'n' => Kind::Number,
        'l' => Kind::BigNumber,
        'j' => Kind::Json,
        _ => Kind::Text,
    };
    TypeDefinition { schema, name, kind }
}
