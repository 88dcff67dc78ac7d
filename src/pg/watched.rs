//! Which changes of the catalog concern the routines that are served.
//!
//! inval.c tells every backend what its transaction changes, whatever statement it follows from: routines,
//! schemas, types, relations, but only by the hash of an oid. Most of it does not matter here (temporary
//! tables above all). So the catalog worker leaves in shared memory what its reading rests on: the annotated
//! routines; the types that routines with an `HTTP` line take and return, in full depth; the relations of
//! these types; and the schemas of all of them. A transaction that touches none of it announces nothing.
//!
//! The set holds for one number of certain changes (`Header::certain_changes`), because a new routine may use
//! types that are not in it yet. While the set does not hold, a change is announced as one that may matter.
//! That costs one more reading, and does not make the set doubtful again; so temporary tables cannot keep the
//! reading going. A backend that did not find something in the set checks at its commit that it is still the
//! same set. If that reading has found more than the one before, what changed since its snapshot may have
//! been looked for in the wrong set: it is followed by another one.
//!
//! If a bit is set for something else, that costs a reading. If a bit were missing, outdated routes would be
//! kept; that does not happen, because everything of one reading is entered before its set holds.
//!
//! Not for: what is done with an announcement (`worker/gateway/reader.rs`).

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys;
use sse_ring::{Look, Marks, SharedSet};

/// 64 kB of bits, two for each entry. With 10,000 routines and 3,000 tables, one change in two hundred is
/// wrongly taken for one that matters; with a thousand routines hardly any. With more routines there are more
/// such changes, which costs readings and nothing else.
const WORDS: usize = 8 * 1024;

/// What an oid belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Kind {
    /// `pg_proc`
    Routine = 1,
    /// `pg_namespace`
    Schema = 2,
    /// `pg_type`
    Type = 3,
    /// `pg_class`, for the columns of row types
    Relation = 4,
    /// Entered, with the hash [`EVERY`], when every routine and every schema matters: comments name functions
    /// that may come and go, and a schema may get the name that they look in.
    EveryRoutine = 5,
    /// `pg_enum`. Entered, with the hash [`EVERY`], when a client is served: it has the labels of enums.
    EveryEnum = 6,
    /// `pg_class`, for everything of a table: triggers, keys, owner. Entered when a client is served, of the
    /// tables whose names are topics of streams.
    Table = 7,
    /// The name of a table, whether there is one or not; entered with those.
    TableName = 8,
}

/// Stands for all routines and schemas, and for all enums.
pub(crate) const EVERY: u32 = 1;

/// The set; the head of this file explains it. Written by the catalog worker; read by every backend. For a
/// moment there may be two such workers, when the gateway is started again while the worker of the one before
/// is still reading: the set keeps them apart.
pub(crate) type Watched = SharedSet<WORDS>;

/// A set that is being put together. What inval.c calls a hash is entered with [`Kind`] as its kind.
pub(crate) type Set = Marks<WORDS>;

/// What the running transaction has changed, as far as it is known before its commit. All of this belongs to
/// one process, and is called where nothing may allocate or fail.
#[derive(Default)]
struct Mine {
    /// Something in the set was changed, other than a relation.
    concerns: Cell<bool>,
    /// A relation in the set was changed.
    relation: Cell<bool>,
    /// Columns of some relation were changed. A relation that was only touched by ANALYZE, VACUUM or an index
    /// keeps its columns.
    columns: Cell<bool>,
    /// The version of the set in which other changes were not found; `None` before the first.
    version: Cell<Option<u64>>,
    /// Something was changed while the set did not hold, or the set has been replaced since.
    unclear: Cell<bool>,
}

thread_local! {
    static MINE: Mine = const {
        Mine {
            concerns: Cell::new(false),
            relation: Cell::new(false),
            columns: Cell::new(false),
            version: Cell::new(None),
            unclear: Cell::new(false),
        }
    };
}

