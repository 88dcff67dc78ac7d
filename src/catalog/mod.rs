//! Reading the catalog with SQL: for the catalog worker and for the views.
//!
//! Every name is qualified, so the caller's search_path decides nothing. Only routines with a comment are
//! read; what a comment means is decided by `sse_proto`, and which schemas are served by `sse.schemas`.

pub(crate) mod basis;
pub(crate) mod call_role;
mod client_tables;
pub(crate) mod client_types;
mod named;
mod owners;
mod reading;
pub(crate) mod routes;
mod signature;
mod told;

use pgrx::prelude::*;
use sse_proto::annotation::{MAX_COMMENT_BYTES, RoutineKind, Skim};
use sse_proto::call::{MAX_PARAMETERS, USER_PARAMETERS};
use sse_proto::encoding::OutOfMemory;
use sse_proto::route::{MAX_OWNER_WEIGHT, ROUTINE_WEIGHT, Routine, Traits};

use crate::guc;
use crate::pg::jit;
use crate::pg::routine::{self, Comment};
use crate::pg::shmem::Extension;
use crate::pg::text::try_from_server;
use crate::pg::want_of_memory::{ask_for, or_raise};
use crate::version::version;

use self::owners::Near;
pub(crate) use self::reading::Reading;
use self::reading::{Beyond, Found};
use self::signature::Reader;

/// `$2` and what follows say which routines: none of them given means all. The last row has the routines
/// whose owner's older ones are too many by their comments and number alone (`owners.rs`): of these nothing
/// is read but the oid, and whose they are.
///
/// A comment is looked into only as long as those of its owner's older routines, prose included, do not take
/// too much together: a stored one may be a hundredth of what it says, and prose is looked through at each
/// reading. How long it is stands beside it.
///
/// The lists of parameters are looked at if they are not longer than `$9` bytes as they are stored. A longer
/// one belongs to more parameters than anybody can call: their number is then NULL.
const ROUTINES: &str = r#"
WITH commented AS MATERIALIZED (
    SELECT p.oid, n.nspname, p.proname, p.prokind, p.provolatile, p.proparallel, p.proargnames, p.proowner, d.description,
           pg_catalog.octet_length(d.description) AS bytes,
           CASE WHEN pg_catalog.pg_column_size(p.proallargtypes) OPERATOR(pg_catalog.>) $9 OR pg_catalog.pg_column_size(p.proargnames) OPERATOR(pg_catalog.>) $9 THEN NULL
                ELSE coalesce(pg_catalog.cardinality(p.proallargtypes), p.pronargs) END AS parameters,
           pg_catalog.sum(pg_catalog.octet_length(d.description)) OVER (PARTITION BY p.proowner ORDER BY p.oid) OPERATOR(pg_catalog.<=) $8 AS is_looked_at
      FROM pg_catalog.pg_description d
      JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objoid
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
     WHERE d.classoid OPERATOR(pg_catalog.=) 1255 AND d.objsubid OPERATOR(pg_catalog.=) 0
       AND (p.prokind OPERATOR(pg_catalog.=) 'f' OR p.prokind OPERATOR(pg_catalog.=) 'p')
       AND n.nspname OPERATOR(pg_catalog.!~) '^pg_' AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
       AND ($2::pg_catalog.oid IS NULL OR d.objoid OPERATOR(pg_catalog.=) $2)
), found AS MATERIALIZED (
    SELECT c.*, pg_catalog.sum($7 OPERATOR(pg_catalog.+) c.bytes) OVER (PARTITION BY c.proowner ORDER BY c.oid) OPERATOR(pg_catalog.<=) $8 AS is_within
      FROM commented c
     WHERE c.is_looked_at
       AND CASE WHEN c.bytes OPERATOR(pg_catalog.>) $6 THEN true
                ELSE pg_catalog.strpos(c.description, '@') OPERATOR(pg_catalog.>) 0
                  OR pg_catalog.strpos(pg_catalog.lower(c.description COLLATE pg_catalog."C"), 'http') OPERATOR(pg_catalog.>) 0 END
       AND ($3::pg_catalog.text[] IS NULL
            OR pg_catalog.translate(pg_catalog.lower(pg_catalog.concat(c.nspname, '/', c.proname) COLLATE pg_catalog."C"), '_ "', '--') OPERATOR(pg_catalog.=) ANY ($3)
            OR (pg_catalog.concat(c.nspname, c.proname) COLLATE pg_catalog."C") OPERATOR(pg_catalog.!~) '^[A-Za-z0-9_ "-]*$'
            OR EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($4::pg_catalog.text[]), pg_catalog.unnest($5::pg_catalog.text[])) AS w(one, other)
                        WHERE pg_catalog.strpos(c.description, w.one) OPERATOR(pg_catalog.>) 0 AND pg_catalog.strpos(c.description, w.other) OPERATOR(pg_catalog.>) 0))
), beyond AS (
    SELECT f.oid, f.proowner FROM found f WHERE NOT f.is_within UNION ALL SELECT c.oid, c.proowner FROM commented c WHERE NOT c.is_looked_at
)
    SELECT f.oid, pg_catalog.convert_to(f.nspname::pg_catalog.text, pg_catalog.getdatabaseencoding()),
           pg_catalog.convert_to(f.proname::pg_catalog.text, pg_catalog.getdatabaseencoding()), f.prokind OPERATOR(pg_catalog.=) 'p', f.provolatile OPERATOR(pg_catalog.=) 'v',
           f.proparallel OPERATOR(pg_catalog.=) 's', CASE WHEN f.parameters IS NULL THEN false ELSE coalesce(f.proargnames OPERATOR(pg_catalog.&&) $1, false) END,
           pg_catalog.convert_to(CASE WHEN f.bytes OPERATOR(pg_catalog.<=) $6 THEN f.description END, pg_catalog.getdatabaseencoding()), f.proowner, f.parameters, f.bytes,
           NULL::pg_catalog.oid[], NULL::pg_catalog.oid[]
      FROM found f WHERE f.is_within
     UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, pg_catalog.array_agg(b.oid ORDER BY b.oid), pg_catalog.array_agg(DISTINCT b.proowner)
      FROM beyond b"#;

