//! Pushing: what a backend does inside its log hook.
//!
//! Not for: deciding what a refused push means; the caller waits, drops and counts.

use crate::layout::{ASLEEP, AWAKE, Word, footprint, max_record_bytes};
use crate::region::Ring;
use crate::sync::{Ordering, fence};
use std::fmt;

/// Whether the caller has to wake the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a consumer that is not woken sleeps over the record"]
pub enum Wake {
    /// The consumer sleeps, and this caller alone has taken on the duty to wake it.
    Needed,
    /// It is awake, or somebody else wakes it.
    NotNeeded,
}

/// Why a record was refused. Nothing of it is in the ring then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// There is no room now.
    Full,
    /// Longer than [`Producer::max_record_bytes`]: there will never be room.
    TooLarge,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the ring is full",
            Self::TooLarge => "the record is too large for the ring",
        })
    }
}

impl std::error::Error for PushError {}

/// The producers' side. A plain handle: copied freely, shared between threads.
#[derive(Clone, Copy)]
pub struct Producer<'m> {
    ring: Ring<'m>,
}

impl<'m> Producer<'m> {
    pub(crate) fn new(ring: Ring<'m>) -> Self {
        Self { ring }
    }

    /// Puts a record into the ring. Never waits, never allocates, never panics; takes one copy of the bytes
    /// and a handful of atomic operations. Records of one producer come out in the order of its pushes.
    ///
    /// # Errors
    /// [`PushError::Full`] (counted in `full_total`; say [`Producer::count_dropped`] when you give up),
    /// [`PushError::TooLarge`].
    pub fn try_push(&self, record: &[u8]) -> Result<Wake, PushError> {
        self.push(record, || {})
    }

    /// Like [`Producer::try_push`], but calls a function between reserving and committing: while it runs,
    /// this producer is one that was stopped there. Only for tests of that.
    ///
    /// # Errors
    /// Those of [`Producer::try_push`]; nothing is done then.
    #[cfg(any(test, feature = "faults"))]
    #[doc(hidden)]
    pub fn push_stopped(&self, record: &[u8], meanwhile: impl FnOnce()) -> Result<Wake, PushError> {
        self.push(record, meanwhile)
    }

    fn push(&self, record: &[u8], meanwhile: impl FnOnce()) -> Result<Wake, PushError> {
        if record.len() > self.max_record_bytes() {
            return Err(PushError::TooLarge);
        }
        let counters = &self.ring.header().producers.0;
        let Some(reserved) = self.reserve(footprint(record.len())) else {
            counters.full_total.fetch_add(1, Ordering::Relaxed);
            return Err(PushError::Full);
        };

        // Reserved, not committed: from here to the second store nothing may allocate, log, call out or
        // unwind.
        if reserved.pad_bytes > 0 {
            self.ring.word(reserved.start).store(Word::Pad.bits(reserved.start), Ordering::Release);
        }
        let position = reserved.start + reserved.pad_bytes;
        meanwhile();
        self.ring.write(position, record);
        let word = Word::Record { bytes: record.len() };
        self.ring.word(position).store(word.bits(position), Ordering::Release);

        counters.pushed_total.fetch_add(1, Ordering::Relaxed);
        counters.pushed_bytes_total.fetch_add(record.len() as u64, Ordering::Relaxed);
        Ok(self.take_wake_duty())
    }

    /// Counts `records` that were given up. A consumer that sees a later record of this thread sees this
    /// count, too. A sleeping consumer is woken for it, because the loss must be reported even if nothing
    /// follows.
    pub fn count_dropped(&self, records: u64) -> Wake {
        self.ring.header().producers.0.dropped_total.fetch_add(records, Ordering::Relaxed);
        self.take_wake_duty()
    }

    /// Whether the consumer has to be woken for work outside the ring, at which it looks between
    /// [`crate::Consumer::prepare_to_sleep`] and its sleep: leave the work there first, then call this.
    pub fn take_wake_duty(&self) -> Wake {
        let sleeping = &self.ring.header().sleep.0.sleeping;
        fence(Ordering::SeqCst);
        // Read first: a swap at every push would make all producers fight for this line too.
        if sleeping.load(Ordering::Relaxed) == ASLEEP && sleeping.swap(AWAKE, Ordering::Relaxed) == ASLEEP {
            return Wake::Needed;
        }
        Wake::NotNeeded
    }

    /// Bytes that nobody has reserved, at some moment during the call. A record takes 8 bytes more than its
    /// length, filled up to 8, and up to as much again at the end of the data: this is a measure, no promise.
    pub fn free_bytes(&self) -> usize {
        let stats = self.ring.stats();
        (stats.capacity_bytes - stats.used_bytes) as usize
    }

    /// Whether at most `most` bytes would be reserved with one more record of `record_bytes`, at some moment
    /// during the call; always true for an empty ring. For producers that leave the rest of the ring to
    /// others. The pad before a record that meets the end of the data, which is smaller than the record, is
    /// not counted.
    pub fn is_within(&self, most: usize, record_bytes: usize) -> bool {
        let used = self.ring.stats().used_bytes as usize;
        used == 0 || used.saturating_add(footprint(record_bytes)) <= most
    }

    /// Longest record: about half of the capacity, so that an empty ring takes it wherever its positions
    /// stand.
    pub fn max_record_bytes(&self) -> usize {
        max_record_bytes(self.ring.capacity())
    }

    /// Moves `head` over `bytes` contiguous bytes and the pad they need; `None` when there is no room.
    /// Another round means that another producer got through: nobody waits for anybody.
    fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let capacity = self.ring.capacity() as u64;
        let head = &self.ring.header().producers.0.head;
        loop {
            let tail = self.ring.header().consumer.0.tail.load(Ordering::Acquire);
            let start = head.load(Ordering::Relaxed);
            let to_end = self.ring.capacity() - self.ring.offset(start);
            let pad_bytes = if bytes > to_end { to_end as u64 } else { 0 };
            let reserved = pad_bytes + bytes as u64;
            let used = start.wrapping_sub(tail);
            if used > capacity || reserved > capacity - used {
                return None;
            }
            let end = start.wrapping_add(reserved);
            if head.compare_exchange_weak(start, end, Ordering::Release, Ordering::Relaxed).is_ok() {
                return Some(Reserved { start, pad_bytes });
            }
        }
    }
}

struct Reserved {
    start: u64,
    pad_bytes: u64,
}
