//! One routine as the catalog has it, for the backend's annotation cache.

use std::ffi::{CStr, c_char, c_int};

use pgrx::datum::Array;
use pgrx::pg_catalog::pg_proc::{PgProc, ProKind, ProParallel, ProVolatile};
use pgrx::{FromDatum, pg_sys};
use sse_proto::annotation::{MAX_COMMENT_BYTES, RoutineKind, Skim};
use sse_proto::call::USER_PARAMETERS;
use sse_proto::encoding::OutOfMemory;
use sse_proto::route::Routine;

use super::text::{from_server, try_from_server};
use super::want_of_memory;

/// What the annotation cache has to know of a routine.
pub(crate) struct Entry {
    /// The hash by which invalidation messages name it.
    pub hash: u32,
    /// The routine, without its signature. Of one without a comment only the oid is known.
    pub routine: Routine,
    /// Its body is SQL, which the planner may put in place of a call.
    pub is_sql: bool,
    /// Test switch only: see the feature `annotate_everything`.
    #[cfg(feature = "annotate_everything")]
    pub is_plpgsql: bool,
}

/// The comment of a routine, as far as it is read (C2.5).
pub(crate) enum Comment {
    /// There is none, or it is prose: too long to be read, and without a line of ours.
    None,
    /// At most [`MAX_COMMENT_BYTES`] as it is stored.
    Text(String),
    /// Longer, and with a line of ours: a mistake. The text is not kept.
    TooLong,
}

impl Entry {
    /// The name for people: schema and name, control characters escaped.
    pub(crate) fn display_name(&self) -> String {
        format!("{}.{}", self.routine.schema.escape_debug(), self.routine.name.escape_debug())
    }
}

impl Comment {
    /// As a [`Routine`] has it: the text, and whether it is too long.
    pub(crate) fn read(self) -> Option<(String, bool)> {
        match self {
            Self::None => None,
            Self::Text(text) => Some((text, false)),
            Self::TooLong => Some((String::new(), true)),
        }
    }
}

/// Oid of the language SQL (pg_language.dat: given by hand, the same in every version).
const SQL_LANGUAGE: u32 = 14;

/// Reads a routine. `None` when there is none of that oid, or it is neither a function nor a procedure.
///
/// # Errors
/// There is no memory for it, and for what its comment says.
pub(crate) fn read(oid: pg_sys::Oid) -> Result<Option<Entry>, OutOfMemory> {
    let key = pg_sys::Datum::from(oid);
    let zero = pg_sys::Datum::from(0);
    let cache = pg_sys::SysCacheIdentifier::PROCOID as c_int;
    // SAFETY: computes a hash of the key; the caller is in a transaction.
    let hash = unsafe { pg_sys::GetSysCacheHashValue(cache, key, zero, zero, zero) };
    let comment = comment(oid)?.read();
    let wanted = comment.is_some() || cfg!(feature = "annotate_everything");
    if !wanted {
        return Ok(Some(Entry {
            hash,
            routine: Routine::new(oid.to_u32(), "", "", ""),
            is_sql: false,
            #[cfg(feature = "annotate_everything")]
            is_plpgsql: false,
        }));
    }
    let Some(proc) = PgProc::new(oid) else { return Ok(None) };
    let (Some(schema), Some(name)) = (schema_of(oid), name_of(oid)) else { return Ok(None) };
    let kind = match proc.prokind() {
        ProKind::Function => RoutineKind::Function,
        ProKind::Procedure => RoutineKind::Procedure,
        _ => return Ok(None),
    };
    let (comment, comment_is_too_long) = comment.unwrap_or_default();
    let routine = Routine {
        kind,
        volatile: matches!(proc.provolatile(), ProVolatile::Volatile),
        parallel_safe: matches!(proc.proparallel(), ProParallel::Safe),
        has_identity_parameters: has_identity_parameters(oid),
        comment_is_too_long,
        ..Routine::new(oid.to_u32(), schema, name, comment)
    };
    Ok(Some(Entry {
        hash,
        routine,
        is_sql: proc.prolang() == pg_sys::Oid::from(SQL_LANGUAGE),
        #[cfg(feature = "annotate_everything")]
        is_plpgsql: is_plpgsql(proc.prolang()),
    }))
}

/// Whether one of its parameters has the name of a user parameter. There may be as many names as its owner
/// likes, so none is copied.
fn has_identity_parameters(oid: pg_sys::Oid) -> bool {
    let cache = pg_sys::SysCacheIdentifier::PROCOID as c_int;
    // SAFETY: a syscache look-up that answers NULL for a missing routine.
    let tuple = unsafe { pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(oid)) };
    if tuple.is_null() {
        return false;
    }
    let (mut is_null, column) = (false, pg_sys::Anum_pg_proc_proargnames as i16);
    // SAFETY: a tuple of that cache, got above.
    let names = unsafe { pg_sys::SysCacheGetAttr(cache, tuple, column, &mut is_null) };
    // SAFETY: this column is text[]; the tuple is released below, behind the last use.
    let names = unsafe { Array::<&[u8]>::from_datum(names, is_null) };
    let is_of_identity = |name: &[u8]| USER_PARAMETERS.iter().any(|known| known.as_bytes() == name);
    let has_one = names.is_some_and(|names| names.iter().flatten().any(is_of_identity));
    // SAFETY: got from SearchSysCache1 above.
    unsafe { pg_sys::ReleaseSysCache(tuple) };
    has_one
}

