//! How many things this process did that cannot be rolled back any more, which a call worker has to know
//! before it runs a call a second time (`call_recovery.rs`); and how many events it has sent, or lost on the
//! way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

// Of this process' one Postgres thread alone; atomic so that no `static mut` is needed, and not thread-local,
// because that is a call for each access in a library.

/// Number of this process' commits, and of its events that were sent without waiting for a commit.
static EFFECTS: AtomicU64 = AtomicU64::new(0);
/// Number of this process' events that are in the ring, or found no room there: subscribers get a gap in
/// their place.
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// The number so far. Only its growth means anything.
pub(crate) fn count() -> u64 {
    EFFECTS.load(Relaxed)
}

/// A transaction has committed, or an event was sent that no rollback takes back. Allocates nothing, cannot
/// fail.
pub(crate) fn add() {
    EFFECTS.store(EFFECTS.load(Relaxed).wrapping_add(1), Relaxed);
}

/// The number of events so far. Only its growth means anything.
pub(crate) fn events() -> u64 {
    EVENTS.load(Relaxed)
}

/// This many events have come into the ring, or found no room there. Allocates nothing, cannot fail.
pub(crate) fn add_events(count: u64) {
    EVENTS.store(EVENTS.load(Relaxed).wrapping_add(count), Relaxed);
}