/// Which routines to read.
enum Which<'a> {
    All,
    One(u32),
    Near(&'a Traits),
}

/// All routines outside of system schemas whose comment may be ours, by oid: prose is left where it is. The
/// others are the first of [`Reading::beyond`]. Long because a row has thirteen columns.
fn routines(which: Which<'_>) -> (Vec<Found>, Beyond) {
    let names: Vec<String> = USER_PARAMETERS.iter().map(|&name| name.to_owned()).collect();
    let oid = if let Which::One(oid) = which { Some(pg_sys::Oid::from(oid)) } else { None };
    let traits = if let Which::Near(traits) = which { Some(traits) } else { None };
    let (ones, others) = traits.map(|traits| traits.words.iter().cloned().unzip()).unwrap_or_default();
    let (ones, others): (Vec<String>, Vec<String>) = (ones, others);
    let arguments = [
        names.into(),
        oid.into(),
        traits.map(|traits| traits.names.iter().cloned().collect::<Vec<_>>()).into(),
        ones.into(),
        others.into(),
        i32::try_from(MAX_COMMENT_BYTES).unwrap_or(i32::MAX).into(),
        i64::try_from(ROUTINE_WEIGHT).unwrap_or(i64::MAX).into(),
        i64::try_from(MAX_OWNER_WEIGHT).unwrap_or(i64::MAX).into(),
        MAX_PARAMETER_LIST_BYTES.into(),
    ];
    let read = Spi::connect(|client| {
        let rows = client.select(ROUTINES, None, &arguments)?;
        or_raise(ask_for(rows.len() * size_of::<Found>()));
        let (mut found, mut beyond) = (Vec::with_capacity(rows.len()), Beyond::default());
        for row in rows {
            // Comments of many megabytes are turned into text here, and stopping the server must not wait for
            // that.
            pgrx::check_for_interrupts!();
            or_raise(ask_for(routine::made_of_comment(0) + 4 * MAX_COMMENT_BYTES));
            let number = |oid: Option<pg_sys::Oid>| oid.map_or(0, |oid| oid.to_u32());
            let oid = number(row.get::<pg_sys::Oid>(1)?);
            if oid == 0 {
                let oids =
                    |oids: Option<Vec<pg_sys::Oid>>| oids.into_iter().flatten().map(|oid| oid.to_u32());
                beyond.routines = oids(row.get(12)?).collect();
                beyond.owners = oids(row.get(13)?).collect();
                continue;
            }
            let comment = or_raise(comment(oid, row.get::<Vec<u8>>(8)?)).read();
            let Some((comment, comment_is_too_long)) = comment else { continue };
            let routine = Routine {
                oid,
                schema: utf8(row.get::<Vec<u8>>(2)?),
                name: utf8(row.get::<Vec<u8>>(3)?),
                kind: if row.get::<bool>(4)? == Some(true) {
                    RoutineKind::Procedure
                } else {
                    RoutineKind::Function
                },
                volatile: row.get::<bool>(5)?.unwrap_or(true),
                parallel_safe: row.get::<bool>(6)?.unwrap_or(false),
                has_identity_parameters: row.get::<bool>(7)?.unwrap_or(false),
                signature: None,
                comment,
                comment_is_too_long,
            };
            let owner = number(row.get::<pg_sys::Oid>(9)?);
            let count = |count: i32| usize::try_from(count).unwrap_or(0);
            let parameters = row.get(10)?.map_or(MAX_PARAMETERS + 1, count);
            let bytes = row.get(11)?.map_or(0, count);
            let unread = if comment_is_too_long { bytes } else { 0 };
            found.push(Found { owner, parameters, unread, routine });
        }
        Ok::<_, spi::Error>((found, beyond))
    });
    let (mut found, beyond) =
        read.unwrap_or_else(|error| error!("pg_sse: cannot read the routines: {error}"));
    found.sort_unstable_by_key(|found| found.routine.oid);
    (found, beyond)
}

