//! Where connection tasks leave streams for their thread's slab, and let it go first.
//!
//! Not for letting them in: that is `admit`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use tokio::task::yield_now;

use crate::batch::Batch;
use crate::bell::Bell;
use crate::subscribe::Newcomer;

/// Rounds of its thread that [`Incoming::give_way`] waits at most: in one the slab gets its turn, unless it is in the middle
/// of a long one already. More would starve requests while events come without a pause.
const TURNS: usize = 2;

/// Streams that the connection tasks of this thread have handed over.
pub(crate) struct Incoming {
    pub(super) queue: RefCell<Vec<Newcomer>>,
    pub(super) bell: Arc<Bell>,
    /// The slab's. Only looked at: whether events wait.
    batches: Receiver<Arc<Batch>>,
}

impl Incoming {
    pub(crate) fn new(bell: Arc<Bell>, batches: Receiver<Arc<Batch>>) -> Rc<Self> {
        Rc::new(Self { queue: RefCell::default(), bell, batches })
    }

    /// Gives the slab its turn if events wait for it: they go before what is costly about a request. For newcomers nobody
    /// gives way: a thousand that come at once would all be half read at the same time, and take memory for it.
    pub(crate) async fn give_way(&self) {
        for _ in 0..TURNS {
            if self.batches.is_empty() {
                return;
            }
            yield_now().await;
        }
    }

    pub(crate) fn push(&self, newcomer: Newcomer) {
        self.queue.borrow_mut().push(newcomer);
        self.bell.ring();
    }
}
