//! An error of Postgres' in a process that runs no transactions.

use pgrx::pg_sys;

use crate::pg::{raw, try_catch};

/// Logs the error that was caught, and takes it away, with the locks that it has left: there is no
/// transaction that would do it.
pub(super) fn forget() {
    unsafe extern "C-unwind" fn run(_: *mut u8) {
        raw::EmitErrorReport();
        raw::FlushErrorState();
    }
    // SAFETY: a context that lives as long as this process.
    let top = unsafe { pg_sys::TopMemoryContext };
    // SAFETY: as above.
    unsafe { pg_sys::CurrentMemoryContext = top };
    // SAFETY: the body has no destructors. An error while reporting one ends in elog.c's own stack.
    let _ = unsafe { try_catch::run(run, &mut 0) };
    // SAFETY: as the auxiliary processes do it after an error (walwriter.c).
    unsafe { pg_sys::LWLockReleaseAll() };
}
