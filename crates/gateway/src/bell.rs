//! Wakes the one task of a runtime thread from any thread, without a lock.
//!
//! Not a queue: what there is to do lies elsewhere, the bell only says "look".

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;

/// Rounds of its thread that [`Bell::give_way`] waits at most: in one the listener gets its turn, unless it is in the middle
/// of a long one already. More would starve requests while events come without a pause.
const TURNS: usize = 2;

/// One listener, any number of ringers. Rings that nobody has heard yet are one.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Set by ringers, cleared by the listener. `SeqCst` on both sides pairs with the waker's registration: either the
    /// ringer sees the waker or the listener sees the flag.
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

    /// Gives the listener its turn, if it was rung and has not heard it yet: for another task of its thread that is about
    /// to do something costly.
    pub(crate) async fn give_way(&self) {
        for _ in 0..TURNS {
            if !self.rung.load(Ordering::Relaxed) {
                return;
            }
            tokio::task::yield_now().await;
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
