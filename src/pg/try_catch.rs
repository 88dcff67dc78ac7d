//! PG_TRY for the call workers: runs a function, and catches what Postgres raises in it with all of its
//! fields.
//!
//! pgrx' own boundary turns an error into a panic with a few fields; custom SQLSTATEs become XX000. Here the
//! jump ends, and elog.c's stack is left as it is, so that the caller does what PostgresMain does
//! (`call_session.rs`).
//!
//! Not for: code with destructors, and nothing that panics. See [`run`].

use std::ffi::c_int;

use pgrx::pg_sys;

/// How a function ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "after an error nothing may be done before the error state is flushed"]
pub(super) enum Ended {
    /// It returned.
    Normally,
    /// Postgres raised an error, which is on elog.c's stack.
    ByError,
}

/// Runs `body` with `job`.
///
/// # Safety
/// - `body`, and everything of ours that it calls, neither panics nor owns a value with a destructor while it
///   calls something that may raise: an error jumps over its frames.
/// - After [`Ended::ByError`] the caller aborts the transaction and flushes the error state.
/// - Called on this process' one Postgres thread.
pub(super) unsafe fn run<T>(body: unsafe extern "C-unwind" fn(*mut T), job: &mut T) -> Ended {
    // SAFETY: plain variables of elog.c that only this thread uses.
    let exceptions = unsafe { pg_sys::PG_exception_stack };
    // SAFETY: as above.
    let contexts = unsafe { pg_sys::error_context_stack };
    let job: *mut T = job;
    let code: c_int = cee_scape::call_with_sigsetjmp(false, |buffer| {
        let buffer = std::ptr::from_ref(buffer).cast_mut().cast::<pg_sys::sigjmp_buf>();
        // SAFETY: as above; the buffer is this frame's and is taken out of the variable below, before the
        // frame ends.
        unsafe { pg_sys::PG_exception_stack = buffer };
        // SAFETY: `job` is borrowed for this call; the rest is the caller's promise.
        unsafe { body(job) };
        0
    });
    // SAFETY: as above.
    unsafe { pg_sys::PG_exception_stack = exceptions };
    // SAFETY: as above.
    unsafe { pg_sys::error_context_stack = contexts };
    if code == 0 { Ended::Normally } else { Ended::ByError }
}

/// Postgres has raised an error, which is on elog.c's stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Raised;

/// The same as a result.
pub(super) fn raised(ended: Ended) -> Result<(), Raised> {
    match ended {
        Ended::Normally => Ok(()),
        Ended::ByError => Err(Raised),
    }
}
