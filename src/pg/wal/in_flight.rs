//! Transactions that have an xid and have not ended, as this server knows them: those that it runs, or
//! replays.
//!
//! Not for whether the changes of one of them are visible: `visibility.rs`.

use pgrx::pg_sys;

use super::log_error;
use crate::pg::{raw, try_catch};

unsafe extern "C-unwind" {
    // Raw, as those of `raw.rs`. procarray.h: takes a lock for a moment, allocates nothing.
    safe fn GetOldestTransactionIdConsideredRunning() -> pg_sys::TransactionId;
}

/// See the head of this file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct InFlight {
    /// Whoever gets an xid from now on gets this one or a later one.
    next: u32,
    /// All with an earlier one have ended; perhaps some more have.
    oldest: u32,
}

impl InFlight {
    /// `None`: Postgres has raised an error, which is logged.
    pub(crate) fn look() -> Option<Self> {
        unsafe extern "C-unwind" fn run(job: *mut InFlight) {
            // The first one is not later than the other, also if nothing runs.
            let oldest = GetOldestTransactionIdConsideredRunning().into_inner();
            // The lower half is the xid.
            let next = raw::ReadNextFullTransactionId().value as u32;
            // SAFETY: `try_catch::run` passes its borrow.
            unsafe { *job = InFlight { next, oldest } };
        }
        let mut found = Self::default();
        // SAFETY: the body has no destructors, and does not panic; `forget` follows.
        let ended = try_catch::raised(unsafe { try_catch::run(run, &mut found) });
        if ended.is_err() {
            log_error::forget();
            return None;
        }
        Some(found)
    }

    /// Whether a transaction may have had its xid by then.
    pub(crate) fn may_have_begun(self, xid: u32) -> bool {
        is_before(xid, self.next)
    }

    /// Whether all that may have had an xid at that time have ended by this one.
    pub(crate) fn has_ended_by(self, now: Self) -> bool {
        !is_before(now.oldest, self.next)
    }
}

/// In the order in which xids are given, which wrap (transam.c, `TransactionIdPrecedes`).
fn is_before(xid: u32, other: u32) -> bool {
    xid.wrapping_sub(other) > u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xids_are_compared_across_their_wrap() {
        for (next, before, behind) in [(100, 99, 100), (3, u32::MAX, 3), (u32::MAX, u32::MAX - 1, 3)] {
            let then = InFlight { next, oldest: before };
            assert!(then.may_have_begun(before) && !then.may_have_begun(behind), "{next}");
            assert!(!then.has_ended_by(InFlight { next: behind, oldest: before }), "{next}");
            assert!(then.has_ended_by(InFlight { next: behind, oldest: behind }), "{next}");
        }
    }
}