/// Names of [`MAX_PARAMETERS`] take 68 bytes each at most, before they are compressed.
const MAX_PARAMETER_LIST_BYTES: i32 = 128 << 10;

/// The comment of a row: its text, unless it is longer than what is read. A longer one is searched, as every
/// backend does it, and the result is kept instead of the text.
fn comment(oid: u32, stored: Option<Vec<u8>>) -> Result<Comment, OutOfMemory> {
    let Some(stored) = stored else {
        return routine::comment(pg_sys::Oid::from(oid));
    };
    Ok(match try_from_server(&stored)? {
        text if text.len() <= MAX_COMMENT_BYTES => Comment::Text(text),
        text if Skim::new(text.as_bytes()).look_at_all() => Comment::TooLong,
        _ => Comment::None,
    })
}

/// All routines, with the signatures of those that can be called. Without a role for calls nothing can be
/// called.
pub(crate) fn all() -> Reading {
    jit::without(|| weighed(routines(Which::All), |_| None))
}

/// The served routine of this oid and all others that decide about its URLs, by oid; empty if it is not
/// annotated or not served.
///
/// The routines are found in rounds: the routine's paths say which other routines may have one of them, and
/// their paths may in turn be taken by others. Usually the second round finds nothing new.
///
/// Where the owner of one of them has half of what they may have, all are read, because then the owner's
/// others decide. Whoever makes so many in one transaction is told by the next one. Others' routines are
/// looked up as ever.
pub(crate) fn routine_and_rivals(oid: u32) -> Reading {
    let is_served = |found: &Found| guc::schema_is_served(&found.routine.schema);
    let served = |which: Which<'_>| {
        let (mut found, beyond) = routines(which);
        found.retain(is_served);
        (found, beyond)
    };
    // Comments may name functions of schemas that are not served: the gateway does not find them either.
    let of_served = |mut reading: Reading| {
        reading.routines.retain(|routine| guc::schema_is_served(&routine.schema));
        reading
    };
    let all_decide = || of_served(all());
    // The list is by oid.
    let has = |list: &[Found], found: &Found| {
        list.binary_search_by_key(&found.routine.oid, |other| other.routine.oid).is_ok()
    };
    let near = Near::of_last_reading();
    jit::without(|| {
        let mut known = served(Which::One(oid));
        for _ in 0..MAX_ROUNDS {
            if known.0.iter().any(|found| near.may_have(found.owner)) {
                return all_decide();
            }
            let routines: Vec<Routine> = known.0.iter().map(|found| found.routine.clone()).collect();
            let traits = Traits::of(&routines, &guc::URL_PREFIX.text(), guc::default_level());
            if traits.is_empty() {
                return of_served(weighed(known, commented));
            }
            let mut more = served(Which::Near(&traits));
            if more.0.iter().all(|found| has(&known.0, found)) {
                return of_served(weighed(known, commented));
            }
            // A name of nothing but double quotes leaves nothing in a path, so the query does not find the
            // routine again that has it.
            known.0.retain(|found| !has(&more.0, found));
            more.0.append(&mut known.0);
            more.0.sort_unstable_by_key(|found| found.routine.oid);
            known = more;
        }
        all_decide()
    })
}