/// What a committed transaction means to the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// It concerns no served routine.
    None,
    /// It may concern one.
    Possible,
    /// It concerns one.
    Certain,
}

/// The running transaction has changed something. `certain` is the present number of certain changes.
pub(crate) fn touched(watched: &Watched, kind: Kind, hash: u32, certain: u64) {
    if kind == Kind::Relation {
        touched(watched, Kind::Table, hash, certain);
    }
    let found = match watched.look(kind as u32, hash, certain) {
        Look::NotInIt(version) if matches!(kind, Kind::Routine | Kind::Schema) => {
            match watched.look(Kind::EveryRoutine as u32, EVERY, certain) {
                // Between the two looks the set may have been replaced.
                Look::NotInIt(other) if other != version => Look::Unknown,
                found => found,
            }
        }
        found => found,
    };
    let found = match found {
        // 0 is inval.c's hash for everything.
        Look::NotInIt(_) if hash == 0 => Look::InIt,
        found => found,
    };
    let _ = MINE.try_with(|mine| match found {
        Look::InIt if kind == Kind::Relation => mine.relation.set(true),
        Look::InIt => mine.concerns.set(true),
        Look::NotInIt(version) if mine.version.get().is_none_or(|seen| seen == version) => {
            mine.version.set(Some(version));
        }
        Look::NotInIt(_) | Look::Unknown => mine.unclear.set(true),
    });
}

/// The running transaction has changed columns.
pub(crate) fn columns_changed() {
    let _ = MINE.try_with(|mine| mine.columns.set(true));
}

/// Called at the end of the transaction, however it ends: what it changed. The answer is given once. Its
/// changes are visible to others by now.
pub(crate) fn take(watched: &Watched, certain: u64) -> Change {
    let change = MINE.try_with(|mine| {
        let (concerns, relation) = (mine.concerns.take(), mine.relation.take());
        let (columns, unclear) = (mine.columns.take(), mine.unclear.take());
        let version = mine.version.take();
        if concerns || relation && columns {
            Change::Certain
        } else if unclear || version.is_some_and(|version| !watched.holds(version, certain)) {
            Change::Possible
        } else {
            Change::None
        }
    });
    change.unwrap_or(Change::Certain)
}

/// The hash by which inval.c names this oid. The caller is in a transaction.
pub(crate) fn hash_of(kind: Kind, oid: u32) -> u32 {
    use pg_sys::SysCacheIdentifier as Cache;
    let cache = match kind {
        Kind::Routine => Cache::PROCOID,
        Kind::Schema => Cache::NAMESPACEOID,
        Kind::Type => Cache::TYPEOID,
        Kind::Relation | Kind::Table => return oid,
        // Known by its name ([`hash_of_name`]), and so entered as everything.
        Kind::EveryRoutine | Kind::EveryEnum | Kind::TableName => return EVERY,
    };
    let zero = pg_sys::Datum::from(0);
    // SAFETY: computes a hash of the key; the caller is in a transaction.
    unsafe { pg_sys::GetSysCacheHashValue(cache as i32, pg_sys::Datum::from(oid as usize), zero, zero, zero) }
}

/// The hash by which inval.c names the table of this name in this schema. The caller is in a transaction.
pub(crate) fn hash_of_name(name: &CStr, schema: u32) -> u32 {
    let cache = pg_sys::SysCacheIdentifier::RELNAMENSP as i32;
    let (name, schema) = (pg_sys::Datum::from(name.as_ptr()), pg_sys::Datum::from(schema as usize));
    let zero = pg_sys::Datum::from(0);
    // SAFETY: computes a hash of the key, of whose first part it reads a NUL-terminated text (catcache.c,
    // `namehashfast`), which lives as long as the call; the caller is in a transaction.
    unsafe { pg_sys::GetSysCacheHashValue(cache, name, schema, zero, zero) }
}
