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
//! That costs one more reading, whose set is the same, and which does not make the set doubtful again; so
//! temporary tables cannot keep the reading going. A backend that did not find something in the set checks at
//! its commit that it is still the same set.
//!
//! If a bit is set for something else, that costs a reading. If a bit were missing, outdated routes would be
//! kept; that does not happen, because everything of one reading is entered before its set holds.
//!
//! Not for: what is done with an announcement (`worker/gateway/reader.rs`).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use pgrx::pg_sys;

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
}

/// The set; the head of this file explains it. Written by the catalog worker, one at a time; read by every
/// backend.
#[repr(C)]
pub(crate) struct Watched {
    /// Whether a catalog worker is in [`Watched::replace`]. For a moment there are two workers, when the
    /// gateway is started again while the worker of the old one is still reading. If it wrote its older set
    /// into the newer one, bits would be missing while that set holds. A worker cannot end in there (nothing
    /// allocates, fails or looks at signals), unless all of the shared memory is made anew.
    writing: AtomicBool,
    /// Odd while the bits are written; a different number whenever they have changed.
    version: AtomicU64,
    /// The number of certain changes for which the set holds; 0 is none.
    holds_for: AtomicU64,
    bits: [AtomicU64; WORDS],
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            writing: AtomicBool::new(false),
            version: AtomicU64::new(0),
            holds_for: AtomicU64::new(0),
            bits: [const { AtomicU64::new(0) }; WORDS],
        }
    }
}

/// A set that is being put together.
pub(crate) struct Set(Vec<u64>);

impl Set {
    /// An empty set.
    pub(crate) fn new() -> Self {
        Self(vec![0; WORDS])
    }

    /// Enters what inval.c calls `hash`.
    pub(crate) fn add(&mut self, kind: Kind, hash: u32) {
        for (word, bit) in places(kind, hash) {
            self.0[word] |= bit;
        }
    }
}

/// The result of a look at the set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    InIt,
    /// Not in the set, which has this version.
    NotInIt(u64),
    /// The set does not hold at the moment.
    Unknown,
}

impl Watched {
    /// Replaces the set with one that holds for this many certain changes, unless the present one holds for
    /// more. `false`: another worker is replacing it.
    pub(crate) fn replace(&self, set: &Set, certain: u64) -> bool {
        if self.writing.swap(true, SeqCst) {
            return false;
        }
        if self.holds_for.load(SeqCst) <= certain {
            self.write(set, certain);
        }
        self.writing.store(false, SeqCst);
        true
    }

    fn write(&self, set: &Set, certain: u64) {
        let is_same = self.bits.iter().zip(&set.0).all(|(bits, new)| bits.load(SeqCst) == *new);
        if is_same {
            self.holds_for.store(certain, SeqCst);
            return;
        }
        let odd = self.version.fetch_add(1, SeqCst) + 1;
        for (bits, new) in self.bits.iter().zip(&set.0) {
            bits.store(*new, SeqCst);
        }
        self.holds_for.store(certain, SeqCst);
        self.version.store(odd + 1, SeqCst);
    }

    fn look(&self, kind: Kind, hash: u32, certain: u64) -> Found {
        let version = self.version.load(SeqCst);
        if !self.holds(version, certain) {
            return Found::Unknown;
        }
        // 0 is inval.c's hash for everything.
        let is_in_it = hash == 0
            || places(kind, hash).iter().all(|(word, bit)| self.bits[*word].load(SeqCst) & bit != 0);
        match is_in_it {
            true => Found::InIt,
            false if self.version.load(SeqCst) == version => Found::NotInIt(version),
            false => Found::Unknown,
        }
    }

    fn holds(&self, version: u64, certain: u64) -> bool {
        version.is_multiple_of(2)
            && self.version.load(SeqCst) == version
            && self.holds_for.load(SeqCst) == certain
    }
}

fn places(kind: Kind, hash: u32) -> [(usize, u64); 2] {
    // The finishing steps of splitmix64: every bit of the input moves every bit of the result.
    let mut mixed = u64::from(kind as u32) << 32 | u64::from(hash);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    [mixed, mixed >> 32].map(|half| {
        let place = half as usize % (WORDS * 64);
        (place / 64, 1 << (place % 64))
    })
}

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
    let _ = MINE.try_with(|mine| match watched.look(kind, hash, certain) {
        Found::InIt if kind == Kind::Relation => mine.relation.set(true),
        Found::InIt => mine.concerns.set(true),
        Found::NotInIt(version) if mine.version.get().is_none_or(|seen| seen == version) => {
            mine.version.set(Some(version));
        }
        Found::NotInIt(_) | Found::Unknown => mine.unclear.set(true),
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
        Kind::Relation => return oid,
    };
    let zero = pg_sys::Datum::from(0);
    // SAFETY: computes a hash of the key; the caller is in a transaction.
    unsafe { pg_sys::GetSysCacheHashValue(cache as i32, pg_sys::Datum::from(oid as usize), zero, zero, zero) }
}