/// A function that a comment names, if it has a comment that may be ours.
fn commented(oid: u32) -> Option<Routine> {
    let found = routines(Which::One(oid)).0.pop()?.routine;
    guc::schema_is_served(&found.schema).then_some(found)
}

/// How many rounds there are. If URLs depend on a longer chain of routines, all routines are read.
const MAX_ROUNDS: usize = 4;

/// Of routines that were not read further those that are served, and whose comment has a line of ours.
pub(crate) fn ours(oids: &[u32]) -> Vec<u32> {
    let wanted: Vec<pg_sys::Oid> = oids.iter().copied().map(pg_sys::Oid::from).collect();
    let read = Spi::connect(|client| {
        let mut served = Vec::new();
        for row in client.select(SCHEMAS, None, &[wanted.into()])? {
            if guc::schema_is_served(&utf8(row.get::<Vec<u8>>(2)?)) {
                served.extend(row.get::<pg_sys::Oid>(1)?);
            }
        }
        Ok::<_, spi::Error>(served)
    });
    let served =
        read.unwrap_or_else(|error| error!("pg_sse: cannot read the schemas of the routines: {error}"));
    let is_ours = |oid: &pg_sys::Oid| {
        // There may be very many.
        pgrx::check_for_interrupts!();
        match or_raise(routine::comment(*oid)) {
            Comment::None => false,
            Comment::TooLong => true,
            Comment::Text(text) => Skim::new(text.as_bytes()).look_at_all(),
        }
    };
    served.into_iter().filter(is_ours).map(|oid| oid.to_u32()).collect()
}

/// Of each routine the schema.
const SCHEMAS: &str = "
    SELECT p.oid, pg_catalog.convert_to(n.nspname::pg_catalog.text, pg_catalog.getdatabaseencoding())
      FROM pg_catalog.unnest($1) AS a(oid)
      JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) a.oid
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace";

/// Parts what is found into batches, each of which costs the reader some megabytes.
fn weighed((found, beyond): (Vec<Found>, Beyond), commented: impl Fn(u32) -> Option<Routine>) -> Reading {
    let near = beyond.owners.into_iter().fold(Near::default(), Near::with);
    let mut reading = Reading {
        routines: Vec::with_capacity(found.len()),
        beyond: beyond.routines,
        near,
        depends_on_names: false,
    };
    let mut reader = Reader::default();
    let mut batch = Vec::new();
    let mut parameters = 0;
    for found in found {
        parameters += found.parameters;
        batch.push(found);
        if batch.len() >= BATCH || parameters >= BATCH_PARAMETERS {
            parameters = 0;
            reader.read(std::mem::take(&mut batch), &mut reading);
        }
    }
    reader.read(batch, &mut reading);
    named::add(reader.take_names(), &mut reader, &mut reading, commented);
    reading.beyond.sort_unstable();
    reading.near = reader.near_owners().fold(near, Near::with);
    reading
}

/// At most this many routines' signatures are read with one query: planning it takes as long as running it
/// for a hundred routines.
const BATCH: usize = 1000;

