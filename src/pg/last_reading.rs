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
    /// Number of readings that were begun. Added to by the gateway for each worker that it starts, also by
    /// the one after it: so no two workers of a server have the same number.
    begun: AtomicU64,
    /// The last reading that has read the routines, and its processor time until then ([`told`]). Written by
    /// the catalog worker before the last record of the routines, read by the gateway after that record.
    routines: AtomicU64,
    /// The same of the files for clients, and of all that was done for them. Written by the catalog worker
    /// when it has handed everything over, read by the gateway when that worker has left: the postmaster is
    /// between the two.
    files: AtomicU64,
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

    /// The number of the next reading.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Relaxed) + 1
    }

    /// This reading has worked so long for the routines.
    pub(crate) fn tell_routines(&self, reading: u64, time: Duration) {
        self.routines.store(told(reading, time), Relaxed);
    }

    /// What [`LastReading::tell_routines`] has told of this reading.
    pub(crate) fn work_for_routines(&self, reading: u64) -> Option<Duration> {
        work(reading, self.routines.load(Relaxed))
    }

    /// This reading has handed over the files, and has worked so long for them.
    pub(crate) fn tell_files(&self, reading: u64, time: Duration) {
        self.files.store(told(reading, time), Relaxed);
    }

    /// What [`LastReading::tell_files`] has told of this reading.
    pub(crate) fn work_for_files(&self, reading: u64) -> Option<Duration> {
        work(reading, self.files.load(Relaxed))
    }
}

/// Twelve days; a longer time counts as this.
const TIME_BITS: u32 = 40;

/// A number of microseconds, and above it the lowest bits of the reading that has told it: a worker of the
/// gateway before may still tell something.
fn told(reading: u64, time: Duration) -> u64 {
    let longest = (1 << TIME_BITS) - 1;
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(longest);
    reading << TIME_BITS | microseconds.min(longest)
}

fn work(reading: u64, told: u64) -> Option<Duration> {
    let microseconds = (1 << TIME_BITS) - 1;
    (told >> TIME_BITS == reading << TIME_BITS >> TIME_BITS)
        .then(|| Duration::from_micros(told & microseconds))
}
