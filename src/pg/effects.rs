//! How many things this process did that cannot be rolled back any more. A call worker has to know this
//! before it runs a call a second time (`call_recovery.rs`).

use std::cell::Cell;

thread_local! {
    /// Number of this process' commits, and of its events that were sent without waiting for a commit.
    static EFFECTS: Cell<u64> = const { Cell::new(0) };
}

/// The number so far. Only its growth means anything.
pub(crate) fn count() -> u64 {
    EFFECTS.get()
}

/// A transaction has committed, or an event was sent that no rollback takes back. Allocates nothing, cannot
/// fail.
pub(crate) fn add() {
    EFFECTS.set(EFFECTS.get().wrapping_add(1));
}
