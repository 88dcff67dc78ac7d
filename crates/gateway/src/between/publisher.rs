//! Hands events to the runtime threads: the one part of a gateway that a thread other than the main one owns.
//! Nothing here waits, takes a lock, or costs more with more streams.
//!
//! Not for what becomes of a batch: that begins in `slab`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::Sender;
use parking_lot::Mutex;
use sse_proto::place::Place;
use sse_proto::sse::EventId;

use crate::bell::Bell;
use crate::between::batch::Batch;
use crate::between::live::{Live, Reach};
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
    /// Whether an inspector watches.
    live: Arc<Live>,
    threads: Vec<RuntimeThread>,
}

/// Where batches are left for one runtime thread.
pub(crate) struct RuntimeThread {
    pub(crate) channel: Sender<Arc<Batch>>,
    pub(crate) bell: Arc<Bell>,
}

/// The last item that was published. Written by the publisher before the batch is in any channel, so that a
/// thread that lags does not take an id that another thread has sent for an invented one.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Its sequence.
    last: AtomicU64,
    /// Where it is in the write-ahead log. Nothing asks for it in a gateway that keeps its events in memory.
    place: Mutex<Place>,
    /// All items up to this position of the write-ahead log have been published. Written by the publisher
    /// (Release) after their batches, read by the runtime threads (Acquire) before they take batches in.
    read: AtomicU64,
    /// The window was read back from the log. Written by the publisher, read by who asks whether all is well.
    is_read_back: AtomicBool,
    /// The write-ahead log is written up to here as far as this server knows. `None`: events are in memory.
    log_end: Option<&'static AtomicU64>,
}

impl Published {
    pub(crate) fn new(log_end: Option<&'static AtomicU64>) -> Self {
        Self { log_end, ..Self::default() }
    }

    /// Whether events come from the write-ahead log.
    pub(crate) fn is_placed(&self) -> bool {
        self.log_end.is_some()
    }

    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Whether streams may begin: the window is read back, or need not be.
    pub(crate) fn is_read_back(&self) -> bool {
        !self.is_placed() || self.is_read_back.load(Ordering::Relaxed)
    }

    /// Up to which position of the log everything is in the channels by now.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    /// Up to here the write-ahead log is known to be written.
    pub(crate) fn known_end(&self) -> u64 {
        self.log_end.map_or(0, |end| end.load(Ordering::Relaxed).max(self.place.lock().lsn))
    }

    /// The id of the last item.
    pub(crate) fn id(&self, epoch: u64) -> EventId {
        match self.log_end {
            None => EventId::new(epoch, self.last()),
            Some(_) => EventId::at(*self.place.lock()),
        }
    }

    fn note(&self, batch: &Batch) {
        self.last.fetch_max(batch.next_sequence() - 1, Ordering::Relaxed);
        if batch.log_state.as_ref().is_some_and(|state| state.caught_up) {
            self.is_read_back.store(true, Ordering::Relaxed);
        }
        let begin = batch.log_state.as_ref().map(|state| state.begin);
        if let Some(place) = batch.places.last().copied().max(begin) {
            let mut last = self.place.lock();
            *last = place.max(*last);
        }
    }
}

impl Publisher {
    pub(crate) fn new(
        stats: Arc<Stats>,
        published: Arc<Published>,
        live: Arc<Live>,
        threads: Vec<RuntimeThread>,
    ) -> Self {
        Self { stats, published, live, threads }
    }

    /// One without a gateway, whose batches go to the other end of this channel: for tests of those who
    /// publish.
    #[cfg(feature = "faults")]
    pub fn into_channel(channel: Sender<Arc<Batch>>) -> Self {
        let thread = RuntimeThread { channel, bell: Arc::default() };
        Self::new(Arc::default(), Arc::default(), Arc::default(), vec![thread])
    }

    /// All events of the write-ahead log up to this position have been handed over. Whoever has seen more
    /// than that waits; where the log brings no events, this alone lets it go on.
    pub fn has_read(&self, position: u64) {
        self.published.read.fetch_max(position, Ordering::Release);
    }

    /// Hands a batch to every runtime thread.
    ///
    /// # Errors
    /// The batch itself when one of them has no room: stop draining the ring and try again shortly.
    // Rejected: a box, which would be asked for with each batch.
    #[allow(clippy::result_large_err)]
    pub fn try_publish(&mut self, mut batch: Batch) -> Result<(), Batch> {
        if batch.is_empty() {
            return Ok(());
        }
        // Only this publisher sends, and it is borrowed exclusively: room that is seen here stays.
        if self.threads.iter().any(|thread| thread.channel.is_full()) {
            return Err(batch);
        }
        Stats::add(&self.stats.events_total, batch.items.len() as u64);
        self.published.note(&batch);
        if self.live.is_open() {
            batch.reach = Reach::of(batch.items.len(), self.threads.len());
        }
        let batch = Arc::new(batch);
        for RuntimeThread { channel, bell } in &self.threads {
            // A thread that has died is told by `Errand::Died`.
            let _ = channel.try_send(Arc::clone(&batch));
            bell.ring();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    // A thread that is held up, while another one is not: neither may get what the other one does not.
    #[test]
    fn a_thread_that_takes_nothing_has_64_batches_and_the_next_is_handed_back() {
        let (stats, published) = (Arc::<Stats>::default(), Arc::<Published>::default());
        let ((slow, waiting), (fast, taken)) = (bounded(MAX_WAITING_BATCHES), bounded(MAX_WAITING_BATCHES));
        let threads = [slow, fast].map(|channel| RuntimeThread { channel, bell: Arc::default() });
        let mut publisher = {
            let (stats, published) = (Arc::clone(&stats), Arc::clone(&published));
            Publisher::new(stats, published, Arc::default(), threads.into())
        };
        let mut publish = |number: u64| {
            let mut batch = Batch::new(number);
            batch.push_overflow(None);
            let result = publisher.try_publish(batch);
            (result.is_ok(), taken.try_recv().is_ok(), published.last())
        };
        for number in 1..=64 {
            assert_eq!(publish(number), (true, true, number));
        }
        assert_eq!(publish(65), (false, false, 64));
        assert!(waiting.try_recv().is_ok());
        assert_eq!(publish(65), (true, true, 65));
        assert_eq!(stats.events_total.load(Ordering::Relaxed), 65);
    }
}
