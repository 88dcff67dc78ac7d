//! Wakes the one task of a runtime thread from any thread, without a lock.
//!
//! Not a queue: the work lies elsewhere, the bell only says "look".

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;

/// One listener, any number of ringers. Rings that nobody has heard yet are one.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Set by ringers, cleared by the listener. `SeqCst` on both sides pairs with the waker's registration:
    /// either the ringer sees the waker or the listener sees the flag.
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    /// Makes the present or the next [`Bell::heard`] return.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    /// Waits for a ring. Only one task may wait.
    pub(crate) async fn heard(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.rung.swap(false, Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
