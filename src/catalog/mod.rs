//! Reading the catalog with SQL: for the catalog worker and for the views.
//!
//! Every name is qualified, so the caller's search_path decides nothing. Only routines with a comment are read; what a
//! comment means is decided by `sse_proto`, and which schemas are served by `sse.schemas`.

pub(crate) mod basis;
pub(crate) mod call_role;
mod signature;

use pgrx::prelude::*;
use sse_proto::annotation::{MAX_COMMENT_BYTES, MAX_COMMENTS_BYTES, RoutineKind, Skim};
use sse_proto::call::USER_PARAMETERS;
use sse_proto::route::{Routine, Traits};

use crate::pg::jit;
use crate::pg::routine::{self, Comment};
use crate::pg::shmem::Extension;
use crate::pg::text::from_server;
use crate::{VERSION, guc};

/// `$2` and what follows say which routines: none of them given means all.
const ROUTINES: &str = r#"
    SELECT p.oid, pg_catalog.convert_to(n.nspname::pg_catalog.text, pg_catalog.getdatabaseencoding()),
           pg_catalog.convert_to(p.proname::pg_catalog.text, pg_catalog.getdatabaseencoding()), p.prokind OPERATOR(pg_catalog.=) 'p', p.provolatile OPERATOR(pg_catalog.=) 'v',
           p.proparallel OPERATOR(pg_catalog.=) 's', coalesce(p.proargnames OPERATOR(pg_catalog.&&) $1, false), pg_catalog.convert_to(CASE WHEN pg_catalog.octet_length(d.description) OPERATOR(pg_catalog.<=) $6
               AND pg_catalog.sum(CASE WHEN pg_catalog.octet_length(d.description) OPERATOR(pg_catalog.<=) $6 THEN pg_catalog.octet_length(d.description) ELSE 0 END) OVER of_owner OPERATOR(pg_catalog.<=) $7
               THEN d.description END, pg_catalog.getdatabaseencoding())
      FROM pg_catalog.pg_description d
      JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objoid
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
     WHERE d.classoid OPERATOR(pg_catalog.=) 1255 AND d.objsubid OPERATOR(pg_catalog.=) 0
       AND (p.prokind OPERATOR(pg_catalog.=) 'f' OR p.prokind OPERATOR(pg_catalog.=) 'p')
       AND n.nspname OPERATOR(pg_catalog.!~) '^pg_' AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
       AND CASE WHEN pg_catalog.octet_length(d.description) OPERATOR(pg_catalog.>) $6 THEN true
                ELSE pg_catalog.strpos(d.description, '@') OPERATOR(pg_catalog.>) 0
                  OR pg_catalog.strpos(pg_catalog.lower(d.description COLLATE pg_catalog."C"), 'http') OPERATOR(pg_catalog.>) 0 END
       AND ($2::pg_catalog.oid IS NULL OR d.objoid OPERATOR(pg_catalog.=) $2)
       AND ($3::pg_catalog.text[] IS NULL
            OR pg_catalog.translate(pg_catalog.lower(pg_catalog.concat(n.nspname, '/', p.proname) COLLATE pg_catalog."C"), '_ "', '--') OPERATOR(pg_catalog.=) ANY ($3)
            OR (pg_catalog.concat(n.nspname, p.proname) COLLATE pg_catalog."C") OPERATOR(pg_catalog.!~) '^[A-Za-z0-9_ "-]*$'
            OR EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($4::pg_catalog.text[]), pg_catalog.unnest($5::pg_catalog.text[])) AS w(one, other)
                        WHERE pg_catalog.strpos(d.description, w.one) OPERATOR(pg_catalog.>) 0 AND pg_catalog.strpos(d.description, w.other) OPERATOR(pg_catalog.>) 0))
    WINDOW of_owner AS (PARTITION BY p.proowner ORDER BY p.oid)
     ORDER BY p.oid"#;

/// Which routines to read.
enum Which<'a> {
    All,
    One(u32),
    Near(&'a Traits),
}

