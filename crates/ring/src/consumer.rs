//! Taking: what the gateway's courier does each time it wakes up.
//!
//! ```text
//! loop {
//!     let mut batch = consumer.begin()?;
//!     // tell of batch.dropped_total(), then batch.drain(..)? until it takes nothing
//!     if consumer.prepare_to_sleep() { wait to be woken }
//!     consumer.awake();
//! }
//! ```
//!
//! Not for: waiting, and not for what is done with the records.

use crate::layout::{ASLEEP, AWAKE, Word, footprint, max_record_bytes};
use crate::region::Ring;
use crate::sync::{Ordering, fence};
use std::fmt;

/// The ring contradicts itself: something else wrote into shared memory. There is no way to go on with this
/// ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// `head`, `released` and `tail` are not in order, or further apart than the capacity.
    Positions,
    /// The word at this position cannot have been written by a producer.
    Word {
        /// Position in bytes since the ring was made.
        position: u64,
    },
    /// The record at this position ends outside of what has been reserved.
    Length {
        /// Position in bytes since the ring was made.
        position: u64,
        /// Length that its word claims.
        bytes: usize,
    },
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Positions => f.write_str("the positions of the ring contradict each other"),
            Self::Word { position } => write!(f, "the ring has no valid record at position {position}"),
            Self::Length { position, bytes } => {
                write!(f, "the ring's record at position {position} claims {bytes} bytes")
            }
        }
    }
}

impl std::error::Error for Corrupt {}

/// The consumer's side: one per ring.
pub struct Consumer<'m> {
    ring: Ring<'m>,
    /// Same as `tail`, which only this consumer writes.
    position: u64,
    /// `dropped_total` as the last [`Batch`] had it.
    dropped_seen: u64,
}

impl<'m> Consumer<'m> {
    /// Goes on where the last consumer stopped, and finishes its filling with zeros.
    pub(crate) fn take_over(ring: Ring<'m>) -> Result<Self, Corrupt> {
        let tail = ring.header().consumer.0.tail.load(Ordering::Acquire);
        let released = ring.header().consumer.0.released.load(Ordering::Acquire);
        let head = ring.header().producers.0.head.load(Ordering::Acquire);
        let is_in_order = tail <= released && released <= head && head - tail <= ring.capacity() as u64;
        if !is_in_order || [tail, released].iter().any(|position| position % 8 != 0) {
            return Err(Corrupt::Positions);
        }
        let dropped_seen = ring.header().producers.0.dropped_total.load(Ordering::Relaxed);
        let mut consumer = Self { ring, position: tail, dropped_seen };
        consumer.erase(released);
        consumer.awake();
        Ok(consumer)
    }

    /// Looks at the ring once: what has been pushed up to now, and what has been dropped up to now.
    ///
    /// # Errors
    /// [`Corrupt::Positions`].
    pub fn begin(&mut self) -> Result<Batch<'_, 'm>, Corrupt> {
        let producers = &self.ring.header().producers.0;
        let head = producers.head.load(Ordering::Acquire);
        // After `head`, never before: see `head` in `layout`.
        self.dropped_seen = producers.dropped_total.load(Ordering::Relaxed);
        if head < self.position || head - self.position > self.ring.capacity() as u64 {
            return Err(Corrupt::Positions);
        }
        Ok(Batch { head, consumer: self })
    }

