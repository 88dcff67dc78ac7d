//! The transaction of a call: how it begins, and its commit.
//!
//! Not for what runs in it (`portal.rs`), nor for what becomes of an error (`call_recovery.rs`).

use std::ffi::{CString, c_int};

use pgrx::pg_sys;

use super::call_log::{self, Logged};
use super::{raw, setting};

/// xact.h: XACT_REPEATABLE_READ
const REPEATABLE_READ: c_int = 2;

/// What a call begins and ends with.
pub(super) struct Beginning<'a> {
    pub(super) settings: &'a [(CString, CString)],
    pub(super) logged: Logged<'a>,
    pub(super) was_logged: bool,
    pub(super) timeout: c_int,
    pub(super) read_only: bool,
    /// One snapshot for all of it.
    pub(super) is_snapshot: bool,
}

pub(super) unsafe extern "C-unwind" fn begin(job: *mut Beginning<'_>) {
    // SAFETY: `try_catch::run` passes its borrow.
    let job = unsafe { &mut *job };
    for (name, value) in job.settings {
        // SAFETY: NUL-terminated texts.
        unsafe { setting::set(name, value) };
    }
    if job.read_only {
        // Outside of the transaction, so that the settings hold after a procedure's COMMIT, too.
        // SAFETY: as above.
        unsafe { setting::set(c"default_transaction_read_only", c"on") };
    }
    raw::SetCurrentStatementStartTimestamp();
    raw::StartTransactionCommand();
    if job.is_snapshot {
        // For this transaction alone; nothing has taken a snapshot yet.
        // SAFETY: a variable of xact.c that only this thread uses.
        unsafe { pg_sys::XactIsoLevel = REPEATABLE_READ };
    }
    // SAFETY: a setting of this session that guc.c writes on this thread only.
    let of_role = unsafe { pg_sys::StatementTimeout };
    let timeout = match (job.timeout, of_role) {
        (0, role) => role,
        (call, 0) => call,
        (call, role) => call.min(role),
    };
    job.timeout = timeout;
    if timeout > 0 {
        raw::enable_timeout_after(raw::STATEMENT_TIMEOUT, timeout);
    }
    job.was_logged = call_log::begins(job.logged);
}

pub(super) unsafe extern "C-unwind" fn commit(job: *mut Beginning<'_>) {
    // Deferred triggers are part of the call, and run within its time; the commit finds none.
    raw::AfterTriggerFireDeferred();
    // Cursors WITH HOLD, too: the commit would read them to their end, although nobody can read them later.
    raw::PortalHashTableDeleteAll();
    raw::disable_timeout(raw::STATEMENT_TIMEOUT, false);
    raw::CommitTransactionCommand();
    // SAFETY: `try_catch::run` passes its borrow.
    let job = unsafe { &*job };
    call_log::ended(job.logged, job.was_logged);
}