/// All routines outside of system schemas whose comment may be ours, by oid: prose is left where it is.
fn routines(which: Which<'_>) -> Vec<Routine> {
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
        i64::try_from(MAX_COMMENTS_BYTES).unwrap_or(i64::MAX).into(),
    ];
    Spi::connect(|client| {
        let rows = client.select(ROUTINES, None, &arguments)?;
        let mut routines = Vec::with_capacity(rows.len());
        for row in rows {
            // Comments of many megabytes are turned into text here: who stops the server does not wait for it.
            pgrx::check_for_interrupts!();
            let oid = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let (comment, comment_is_too_long) = match comment(oid, row.get::<Vec<u8>>(8)?) {
                Comment::None => continue,
                Comment::Text(text) => (text, false),
                Comment::TooLong => (String::new(), true),
            };
            routines.push(Routine {
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
            });
        }
        Ok::<_, spi::Error>(routines)
    })
    .unwrap_or_else(|error| error!("pg_sse: cannot read the routines: {error}"))
}

/// What the query has of a comment: its text, unless it or all of its owner are longer than is read. Then it is looked at as every backend does,
/// and what is found is kept, not the text.
fn comment(oid: u32, stored: Option<Vec<u8>>) -> Comment {
    let Some(stored) = stored else {
        return match routine::read(pg_sys::Oid::from(oid)).map_or(Comment::None, |entry| entry.comment) {
            // Its owner has too many.
            Comment::Text(text) => unread(&text),
            other => other,
        };
    };
    match from_server(&stored) {
        text if text.len() <= MAX_COMMENT_BYTES => Comment::Text(text),
        text => unread(&text),
    }
}

fn unread(text: &str) -> Comment {
    if Skim::new(text.as_bytes()).look_at_all() { Comment::TooLong } else { Comment::None }
}

/// All routines, with the signatures of those that can be called; without a role for calls there is nothing to call.
pub(crate) fn routines_with_signatures() -> Vec<Routine> {
    jit::without(|| with_signatures(routines(Which::All)))
}

/// The served routine of this oid and whatever decides about its URLs, by oid; empty if it is not annotated or not served.
///
/// What these routines are is found out in rounds: the routine's paths say which others may have one of them, whose
/// paths may in turn be taken by others. Usually the second round finds nothing new.
pub(crate) fn routine_and_rivals(oid: u32) -> Vec<Routine> {
    let served = |mut routines: Vec<Routine>| {
        routines.retain(|routine| guc::schema_is_served(&routine.schema));
        routines
    };
    jit::without(|| {
        let mut known = served(routines(Which::One(oid)));
        for _ in 0..MAX_ROUNDS {
            let traits = Traits::of(&known, &guc::URL_PREFIX.text(), guc::default_level());
            if traits.is_empty() {
                return with_signatures(known);
            }
            let mut more = served(routines(Which::Near(&traits)));
            if more.len() <= known.len() {
                return with_signatures(known);
            }
            // Its own name may be one that the query takes for no name.
            std::mem::swap(&mut known, &mut more);
        }
        served(with_signatures(routines(Which::All)))
    })
}

/// A chain of routines, each of which takes the other's URL, that is longer than this is read with everything else.
const MAX_ROUNDS: usize = 4;

fn with_signatures(mut routines: Vec<Routine>) -> Vec<Routine> {
    if guc::CALL_ROLE.optional().is_some() {
        signature::fill_in(&mut routines);
    }
    routines
}

/// The query hands texts over as the bytes that they are in the database, because Postgres' own conversion to UTF-8
/// fails for a database without an encoding (SQL_ASCII), where one comment could then stop the service for all.
fn utf8(bytes: Option<Vec<u8>>) -> String {
    bytes.map(|bytes| from_server(&bytes)).unwrap_or_default()
}

/// Whether the extension is installed in this database, and in this library's version.
pub(crate) fn extension() -> Extension {
    let version = Spi::get_one::<String>(
        "SELECT pg_catalog.max(extversion) FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'pg_sse'",
    );
    match version {
        Ok(Some(version)) if version == VERSION => Extension::Present,
        Ok(Some(_)) => Extension::OtherVersion,
        Ok(None) => Extension::Absent,
        Err(error) => error!("pg_sse: cannot read the installed extensions: {error}"),
    }
}

/// Name of the database this session is connected to.
pub(crate) fn current_database() -> String {
    match Spi::get_one::<Vec<u8>>(
        "SELECT pg_catalog.convert_to(pg_catalog.current_database()::pg_catalog.text, pg_catalog.getdatabaseencoding())",
    ) {
        Ok(name) => utf8(name),
        Err(error) => error!("pg_sse: cannot read the database's name: {error}"),
    }
}
