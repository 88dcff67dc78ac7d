//! Hands events to the runtime threads: the one thing of a gateway that belongs to another thread than the main one.
//! Nothing here waits, takes a lock, or costs more with more streams.
//!
//! Not for what becomes of a batch: that begins in `slab`.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::batch::Batch;
use crate::shared::Shared;
use crate::stats::Stats;

/// Batches that wait for one runtime thread. It takes everything at once when it wakes, so more pile up only while it
/// walks its subscribers (tens of milliseconds); then the ring absorbs.
pub(crate) const MAX_WAITING_BATCHES: usize = 64;

/// The one that publishes. There is one for each [`crate::Gateway`], which gives it out when it starts, and it cannot be
/// copied: sequences come from one place, and room that it has seen in a channel stays there.
///
/// Without it the gateway goes on: its streams get nothing new.
pub struct Publisher {
    shared: Arc<Shared>,
    channels: Vec<Sender<Arc<Batch>>>,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>, channels: Vec<Sender<Arc<Batch>>>) -> Self {
        Self { shared, channels }
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
        if self.channels.iter().any(Sender::is_full) {
            return Err(batch);
        }
        Stats::add(&self.shared.stats.events_total, batch.items.len() as u64);
        self.shared.set_published(batch.next_sequence() - 1);
        let batch = Arc::new(batch);
        for (channel, bell) in self.channels.iter().zip(&self.shared.bells) {
            // A thread that has died is told by `Request::Died`.
            let _ = channel.try_send(Arc::clone(&batch));
            bell.ring();
        }
        Ok(())
    }
}