    /// Everything before this position has been handed out.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Asks producers for a wake. `true`: there is nothing to take and no drop that the last batch did not
    /// know, so sleep; the next push or drop answers [`crate::Wake::Needed`]. `false`: there is work, do not
    /// sleep.
    pub fn prepare_to_sleep(&mut self) -> bool {
        let sleeping = &self.ring.header().sleep.0.sleeping;
        sleeping.swap(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let word = self.ring.word(self.position).load(Ordering::Acquire);
        let dropped_total = self.ring.header().producers.0.dropped_total.load(Ordering::Relaxed);
        if word == 0 && dropped_total == self.dropped_seen {
            return true;
        }
        sleeping.swap(AWAKE, Ordering::Relaxed);
        false
    }

    /// Tells producers that no wake is needed. Call it when awake for any reason, after resetting the latch
    /// and before [`Consumer::begin`].
    pub fn awake(&mut self) {
        self.ring.header().sleep.0.sleeping.swap(AWAKE, Ordering::Relaxed);
    }

    /// Gives everything before `to` back to the producers.
    fn release(&mut self, to: u64) {
        if to == self.position {
            return;
        }
        self.ring.header().consumer.0.released.store(to, Ordering::Relaxed);
        // Not for other processors but for a successor: no zero may be written before `released` is.
        fence(Ordering::Release);
        self.erase(to);
    }

    fn erase(&mut self, to: u64) {
        self.ring.zero(self.position, to);
        self.position = to;
        self.ring.header().consumer.0.tail.store(to, Ordering::Release);
    }
}

/// One look at the ring: the records pushed and the drops counted before [`Consumer::begin`].
pub struct Batch<'c, 'm> {
    consumer: &'c mut Consumer<'m>,
    head: u64,
}

impl Batch<'_, '_> {
    /// Hands the next records to `f`, in order, and releases them when it returns: at most `max_bytes` of
    /// payload, but at least one record if there is one. Returns how many; 0 = the batch is done (what was
    /// reserved but not committed yet comes with a later batch).
    ///
    /// What `f` has seen is released only when this function ends normally: if `f` panics, or the process
    /// ends in between, the same records are handed out again.
    ///
    /// # Errors
    /// [`Corrupt::Word`], [`Corrupt::Length`]. The records before it have been handed out and are released.
    pub fn drain(&mut self, max_bytes: usize, mut f: impl FnMut(&[u8])) -> Result<usize, Corrupt> {
        let ring = self.consumer.ring;
        let mut position = self.consumer.position;
        let mut records = 0;
        let mut taken_bytes: usize = 0;
        let result = loop {
            let (bytes, next) = match self.next(position) {
                Ok(Next::Nothing) => break Ok(records),
                Err(corrupt) => break Err(corrupt),
                Ok(Next::Pad { next }) => {
                    position = next;
                    continue;
                }
                Ok(Next::Record { bytes, next }) => (bytes, next),
            };
            if records > 0 && taken_bytes.saturating_add(bytes) > max_bytes {
                break Ok(records);
            }
            ring.read(position, bytes, &mut f);
            records += 1;
            taken_bytes = taken_bytes.saturating_add(bytes);
            position = next;
        };
        self.consumer.release(position);
        result
    }

    /// The position of the record that was reserved and not committed yet, if this batch ends before one. To
    /// be asked when [`Batch::drain`] takes nothing more. The same position is the same record.
    pub fn hole(&self) -> Option<u64> {
        (self.consumer.position != self.head).then_some(self.consumer.position)
    }

    /// The position after everything that had been pushed when this batch began.
    pub fn end(&self) -> u64 {
        self.head
    }

    /// Records dropped since the ring was made, read after the extent of this batch was fixed and before any
    /// of it is handed out: every drop that a backend counted before it pushed one of these records is in it.
    pub fn dropped_total(&self) -> u64 {
        self.consumer.dropped_seen
    }

    /// What is at `position`, with everything that its word claims checked.
    fn next(&self, position: u64) -> Result<Next, Corrupt> {
        if position == self.head {
            return Ok(Next::Nothing);
        }
        let ring = &self.consumer.ring;
        let to_end = ring.capacity() - ring.offset(position);
        let bits = ring.word(position).load(Ordering::Acquire);
        match Word::from_bits(bits, position) {
            Word::Uncommitted => Ok(Next::Nothing),
            Word::Invalid => Err(Corrupt::Word { position }),
            Word::Pad => {
                let next = position + to_end as u64;
                if next > self.head {
                    return Err(Corrupt::Length { position, bytes: to_end });
                }
                Ok(Next::Pad { next })
            }
            Word::Record { bytes } => {
                let next = position + footprint(bytes) as u64;
                let is_inside = bytes <= max_record_bytes(ring.capacity()) && footprint(bytes) <= to_end;
                if !is_inside || next > self.head {
                    return Err(Corrupt::Length { position, bytes });
                }
                Ok(Next::Record { bytes, next })
            }
        }
    }
}

enum Next {
    Nothing,
    Pad { next: u64 },
    Record { bytes: usize, next: u64 },
}