/// The comment of a routine, and nothing else of it. For whoever goes through many: a look-up of the routine
/// itself would leave all of it in this process' cache of the catalog, with its body, which may have a
/// gigabyte (catcache.c, CatalogCacheCreateEntry).
///
/// # Errors
/// There is no memory for it, and for what it says.
pub(crate) fn comment(oid: pg_sys::Oid) -> Result<Comment, OutOfMemory> {
    // SAFETY: reads pg_description; the caller is in a transaction that may read the catalog.
    take_comment(unsafe { pg_sys::GetComment(oid, pg_sys::ProcedureRelationId, 0) })
}

/// A routine for people: schema and name, escaped; its oid when it is gone.
pub(crate) fn describe(oid: u32) -> String {
    let routine = pg_sys::Oid::from(oid);
    match (schema_of(routine), name_of(routine)) {
        (Some(schema), Some(name)) => format!("{}.{}", schema.escape_debug(), name.escape_debug()),
        _ => format!("routine {oid}"),
    }
}

/// Whether the routine is in a session's temporary schema, and so concerns nobody else.
pub(crate) fn is_temporary(oid: pg_sys::Oid) -> bool {
    // SAFETY: a syscache look-up that answers InvalidOid for a missing routine.
    let namespace = unsafe { pg_sys::get_func_namespace(oid) };
    // SAFETY: as above; reads the name of the schema.
    unsafe { pg_sys::isAnyTempNamespace(namespace) }
}

fn name_of(oid: pg_sys::Oid) -> Option<String> {
    // SAFETY: a syscache look-up that answers NULL for a missing routine.
    take_text(unsafe { pg_sys::get_func_name(oid) })
}

fn schema_of(oid: pg_sys::Oid) -> Option<String> {
    // SAFETY: as above.
    let namespace = unsafe { pg_sys::get_func_namespace(oid) };
    // SAFETY: as above.
    take_text(unsafe { pg_sys::get_namespace_name(namespace) })
}

#[cfg(feature = "annotate_everything")]
fn is_plpgsql(language: pg_sys::Oid) -> bool {
    // SAFETY: a syscache look-up that answers NULL for a missing language.
    take_text(unsafe { pg_sys::get_language_name(language, true) }).as_deref() == Some("plpgsql")
}

/// Takes over what GetComment answers, and frees it. A comment can have a gigabyte, so a long one is neither
/// copied nor converted, and the session can be cancelled while it is searched.
fn take_comment(text: *mut c_char) -> Result<Comment, OutOfMemory> {
    if text.is_null() {
        return Ok(Comment::None);
    }
    // SAFETY: NUL-terminated, palloc'd in the current context, which outlives this function.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    if bytes.len() <= MAX_COMMENT_BYTES {
        let text_of = |()| try_from_server(bytes);
        let comment = want_of_memory::ask_for(made_of_comment(bytes.len())).and_then(text_of);
        // SAFETY: as above; not used any more.
        unsafe { pg_sys::pfree(text.cast()) };
        return comment.map(Comment::Text);
    }
    let mut skim = Skim::new(bytes);
    let is_ours = loop {
        match skim.look(LOOK_BYTES) {
            Some(is_ours) => break is_ours,
            None => {
                pgrx::check_for_interrupts!();
            }
        }
    };
    // SAFETY: as above; not used any more.
    unsafe { pg_sys::pfree(text.cast()) };
    Ok(if is_ours { Comment::TooLong } else { Comment::None })
}

/// A comment, what it says, and what is wrong with it have at most so many times its bytes: a role of one
/// letter is a text of its own, and a problem of two has a sentence.
const TEXT_FACTOR: usize = 32;

/// What is wrong with it, half a hundred of sentences, and everything else that is read of a routine, is
/// less.
const ROUTINE_BYTES: usize = 64 * 1024;

/// The memory that a comment of so many bytes takes, with what is made of it, at the most.
pub(crate) fn made_of_comment(bytes: usize) -> usize {
    TEXT_FACTOR * bytes + ROUTINE_BYTES
}

/// How many bytes of a long comment are searched between two checks for interrupts: a millisecond's worth.
const LOOK_BYTES: usize = 1 << 20;

/// Takes over a palloc'd text in the database's encoding, as UTF-8, and frees it.
fn take_text(text: *mut c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the functions above answer NULL or a NUL-terminated copy that is the caller's.
    let utf8 = from_server(unsafe { CStr::from_ptr(text) }.to_bytes());
    // SAFETY: palloc'd by the functions above, not used any more.
    unsafe { pg_sys::pfree(text.cast()) };
    Some(utf8)
}
