//! Where connection tasks leave streams for their thread's slab, and where the two take turns.
//!
//! Not for letting new streams in: that is `Slab::admit`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

use crate::bell::Bell;
use crate::between::batch::Batch;
use crate::stream::call_ends::CallEnds;
use crate::stream::subscribe::Newcomer;

/// While events wait, the costly part of requests may take this long between two turns of the slab. Each turn
/// lets at least one request through, so that events without a pause starve no requests.
const REQUESTS_PER_TURN: Duration = Duration::from_millis(1);

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
