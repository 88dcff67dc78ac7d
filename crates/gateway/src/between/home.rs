//! Which runtime thread a call waits on: the one that its worker wakes when it has answered.
//!
//! Not for handing anything to that thread.

use std::cell::Cell;

thread_local! {
    static HOME: Cell<Option<usize>> = const { Cell::new(None) };
}

/// This runtime thread, which workers can wake, has this number.
pub(crate) fn set(number: usize) {
    HOME.set(Some(number));
}

/// The number of this thread. `None`: workers cannot wake it, and wake the main thread in its place.
pub(crate) fn here() -> Option<usize> {
    HOME.get()
}