/// At most this many parameters are in one batch: each takes some hundred bytes of the query's answer.
const BATCH_PARAMETERS: usize = 10_000;

/// A text in JSON, and what it says, have at most so many times its bytes: a column is a name, a type and
/// some flags.
const TEXT_FACTOR: usize = 16;

/// The query returns texts as the bytes that they are in the database, because Postgres' own conversion to
/// UTF-8 fails in a database without an encoding (SQL_ASCII), where one comment could then stop the service
/// for all. Raises an error when there is no memory for the text and what is made of it.
fn utf8(bytes: Option<Vec<u8>>) -> String {
    let text = |bytes: Vec<u8>| {
        or_raise(ask_for(TEXT_FACTOR * bytes.len()));
        or_raise(try_from_server(&bytes))
    };
    bytes.map(text).unwrap_or_default()
}

/// The first column of the first row. Not by pgrx' own `get_one`, which takes a transaction id, and there is
/// none on a standby.
fn one<T: FromDatum + IntoDatum>(
    sql: &str,
    arguments: &[pgrx::datum::DatumWithOid<'_>],
) -> Result<Option<T>, spi::Error> {
    Spi::connect(|client| client.select(sql, Some(1), arguments)?.first().get_one())
}

/// Whether the extension is installed in this database, and in this library's version.
pub(crate) fn extension() -> Extension {
    let installed = one::<String>(
        "SELECT pg_catalog.max(extversion) FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'pg_sse'",
        &[],
    );
    match installed {
        Ok(Some(installed)) if installed == version() => Extension::Present,
        Ok(Some(_)) => Extension::OtherVersion,
        Ok(None) => Extension::Absent,
        Err(error) => error!("pg_sse: cannot read the installed extensions: {error}"),
    }
}

/// The role, if there is one and it is no superuser, to which the extension's schema belongs, or in it a
/// routine that is not the extension's own, or an operator. Superusers would run its code, and take it for
/// ours.
pub(crate) fn stranger() -> Option<String> {
    match one::<Vec<u8>>(STRANGER, &[]) {
        Ok(name) => name.map(|name| utf8(Some(name))),
        Err(error) => error!("pg_sse: cannot read who owns the schema sse: {error}"),
    }
}

const STRANGER: &str = "
    SELECT (SELECT pg_catalog.convert_to(r.rolname::pg_catalog.text, pg_catalog.getdatabaseencoding())
              FROM pg_catalog.pg_namespace n
             CROSS JOIN LATERAL (
                   SELECT n.nspowner
                    UNION ALL
                   SELECT p.proowner FROM pg_catalog.pg_proc p
                    WHERE p.pronamespace OPERATOR(pg_catalog.=) n.oid
                      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                       WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
                                         AND d.objid OPERATOR(pg_catalog.=) p.oid
                                         AND d.deptype OPERATOR(pg_catalog.=) 'e')
                    UNION ALL
                   SELECT p.oprowner FROM pg_catalog.pg_operator p
                    WHERE p.oprnamespace OPERATOR(pg_catalog.=) n.oid
                   ) AS o(owner)
              JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) o.owner AND NOT r.rolsuper
             WHERE n.nspname OPERATOR(pg_catalog.=) 'sse'
             LIMIT 1)";

/// Whether there is a schema of this name.
pub(crate) fn has_schema(name: &[u8]) -> bool {
    // As bytes: the name is in the database's encoding.
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE pg_catalog.convert_to(nspname::pg_catalog.text, pg_catalog.getdatabaseencoding()) OPERATOR(pg_catalog.=) $1)";
    let found = one::<bool>(sql, &[name.to_vec().into()]);
    found.unwrap_or_else(|error| error!("pg_sse: cannot read the schemas: {error}")).unwrap_or(false)
}

/// Name of the database this session is connected to.
pub(crate) fn current_database() -> String {
    match one::<Vec<u8>>(
        "SELECT pg_catalog.convert_to(pg_catalog.current_database()::pg_catalog.text, pg_catalog.getdatabaseencoding())",
        &[],
    ) {
        Ok(name) => utf8(name),
        Err(error) => error!("pg_sse: cannot read the database's name: {error}"),
    }
}
