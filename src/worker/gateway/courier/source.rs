//! Where the courier takes records from: all that its loop asks of such a place. The ring is the first one.
//!
//! Not for: what becomes of the records (`drain.rs`), and how soon to look again (`pace.rs`).

use std::time::Duration;

use sse_ring::{ASLEEP, AWAKE, Batch, Consumer, Corrupt};

use crate::pg::futex;
use crate::pg::shmem::Shared;

/// See the head of this file.
pub(super) enum Source {
    Ring(Shared, Consumer<'static>),
}

/// What there is to take at one look.
pub(super) type Taking<'s> = Batch<'s, 'static>;

impl Source {
    /// Looks once: what has come up to now, and what has been dropped up to now.
    ///
    /// # Errors
    /// It is damaged.
    pub(super) fn take(&mut self) -> Result<Taking<'_>, Corrupt> {
        let Self::Ring(_, consumer) = self;
        consumer.begin()
    }

    /// The position after what has come up to now.
    ///
    /// # Errors
    /// As those of [`Source::take`].
    pub(super) fn end(&mut self) -> Result<u64, Corrupt> {
        self.take().map(|taking| taking.end())
    }

    /// Whether everything before this position has been taken.
    pub(super) fn has_reached(&self, position: u64) -> bool {
        let Self::Ring(_, consumer) = self;
        consumer.position() >= position
    }

    /// Whether events come from the write-ahead log.
    pub(super) fn has_log(&self) -> bool {
        let Self::Ring(shared, _) = self;
        shared.wal.is_on()
    }

    /// Has all events of the log told anew that are to be told, after a record that says so.
    pub(super) fn begin_anew(&self) {
        let Self::Ring(shared, _) = self;
        shared.wal.want_reading();
    }

    /// Up to this position of the log, all events have come.
    pub(super) fn read_to(&self) -> u64 {
        let Self::Ring(shared, _) = self;
        shared.wal.read_to()
    }

    /// Records that were ever dropped before they came here.
    pub(super) fn dropped_total(&self) -> u64 {
        let Self::Ring(shared, _) = self;
        shared.ring.stats().dropped_total
    }

    /// Asks to be woken. `false`: there is something to take.
    pub(super) fn prepare_to_sleep(&mut self) -> bool {
        let Self::Ring(_, consumer) = self;
        consumer.prepare_to_sleep()
    }

    /// Until it is woken, at most for so long; after [`Source::prepare_to_sleep`].
    pub(super) fn sleep(&self, longest: Duration) {
        let Self::Ring(shared, _) = self;
        futex::wait(shared, ASLEEP, longest);
    }

    /// Sleeps without asking for a wake; whoever waits for room wakes all the same.
    pub(super) fn nap(&self, pause: Duration) {
        let Self::Ring(shared, _) = self;
        futex::wait(shared, AWAKE, pause);
    }

    /// Nobody need wake it.
    pub(super) fn awake(&mut self) {
        let Self::Ring(_, consumer) = self;
        consumer.awake();
    }
}
