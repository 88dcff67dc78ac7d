//! Transactions of our own, which belong to no call: looking at a role, reading the catalog, cleaning up.
//!
//! A role or a database may have defaults for transactions, made for an application. Our transactions are
//! short, must see what is there and must not fail because of such defaults: a serializable deferrable one
//! waits for a safe snapshot (for as long as anybody writes), and PostgreSQL 17's `transaction_timeout` ends
//! the whole process.
//!
//! Not for transactions of calls, which follow the role's defaults; nor for processes in which all
//! transactions are our own (`bgworker::settle_transactions`).

use std::ffi::c_int;

use pgrx::bgworkers::BackgroundWorker;
use pgrx::pg_sys;

use super::{compat, raw};

/// xact.h, `XACT_READ_COMMITTED`
const READ_COMMITTED: c_int = 1;

/// Runs a transaction of our own in a process that has others, too.
pub(crate) fn run<T>(
    transaction: impl FnOnce() -> T + std::panic::UnwindSafe + std::panic::RefUnwindSafe,
) -> T {
    let _defaults = Defaults::set_aside();
    BackgroundWorker::transaction(transaction)
}

/// The session's defaults, which are restored when this is dropped, also after an error.
struct Defaults {
    isolation: c_int,
    is_deferrable: bool,
    waits: Waits,
}

impl Defaults {
    fn set_aside() -> Self {
        // SAFETY: variables of settings that guc.c writes on this thread only, and not before this goes.
        let isolation = unsafe { pg_sys::DefaultXactIsoLevel };
        // SAFETY: as above.
        let is_deferrable = unsafe { pg_sys::DefaultXactDeferrable };
        // SAFETY: as above.
        unsafe { pg_sys::DefaultXactIsoLevel = READ_COMMITTED };
        // SAFETY: as above.
        unsafe { pg_sys::DefaultXactDeferrable = false };
        Self { isolation, is_deferrable, waits: Waits::set_aside() }
    }
}

impl Drop for Defaults {
    fn drop(&mut self) {
        // SAFETY: as in `set_aside`.
        unsafe { pg_sys::DefaultXactIsoLevel = self.isolation };
        // SAFETY: as above.
        unsafe { pg_sys::DefaultXactDeferrable = self.is_deferrable };
        self.waits.restore();
    }
}

/// The session's limits on waiting. Has no destructor: an error may jump over it, and the process then ends.
#[derive(Clone, Copy)]
pub(super) struct Waits {
    lock_timeout: c_int,
    transaction_timeout: c_int,
}

impl Waits {
    fn set_aside() -> Self {
        // SAFETY: as in `Defaults::set_aside`.
        let lock_timeout = unsafe { pg_sys::LockTimeout };
        // SAFETY: as above.
        unsafe { pg_sys::LockTimeout = 0 };
        Self { lock_timeout, transaction_timeout: compat::replace_transaction_timeout(0) }
    }

    fn restore(self) {
        // SAFETY: as above.
        unsafe { pg_sys::LockTimeout = self.lock_timeout };
        compat::replace_transaction_timeout(self.transaction_timeout);
    }
}

/// Begins a transaction of our own, in a function that `try_catch::run` runs and whose errors end the
/// process.
pub(super) fn begin() -> Waits {
    let waits = Waits::set_aside();
    raw::StartTransactionCommand();
    // For this transaction alone; nothing has taken a snapshot yet.
    // SAFETY: variables of xact.c that only this thread uses.
    unsafe { pg_sys::XactIsoLevel = READ_COMMITTED };
    // SAFETY: as above.
    unsafe { pg_sys::XactDeferrable = false };
    waits
}

/// Ends what [`begin`] began.
pub(super) fn commit(waits: Waits) {
    raw::CommitTransactionCommand();
    waits.restore();
}
