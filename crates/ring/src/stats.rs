//! What a ring has done so far, in numbers.
//!
//! Not for: the consumer's decisions; what it must know exactly it gets from its batch.

use crate::region::Ring;
use crate::sync::Ordering;

/// Numbers for a statistics view. Each is exact by itself; they are not read at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes for records, their 8-byte words and pads.
    pub capacity_bytes: u64,
    /// Of these, reserved or waiting for the consumer.
    pub used_bytes: u64,
    /// Records accepted.
    pub pushed_total: u64,
    /// Bytes of the records accepted, without words and pads.
    pub pushed_bytes_total: u64,
    /// Pushes refused for lack of room. A producer that tries again is counted again.
    pub full_total: u64,
    /// What producers gave up and reported with [`crate::Producer::count_dropped`].
    pub dropped_total: u64,
}

impl Ring<'_> {
    /// Numbers for a statistics view.
    pub fn stats(&self) -> Stats {
        let producers = &self.header().producers.0;
        let tail = self.header().consumer.0.tail.load(Ordering::Acquire);
        let head = producers.head.load(Ordering::Relaxed);
        Stats {
            capacity_bytes: self.capacity() as u64,
            used_bytes: head.wrapping_sub(tail).min(self.capacity() as u64),
            pushed_total: producers.pushed_total.load(Ordering::Relaxed),
            pushed_bytes_total: producers.pushed_bytes_total.load(Ordering::Relaxed),
            full_total: producers.full_total.load(Ordering::Relaxed),
            dropped_total: producers.dropped_total.load(Ordering::Relaxed),
        }
    }
}
