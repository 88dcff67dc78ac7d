//! Whether the changes of a transaction are visible whose commit record has been flushed.
//!
//! Its process sets the word `PGPROC.xid` to 0 in one step with that (procarray.c), after it has waited for
//! synchronous standbys; `ticket.rs` says why reading it without a lock is enough. Not by
//! `TransactionIdIsInProgress`, which takes a lock, and looks at every process.
//!
//! Not in recovery: there the replayed position says it.

use crate::pg::ticket;

/// Whether nobody can see yet what this transaction has changed, which has committed in the process of this
/// place. Its process id, if that is so.
pub(crate) fn hidden_by(place: u32, xid: u32) -> Option<i32> {
    let place = usize::try_from(place).ok()?;
    (xid != 0 && ticket::xid_at(place) == Some(xid)).then(|| ticket::pid_at(place).unwrap_or(0))
}
