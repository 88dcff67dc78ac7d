//! The functions that `@sse_snapshot` lines name, with their signatures (C7.6).
//!
//! They need no comment of their own, so they are looked up by name. What reading and keeping one costs is
//! counted for an owner of a routine whose comment names it: otherwise anybody could fill up the account of
//! somebody else.
//!
//! Not for which of several functions is meant, nor for what is wrong with it (`sse_proto::route`).

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;
use sse_proto::annotation::RoutineKind;
use sse_proto::call::{MAX_PARAMETERS, Signature, USER_PARAMETERS};
use sse_proto::route::Routine;

use super::reading::{Names, Reading};
use super::signature::Reader;
use super::{BATCH, BATCH_PARAMETERS, MAX_PARAMETER_LIST_BYTES, utf8};

/// The functions and procedures of these names, with the number of their parameters, and whether they take
/// nothing but user parameters; of those with more parameters than can be called, none. Names of inputs are
/// unique, so that more inputs than there are user parameters need not be looked at.
const NAMED: &str = "
    SELECT p.oid, pg_catalog.convert_to(n.nspname::pg_catalog.text, pg_catalog.getdatabaseencoding()),
           pg_catalog.convert_to(p.proname::pg_catalog.text, pg_catalog.getdatabaseencoding()), p.prokind OPERATOR(pg_catalog.=) 'p',
           coalesce(pg_catalog.cardinality(p.proallargtypes), p.pronargs),
           CASE WHEN p.pronargs OPERATOR(pg_catalog.=) 0 THEN true
                WHEN p.pronargs OPERATOR(pg_catalog.>) pg_catalog.cardinality($5::pg_catalog.text[]) OR p.proargnames IS NULL THEN false
                ELSE NOT EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest(p.proargmodes), pg_catalog.unnest(p.proargnames)) AS g(mode, name)
                                  WHERE coalesce(g.mode, 'i') OPERATOR(pg_catalog.<>) 'o' AND coalesce(g.mode, 'i') OPERATOR(pg_catalog.<>) 't'
                                    AND (g.name OPERATOR(pg_catalog.=) ANY ($5)) IS NOT TRUE) END
      FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS a(schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) a.schema::pg_catalog.name
      JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid AND p.proname OPERATOR(pg_catalog.=) a.name::pg_catalog.name
     WHERE (p.prokind OPERATOR(pg_catalog.=) 'f' OR p.prokind OPERATOR(pg_catalog.=) 'p')
       AND CASE WHEN pg_catalog.pg_column_size(p.proallargtypes) OPERATOR(pg_catalog.>) $4 OR pg_catalog.pg_column_size(p.proargnames) OPERATOR(pg_catalog.>) $4 THEN false
                ELSE coalesce(pg_catalog.cardinality(p.proallargtypes), p.pronargs) OPERATOR(pg_catalog.<=) $3 END
     ORDER BY p.oid";

/// A function or procedure of a name.
struct Candidate {
    routine: Routine,
    /// Number of its parameters, of all modes.
    parameters: usize,
    /// Whether it takes nothing but user parameters.
    fits: bool,
}

impl Candidate {
    /// How many of its sort are looked at for one name: of those that fit a second one shows that nobody can
    /// say which is meant, and of the others one shows what is wrong.
    fn most(&self) -> usize {
        if self.fits && self.routine.kind == RoutineKind::Function { 2 } else { 1 }
    }
}

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
    let beyond: HashSet<u32> = reading.beyond.iter().copied().collect();
    let mut seen: HashMap<_, usize> = HashMap::new();
    let mut added = Vec::new();
    let mut batch = Vec::new();
    let mut parameters = 0;
    for candidate in find(&names) {
        pgrx::check_for_interrupts!();
        let routine = &candidate.routine;
        if beyond.contains(&routine.oid) {
            continue;
        }
        let is_settled = match reading.routines.binary_search_by_key(&routine.oid, |known| known.oid) {
            Ok(place) => reading.routines[place].signature.is_some(),
            Err(_) => {
                let sort = (candidate.fits, routine.kind == RoutineKind::Function);
                let seen = seen.entry((routine.schema.clone(), routine.name.clone(), sort)).or_default();
                *seen += 1;
                *seen > candidate.most()
            }
        };
        if is_settled {
            continue;
        }
        parameters += candidate.parameters;
        batch.push(candidate);
        if batch.len() >= BATCH || parameters >= BATCH_PARAMETERS {
            parameters = 0;
            add_batch(std::mem::take(&mut batch), &names, reader, reading, &mut added, &commented);
        }
    }
    add_batch(batch, &names, reader, reading, &mut added, &commented);
    reading.routines.append(&mut added);
    reading.routines.sort_unstable_by_key(|routine| routine.oid);
}

