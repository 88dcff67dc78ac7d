//! What a reading of the catalog tells others in shared memory, besides what it rests on (`watched.rs`).
//!
//! Not for the routines: they go through the ring.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Each is a figure of its own, so all is relaxed.
#[repr(C)]
#[derive(Default)]
pub(crate) struct LastReading {
    /// Owners who have much, as `catalog/owners.rs` writes them down. Written by the catalog worker, read by
    /// sessions that ask for one routine: it says how much of the catalog such an answer takes.
    near_owners: AtomicU64,
    /// Processor time of the reading, in microseconds; 0 = it was not told, or is known. Written by the
    /// catalog worker when it has handed everything over, taken by the gateway when that worker has left: the
    /// postmaster is between the two.
    microseconds: AtomicU64,
}

impl LastReading {
    /// The owners who have much, for a session that asks for one routine.
    pub(crate) fn near_owners(&self) -> u64 {
        self.near_owners.load(Relaxed)
    }

    /// The reading has found that these have much.
    pub(crate) fn set_near_owners(&self, owners: u64) {
        self.near_owners.store(owners, Relaxed);
    }

    /// It has worked for so long.
    pub(crate) fn tell_work(&self, time: Duration) {
        self.microseconds.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What [`LastReading::tell_work`] has told since this was called last.
    pub(crate) fn take_work(&self) -> Option<Duration> {
        let microseconds = self.microseconds.swap(0, Relaxed);
        (microseconds != 0).then_some(Duration::from_micros(microseconds))
    }
}
