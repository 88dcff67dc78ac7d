//! Hands events to the runtime threads: the one part of a gateway that a thread other than the main one owns.
//! Nothing here waits, takes a lock, or costs more with more streams.
//!
//! Not for what becomes of a batch: that begins in `slab`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Sender;

use crate::bell::Bell;
use crate::between::batch::Batch;
use crate::stats::Stats;

/// Batches that wait for one runtime thread. It takes everything at once when it wakes, so more pile up only
/// while it walks its subscribers (tens of milliseconds); then the ring absorbs.
pub(crate) const MAX_WAITING_BATCHES: usize = 64;

/// Publishes events. There is one for each [`crate::Gateway`], handed out when that starts, and it cannot be
/// copied: so sequences come from one place, and room that it has seen in a channel stays free.
///
/// Without it the gateway goes on: its streams get nothing new.
pub struct Publisher {
    stats: Arc<Stats>,
    published: Arc<Published>,
    threads: Vec<RuntimeThread>,
}

/// Where batches are left for one runtime thread.
pub(crate) struct RuntimeThread {
    pub(crate) channel: Sender<Arc<Batch>>,
    pub(crate) bell: Arc<Bell>,
}

/// Last sequence that was published. Written by the publisher before the batch is in any channel, so that a
/// thread that lags does not take an id that another thread has sent for an invented one.
#[derive(Debug, Default)]
pub(crate) struct Published(AtomicU64);

impl Published {
    pub(crate) fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Publisher {
    pub(crate) fn new(stats: Arc<Stats>, published: Arc<Published>, threads: Vec<RuntimeThread>) -> Self {
        Self { stats, published, threads }
    }

    /// Hands a batch to every runtime thread.
    ///
    /// # Errors
    /// The batch itself when one of them has no room: stop draining the ring and try again shortly.
    pub fn try_publish(&mut self, batch: Batch) -> Result<(), Batch> {
        if batch.is_empty() {
            return Ok(());
        }
        // Only this publisher sends, and it is borrowed exclusively: room that is seen here stays.
        if self.threads.iter().any(|thread| thread.channel.is_full()) {
            return Err(batch);
        }
        Stats::add(&self.stats.events_total, batch.items.len() as u64);
        self.published.0.fetch_max(batch.next_sequence() - 1, Ordering::Relaxed);
        let batch = Arc::new(batch);
        for RuntimeThread { channel, bell } in &self.threads {
            // A thread that has died is told by `Errand::Died`.
            let _ = channel.try_send(Arc::clone(&batch));
            bell.ring();
        }
        Ok(())
    }
}
