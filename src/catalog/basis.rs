//! What the routines that are read rest on, for `pg/watched.rs`: everything in the catalog that can change
//! what a reading finds.
//!
//! Not for what is read of it (`mod.rs`, `signature.rs`).

use pgrx::prelude::*;
use sse_proto::call::MAX_PARAMETERS;
use sse_proto::route::Routine;

use super::reading::Reading;
use super::told;
use crate::guc;
use crate::pg::jit;
use crate::pg::watched::{self, Kind, Set};

/// Kinds and oids, numbered as in [`Kind`]. A type includes its elements, base types and columns, in full
/// depth. The routines of schema `sse` are included because the extension may go, and because EXECUTE on
/// `sse.issue_token` decides about logins.
const BASIS: &str = "
WITH RECURSIVE routine AS MATERIALIZED (
    SELECT p.oid, p.pronamespace FROM pg_catalog.unnest($1) AS a(oid) JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) a.oid
     UNION ALL
    SELECT p.oid, p.pronamespace FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid
     WHERE n.nspname OPERATOR(pg_catalog.=) 'sse'
), used(type) AS (
    SELECT u.type FROM pg_catalog.unnest($2) AS a(oid) JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) a.oid
     CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.array_append(coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]), p.prorettype)) AS u(type)
     UNION ALL
    SELECT a.atttypid FROM pg_catalog.unnest($3) AS t(oid) JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.oid
     WHERE a.attnum OPERATOR(pg_catalog.>) 0
     UNION
    SELECT e.type FROM used u JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) u.type
     CROSS JOIN LATERAL (SELECT t.typelem UNION ALL SELECT t.typbasetype UNION ALL
                         SELECT a.atttypid FROM pg_catalog.pg_attribute a
                          WHERE t.typrelid OPERATOR(pg_catalog.<>) 0 AND a.attrelid OPERATOR(pg_catalog.=) t.typrelid
                            AND a.attnum OPERATOR(pg_catalog.>) 0) AS e(type)
     WHERE e.type OPERATOR(pg_catalog.<>) 0
), type AS MATERIALIZED (
    SELECT t.oid, t.typrelid, t.typnamespace FROM used u JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) u.type
)
SELECT 1, r.oid FROM routine r
 UNION ALL SELECT 2, s.oid FROM (SELECT r.pronamespace AS oid FROM routine r UNION SELECT t.typnamespace FROM type t) s
 UNION ALL SELECT 3, t.oid FROM type t
 UNION ALL SELECT 4, t.typrelid FROM type t WHERE t.typrelid OPERATOR(pg_catalog.<>) 0";

/// What these routines rest on: they themselves, and their types, too, if calls are on. Of the routines
/// beyond an owner's limit only the routines themselves are entered: they may get another owner, or go, and a
/// newer one may then fit. If their types become smaller, that is noticed only with the next change.
pub(crate) fn of(reading: &Reading) -> Set {
    let routines = &reading.routines;
    let oids = |wanted: &dyn Fn(&Routine) -> bool| -> Vec<pg_sys::Oid> {
        routines
            .iter()
            .filter(|routine| wanted(routine))
            .map(|routine| pg_sys::Oid::from(routine.oid))
            .collect()
    };
    // The types of a routine with too many parameters do not matter, and are too many as well.
    let is_callable = |routine: &Routine| {
        routine.signature.as_ref().is_some_and(|signature| signature.parameters.len() <= MAX_PARAMETERS)
    };
    let callable = guc::CALL_ROLE.optional().map(|_| oids(&is_callable)).unwrap_or_default();
    let mut set = Set::default();
    for oid in &reading.beyond {
        set.add(Kind::Routine as u32, watched::hash_of(Kind::Routine, *oid));
    }
    if reading.depends_on_names {
        set.add(Kind::EveryRoutine as u32, watched::EVERY);
    }
    let mut tables = Vec::new();
    if guc::SERVE_CLIENT.get() {
        set.add(Kind::EveryEnum as u32, watched::EVERY);
        tables = told::enter(routines, &mut set);
    }
    let entered = jit::without(|| {
        Spi::connect(|client| {
            for row in
                client.select(BASIS, None, &[oids(&|_| true).into(), callable.into(), tables.into()])?
            {
                let oid = row.get::<pg_sys::Oid>(2)?.map_or(0, |oid| oid.to_u32());
                let kind = match row.get::<i32>(1)? {
                    Some(1) => Kind::Routine,
                    Some(2) => Kind::Schema,
                    Some(3) => Kind::Type,
                    _ => Kind::Relation,
                };
                set.add(kind as u32, watched::hash_of(kind, oid));
            }
            Ok::<_, spi::Error>(())
        })
    });
    if let Err(error) = entered {
        error!("pg_sse: cannot read what the routines depend on: {error}");
    }
    set
}
