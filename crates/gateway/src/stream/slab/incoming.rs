//! Where connection tasks leave streams for their thread's slab, and where the two take turns.
//!
//! Not for letting new streams in: that is `Slab::admit`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::yield_now;

use crate::bell::Bell;
use crate::between::batch::Batch;
use crate::stream::call_ends::CallEnds;
use crate::stream::subscribe::Newcomer;

/// While events wait, the costly part of requests may take this long between two turns of the slab. Each turn
/// lets at least one request through, so that events without a pause starve no requests.
const REQUESTS_PER_TURN: Duration = Duration::from_millis(1);

/// How long a request for a stream waits until the window is read back from the write-ahead log, which takes
/// half a second for a gigabyte. Beyond it it is refused: to an EventSource that is the end.
const READ_BACK_PATIENCE: Duration = Duration::from_secs(30);

/// A request waits for this many rounds of its thread at most: by then the slab has had its turn, unless it
/// has ended.
const MAX_ROUNDS: usize = 4;

/// Streams that the connection tasks of this thread have handed over.
pub(crate) struct Incoming {
    pub(super) queue: RefCell<Vec<Newcomer>>,
    pub(super) bell: Arc<Bell>,
    /// The calls of this thread that wait for their own events.
    pub(crate) call_ends: Rc<CallEnds>,
    /// The slab's channel, looked at only to see whether events wait.
    batches: Receiver<Arc<Batch>>,
    /// The slab waits for its next turn in the middle of bringing events.
    is_bringing: Cell<bool>,
    /// Time that requests have taken since the slab's last turn.
    taken: Cell<Duration>,
    /// Whether streams may begin: the window is read back, as far as it can be.
    pub(super) is_open: watch::Sender<bool>,
    /// Lets one request at a time do its costly part, in the order of arrival: hundreds that give way and
    /// then go on all at once would hold up events for the sum of their costs.
    next: Semaphore,
}

/// Held by a request during its costly part.
pub(crate) struct Turn<'i> {
    incoming: &'i Incoming,
    began: Instant,
    _next: Option<SemaphorePermit<'i>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let taken = &self.incoming.taken;
        taken.set(taken.get().saturating_add(self.began.elapsed()));
    }
}

impl Incoming {
    pub(crate) fn new(bell: Arc<Bell>, batches: Receiver<Arc<Batch>>) -> Rc<Self> {
        Rc::new(Self {
            queue: RefCell::default(),
            bell,
            call_ends: Rc::default(),
            batches,
            is_bringing: Cell::new(false),
            taken: Cell::new(Duration::ZERO),
            is_open: watch::Sender::new(true),
            next: Semaphore::new(1),
        })
    }

    /// Before the costly part of a request: gives the slab its turn if events wait and requests have had
    /// theirs. Not for new streams: if requests gave way to those too, a thousand that come at once would all
    /// be half read at the same time, and hold memory for it.
    pub(crate) async fn give_way(&self) -> Turn<'_> {
        // Never an error: the semaphore is never closed.
        let next = self.next.acquire().await.ok();
        for _ in 0..MAX_ROUNDS {
            let has_events = self.is_bringing.get() || !self.batches.is_empty();
            if !has_events || self.taken.get() < REQUESTS_PER_TURN {
                break;
            }
            yield_now().await;
        }
        Turn { incoming: self, began: Instant::now(), _next: next }
    }

    /// Whether streams may begin, or may within [`READ_BACK_PATIENCE`].
    pub(crate) async fn opens(&self) -> bool {
        self.opens_within(READ_BACK_PATIENCE).await
    }

    async fn opens_within(&self, most: Duration) -> bool {
        if *self.is_open.borrow() {
            return true;
        }
        let mut changes = self.is_open.subscribe();
        let opened = tokio::time::timeout(most, changes.wait_for(|is_open| *is_open)).await;
        opened.is_ok_and(|opened| opened.is_ok())
    }

    /// The slab has its turn.
    pub(super) fn has_turn(&self) {
        self.taken.set(Duration::ZERO);
    }

    /// Gives the other tasks of the thread a turn while the slab brings events.
    pub(super) async fn pause(&self) {
        self.is_bringing.set(true);
        yield_now().await;
        self.is_bringing.set(false);
        self.has_turn();
    }

    pub(crate) fn push(&self, newcomer: Newcomer) {
        self.queue.borrow_mut().push(newcomer);
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stream_waits_for_the_window_and_not_for_ever() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let incoming = Incoming::new(Arc::default(), crossbeam_channel::never());
            assert!(incoming.opens_within(Duration::ZERO).await);
            incoming.is_open.send_replace(false);
            assert!(!incoming.opens_within(Duration::from_millis(5)).await);
            let opens = async {
                yield_now().await;
                incoming.is_open.send_replace(true);
            };
            let (is_open, ()) = tokio::join!(incoming.opens_within(Duration::from_secs(60)), opens);
            assert!(is_open && incoming.opens_within(Duration::ZERO).await);
        });
    }
}
