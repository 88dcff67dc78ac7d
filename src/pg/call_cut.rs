//! What the snapshot of a run has seen, taken from the snapshot itself (C7.6).
//!
//! Not by `pg_current_snapshot()`: during recovery the running transactions stand elsewhere in a snapshot
//! (procarray.c, GetSnapshotData), and that function does not look there.
//!
//! Not for what is made of it: that is `sse_proto::call::Cut`.

use std::ptr::null_mut;
use std::slice;

use pgrx::pg_sys;
use sse_proto::call::Cut;

use super::raw;
use super::try_catch::{self, Raised, raised};

struct Taken {
    snapshot: pg_sys::Snapshot,
    /// The next transaction's full number, read after the snapshot was taken: above all numbers in it.
    next: u64,
}

/// What the snapshot of this transaction sees, which is taken now if it was not before. `None`: there is no
/// memory for it. The transaction must be REPEATABLE READ, so that all its statements see the same.
///
/// # Errors
/// Postgres has raised an error.
pub(super) fn take() -> Result<Option<Cut>, Raised> {
    let mut taken = Taken { snapshot: null_mut(), next: 0 };
    // SAFETY: the function owns nothing, and a transaction is running.
    raised(unsafe { try_catch::run(take_snapshot, &mut taken) })?;
    // SAFETY: the snapshot of a REPEATABLE READ transaction stays as long as the transaction does (snapmgr.c,
    // GetTransactionSnapshot), which has not ended.
    let Some(snapshot) = (unsafe { taken.snapshot.as_ref() }) else { return Ok(None) };
    // Top-level transactions alone count, and these are all in `xip`, however many subtransactions there are;
    // during recovery both kinds are in `subxip`, and `xip` is empty.
    let (list, count) = match snapshot.takenDuringRecovery {
        false => (snapshot.xip, usize::try_from(snapshot.xcnt).unwrap_or(0)),
        true => (snapshot.subxip, usize::try_from(snapshot.subxcnt).unwrap_or(0)),
    };
    let running: &[pg_sys::TransactionId] = if list.is_null() || count == 0 {
        &[]
    } else {
        // SAFETY: an array of that many (snapshot.h), as old as the snapshot.
        unsafe { slice::from_raw_parts(list, count) }
    };
    let full = |xid: pg_sys::TransactionId| widen(number(xid), taken.next);
    let mut numbers = Vec::new();
    if numbers.try_reserve_exact(running.len()).is_err() {
        return Ok(None);
    }
    numbers.extend(running.iter().map(|xid| full(*xid)));
    Ok(Some(Cut::new(full(snapshot.xmin), full(snapshot.xmax), numbers)))
}

unsafe extern "C-unwind" fn take_snapshot(job: *mut Taken) {
    let snapshot = raw::GetTransactionSnapshot();
    let next = raw::ReadNextFullTransactionId().value;
    // SAFETY: `try_catch::run` passes its borrow.
    let job = unsafe { &mut *job };
    *job = Taken { snapshot, next };
}

fn number(xid: pg_sys::TransactionId) -> u32 {
    xid.into_inner()
}

/// The full number of a transaction, of which `xid` is the lower half. All transactions in a snapshot are
/// older than `next`, and by less than the half of all numbers that there are.
fn widen(xid: u32, next: u64) -> u64 {
    let full = (next & !0xffff_ffff) | u64::from(xid);
    if full > next { full.saturating_sub(1 << 32) } else { full }
}

#[cfg(test)]
mod tests {
    use super::widen;

    #[test]
    fn a_number_is_of_this_epoch_or_the_one_before() {
        for (xid, next, full) in [
            (3, 10, 3),
            (10, 10, 10),
            (3, (7 << 32) | 10, (7 << 32) | 3),
            (10, (7 << 32) | 10, (7 << 32) | 10),
            (11, (7 << 32) | 10, (6 << 32) | 11),
            (u32::MAX, (7 << 32) | 3, (7 << 32) - 1),
        ] {
            assert_eq!(widen(xid, next), full, "{xid} {next}");
        }
    }
}
