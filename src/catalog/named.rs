//! The functions that `@sse_snapshot` lines name, with their signatures (C7.6).
//!
//! They need no comment of their own, so they are looked up by name. What reading and keeping one costs is
//! counted for the owner of the routine whose comment names it: otherwise anybody could fill up the account
//! of somebody else.
//!
//! Not for which of several functions is meant, nor for what is wrong with it (`sse_proto::route`).

use pgrx::prelude::*;
use sse_proto::annotation::RoutineKind;
use sse_proto::call::MAX_PARAMETERS;
use sse_proto::route::Routine;

use super::reading::{Names, Reading};
use super::signature::Reader;
use crate::pg::text::from_server;

/// The functions and procedures of these names; of those with more parameters than can be called, none.
const NAMED: &str = "
    SELECT p.oid, pg_catalog.convert_to(n.nspname::pg_catalog.text, pg_catalog.getdatabaseencoding()),
           pg_catalog.convert_to(p.proname::pg_catalog.text, pg_catalog.getdatabaseencoding()), p.prokind OPERATOR(pg_catalog.=) 'p'
      FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS a(schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) a.schema::pg_catalog.name
      JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid AND p.proname OPERATOR(pg_catalog.=) a.name::pg_catalog.name
     WHERE (p.prokind OPERATOR(pg_catalog.=) 'f' OR p.prokind OPERATOR(pg_catalog.=) 'p')
       AND coalesce(pg_catalog.cardinality(p.proallargtypes), p.pronargs) OPERATOR(pg_catalog.<=) $3
     ORDER BY p.oid";

/// Adds what the comments in a reading name. `commented` reads a routine that the reading may lack although
/// it has a comment of its own.
pub(super) fn add(
    names: Names,
    reader: &mut Reader,
    reading: &mut Reading,
    commented: impl Fn(u32) -> Option<Routine>,
) {
    if names.is_empty() {
        return;
    }
    reading.depends_on_names = true;
    let found = find(&names);
    let functions = found.iter().filter(|routine| routine.kind == RoutineKind::Function);
    let mut rows = reader.look_up(functions.map(|routine| pg_sys::Oid::from(routine.oid)).collect());
    let mut added = Vec::new();
    for mut routine in found {
        let Some(&owner) = names.get(&(routine.schema.clone(), routine.name.clone())) else { continue };
        if reading.beyond.contains(&routine.oid) {
            continue;
        }
        match reading.routines.binary_search_by_key(&routine.oid, |known| known.oid) {
            Ok(place) => {
                // If it does not fit, it is without a signature, which is a problem of those who name it.
                reader.sign(owner, &mut reading.routines[place], &mut rows);
            }
            Err(_) => {
                if let Some(known) = commented(routine.oid) {
                    routine = known;
                }
                if reader.take(owner, &routine) && reader.sign(owner, &mut routine, &mut rows) {
                    added.push(routine);
                }
            }
        }
    }
    reading.routines.append(&mut added);
    reading.routines.sort_unstable_by_key(|routine| routine.oid);
}

fn find(names: &Names) -> Vec<Routine> {
    let (schemas, functions): (Vec<String>, Vec<String>) = names.keys().cloned().unzip();
    let most = i32::try_from(MAX_PARAMETERS).unwrap_or(i32::MAX);
    let read = Spi::connect(|client| {
        let rows = client.select(NAMED, None, &[schemas.into(), functions.into(), most.into()])?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            pgrx::check_for_interrupts!();
            let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| from_server(&bytes)).unwrap_or_default();
            let oid = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let mut routine = Routine::new(oid, text(row.get(2)?), text(row.get(3)?), "");
            if row.get::<bool>(4)? == Some(true) {
                routine.kind = RoutineKind::Procedure;
            }
            found.push(routine);
        }
        Ok::<_, spi::Error>(found)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the functions of snapshots: {error}"))
}