/// The same with some of them. Whoever names one may pay for it: one who has no more left does not take it
/// away from the others.
fn add_batch(
    mut batch: Vec<Candidate>,
    names: &Names,
    reader: &mut Reader,
    reading: &mut Reading,
    added: &mut Vec<Routine>,
    commented: &impl Fn(u32) -> Option<Routine>,
) {
    let place = |routines: &[Routine], oid| routines.binary_search_by_key(&oid, |known| known.oid);
    batch.retain(|candidate| reader.is_open(owners(names, &candidate.routine)));
    let wanted = batch.iter().filter(|Candidate { routine, fits, .. }| {
        routine.kind == RoutineKind::Function && (*fits || place(&reading.routines, routine.oid).is_ok())
    });
    let wanted = wanted.map(|candidate| pg_sys::Oid::from(candidate.routine.oid)).collect();
    let rows = reader.look_up(wanted);
    for Candidate { mut routine, fits, .. } in batch {
        pgrx::check_for_interrupts!();
        let owners = owners(names, &routine);
        if let Ok(place) = place(&reading.routines, routine.oid) {
            // If it does not fit, it is without a signature, which is a problem of those who name it.
            let known = &mut reading.routines[place];
            let _ = owners.iter().any(|&owner| reader.sign(owner, known, &rows));
            continue;
        }
        if !fits && routine.kind == RoutineKind::Function {
            routine.signature = Some(Signature::of_an_argument());
        } else if let Some(known) = commented(routine.oid) {
            routine = known;
        }
        let mut pays = |owner| reader.take(owner, &routine) && reader.sign(owner, &mut routine, &rows);
        if owners.iter().any(|&owner| pays(owner)) {
            added.push(routine);
        }
    }
}

fn owners<'n>(names: &'n Names, routine: &Routine) -> &'n [u32] {
    names.get(&(routine.schema.clone(), routine.name.clone())).map_or(&[], Vec::as_slice)
}

fn find(names: &Names) -> Vec<Candidate> {
    let (schemas, functions): (Vec<String>, Vec<String>) = names.keys().cloned().unzip();
    let most = i32::try_from(MAX_PARAMETERS).unwrap_or(i32::MAX);
    let users: Vec<String> = USER_PARAMETERS.iter().map(|&name| name.to_owned()).collect();
    let arguments =
        [schemas.into(), functions.into(), most.into(), MAX_PARAMETER_LIST_BYTES.into(), users.into()];
    let read = Spi::connect(|client| {
        let rows = client.select(NAMED, None, &arguments)?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            pgrx::check_for_interrupts!();
            let oid = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let mut routine = Routine::new(oid, utf8(row.get(2)?), utf8(row.get(3)?), "");
            if row.get::<bool>(4)? == Some(true) {
                routine.kind = RoutineKind::Procedure;
            }
            let parameters = row.get::<i32>(5)?.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            found.push(Candidate { routine, parameters, fits: row.get::<bool>(6)? == Some(true) });
        }
        Ok::<_, spi::Error>(found)
    });
    read.unwrap_or_else(|error| error!("pg_sse: cannot read the functions of snapshots: {error}"))
}
