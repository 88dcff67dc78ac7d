//! What inval.c calls when the catalog has changed, in this transaction or in another.
//!
//! Functions that are given when watching begins are called with what has changed: the caches above know this
//! file, which does not know them.
//!
//! Not for: which changes concern what is served (`watched.rs`), and a call worker's plans
//! (`stale_plans.rs`).

use std::cell::Cell;
use std::ffi::c_int;

use pgrx::{pg_guard, pg_sys};

use crate::pg::shmem;
use crate::pg::watched::{self, Kind};

thread_local! {
    static DROP_CACHED: Cell<Option<fn(u32)>> = const { Cell::new(None) };
    static TABLE_CHANGED: Cell<Option<fn(u32)>> = const { Cell::new(None) };
    static IS_REGISTERED: Cell<bool> = const { Cell::new(false) };
    static ROLE_CHANGED: Cell<Option<fn()>> = const { Cell::new(None) };
    static REPLAYED: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Watches for changes of routines and of what they rest on.
///
/// `drop_cached` is then called with what an invalidation names: a hash value, or 0 for everything. It may
/// neither allocate nor fail, and all calls must pass the same function.
pub(crate) fn watch(drop_cached: fn(u32)) {
    DROP_CACHED.set(Some(drop_cached));
    register();
}

/// Watches for changes of tables, their triggers and constraints included, and of names of schemas.
///
/// `changed` is then called with the table's oid, or 0 for all of them. It may neither allocate nor fail, and
/// all calls must pass the same function.
pub(crate) fn watch_tables(changed: fn(u32)) {
    TABLE_CHANGED.set(Some(changed));
    register();
}

/// Watches, in a process of a standby that changes nothing itself, for what is replayed of others' changes:
/// they count as if this process had made them, and are announced when its transaction ends.
///
/// `routine_changed` is then called for each change of a routine, whether it is served or not: a comment
/// makes one that was not known before. It may neither allocate nor fail.
pub(crate) fn follow(routine_changed: fn()) {
    REPLAYED.set(Some(routine_changed));
    register();
}

/// Registers this backend's callbacks, once.
fn register() {
    if IS_REGISTERED.replace(true) {
        return;
    }
    use pg_sys::SysCacheIdentifier as Cache;
    let zero = pg_sys::Datum::from(0);
    let caches = [Cache::PROCOID, Cache::NAMESPACEOID, Cache::TYPEOID, Cache::ATTNUM, Cache::ENUMOID];
    for cache in caches.into_iter().chain([Cache::RELNAMENSP]) {
        // SAFETY: registers a plain function of a library that is never unloaded; six of inval.c's 64
        // places.
        unsafe { pg_sys::CacheRegisterSyscacheCallback(cache as c_int, Some(invalidated), zero) };
    }
    // SAFETY: as above; one of inval.c's ten places for relations, of which core takes three.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(relation_invalidated), zero) };
}

/// inval.c calls this for changes of this transaction and of others, at points where nothing may fail.
#[pg_guard]
unsafe extern "C-unwind" fn invalidated(_argument: pg_sys::Datum, cache: c_int, hash: u32) {
    use pg_sys::SysCacheIdentifier as Cache;
    if cache == Cache::ATTNUM as c_int {
        watched::columns_changed();
        return;
    }
    if cache == Cache::ENUMOID as c_int {
        // Which enum it was cannot be told from the hash of one of its labels.
        touched(Kind::EveryEnum, watched::EVERY);
        return;
    }
    if cache == Cache::RELNAMENSP as c_int {
        touched(Kind::TableName, hash);
        return;
    }
    let kind = match cache {
        cache if cache == Cache::PROCOID as c_int => Kind::Routine,
        cache if cache == Cache::NAMESPACEOID as c_int => Kind::Schema,
        _ => Kind::Type,
    };
    if kind == Kind::Routine
        && let Some(changed) = REPLAYED.get()
    {
        changed();
    }
    if kind == Kind::Schema
        && let Some(changed) = TABLE_CHANGED.get()
    {
        changed(0);
    }
    if kind != Kind::Type
        && let Some(drop_cached) = DROP_CACHED.get()
    {
        drop_cached(if kind == Kind::Routine { hash } else { 0 });
    }
    touched(kind, hash);
}

/// As above, for relations.
#[pg_guard]
unsafe extern "C-unwind" fn relation_invalidated(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    if let Some(changed) = TABLE_CHANGED.get() {
        changed(relation.to_u32());
    }
    touched(Kind::Relation, relation.to_u32());
}

fn touched(kind: Kind, hash: u32) {
    // SAFETY: reads a variable of xact.c.
    let transaction = unsafe { pg_sys::GetTopTransactionIdIfAny() };
    // A change of this transaction's own needs a transaction id. A change of another transaction that arrives
    // while this one has an id may be announced once too often, which costs one reading of the routines.
    if (transaction != pg_sys::InvalidTransactionId || REPLAYED.get().is_some())
        && let Some(shared) = shmem::shared()
    {
        watched::touched(&shared.header.watched, kind, hash, shared.certain_changes());
    }
}

/// Registers this process' callback for changes of roles and memberships, once. `changed` is then called, and
/// may neither allocate nor fail.
pub(crate) fn watch_roles(changed: fn()) {
    if ROLE_CHANGED.replace(Some(changed)).is_some() {
        return;
    }
    use pg_sys::SysCacheIdentifier as Cache;
    for cache in [Cache::AUTHOID, Cache::AUTHMEMMEMROLE, Cache::AUTHMEMROLEMEM, Cache::DATABASEOID] {
        let zero = pg_sys::Datum::from(0);
        // SAFETY: registers a plain function of a library that is never unloaded; four of inval.c's 64
        // places.
        unsafe { pg_sys::CacheRegisterSyscacheCallback(cache as c_int, Some(role_changed), zero) };
    }
}

/// inval.c calls this at points where nothing may fail.
unsafe extern "C-unwind" fn role_changed(_argument: pg_sys::Datum, _cache: c_int, _hash: u32) {
    if let Some(changed) = ROLE_CHANGED.get() {
        changed();
    }
}
