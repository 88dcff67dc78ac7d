//! How many connections of a thread are in the middle of something: the thread's end waits for them.
//!
//! Not for limits: these are `admission`'s.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

/// Counts the connections that hyper has.
#[derive(Default)]
pub(crate) struct Busy {
    count: Cell<usize>,
    idle: Notify,
}

impl Busy {
    /// Counts one until the guard is dropped.
    pub(crate) fn begin(self: &Rc<Self>) -> BusyGuard {
        self.count.set(self.count.get() + 1);
        BusyGuard(Rc::clone(self))
    }

    pub(crate) async fn idle(&self, until: Instant) {
        while self.count.get() > 0 {
            tokio::select! {
                () = self.idle.notified() => {}
                () = tokio::time::sleep_until(until.into()) => return,
            }
        }
    }
}

pub(crate) struct BusyGuard(Rc<Busy>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.idle.notify_one();
        }
    }
}
