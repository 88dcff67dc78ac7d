//! Whether the statements that a call worker keeps may rest on something that has changed.
//!
//! Postgres plans a statement anew when a table or a routine in it has changed. It does not when the row type
//! that a routine takes or returns has changed: the statement then goes on with the old columns, and fails
//! (execSRF.c, `tupledesc_match`) or leaves some out. So any change of a routine, type, column or schema
//! makes all statements outdated. Planning one anew takes less than a millisecond; to tell which of them are
//! concerned would take a list of everything in each.
//!
//! Not for dropping them (`call_session.rs`).

use std::cell::Cell;
use std::ffi::c_int;

use pgrx::pg_sys;

thread_local! {
    static STALE: Cell<bool> = const { Cell::new(false) };
}

/// Registers this process' callback.
pub(crate) fn watch() {
    use pg_sys::SysCacheIdentifier as Cache;
    for cache in [Cache::PROCOID, Cache::NAMESPACEOID, Cache::TYPEOID, Cache::ATTNUM] {
        let zero = pg_sys::Datum::from(0);
        // SAFETY: registers a plain function of a library that is never unloaded; four of inval.c's 64
        // places.
        unsafe { pg_sys::CacheRegisterSyscacheCallback(cache as c_int, Some(changed), zero) };
    }
}

/// inval.c calls this at points where nothing may fail; at the latest when the next transaction begins.
unsafe extern "C-unwind" fn changed(_argument: pg_sys::Datum, _cache: c_int, _hash: u32) {
    STALE.set(true);
}

/// As [`take`], but leaves the answer as it is.
pub(crate) fn is_due() -> bool {
    STALE.get()
}

/// Acts as if something had changed.
pub(crate) fn mark() {
    STALE.set(true);
}

/// Whether anything has changed since this was asked last.
pub(crate) fn take() -> bool {
    STALE.replace(false)
}
