//! Reading the catalog without just-in-time compilation.
//!
//! The planner cannot guess how few rows its own catalog yields through several joins. It takes the reading
//! for an expensive query, and compiles it: a second and a half of processor time for a query of a third of a
//! second, each time.

use std::ffi::c_int;

use pgrx::pg_sys;

use super::error_room;
use super::want_of_memory::or_raise;

/// Runs `work` with room for its errors, as [`switched_off`] does.
pub(crate) fn without<T>(work: impl FnOnce() -> T) -> T {
    or_raise(error_room::with(|| Ok(switched_off(work))))
}

/// Runs `work` with `jit` off; the session's own value is back afterwards. After an error the end of the
/// (sub)transaction restores it, as for a function with a SET clause (guc.c).
fn switched_off<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: called in a transaction; the level is ended below or by the transaction.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    // SAFETY: NUL-terminated texts that are copied; SAVE keeps the value before for the end of the level.
    unsafe {
        pg_sys::set_config_option(
            c"jit".as_ptr(),
            c"off".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0 as c_int,
            false,
        );
    }
    let outcome = work();
    // SAFETY: the level that was begun above; what `work` began is over.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    outcome
}
