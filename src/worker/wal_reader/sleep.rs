//! How long the reader sleeps when everything is read.
//!
//! On a primary, whoever commits with events wakes it; in a crowd of them it looks by itself (`pace.rs` of
//! `worker/`). On a standby nobody wakes it. Whatever else is written has to be read, too, and must not pile
//! up.
//!
//! Not for: reading (`reading.rs`), and the waiting itself (`wal_reader.rs`).

use std::time::{Duration, Instant};

use crate::pg::wal::log_end::{LogEnd, Role};
use crate::worker::pace::Pace;

/// The pause between two looks where a wake is of no use.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// On a standby it looks so often for this long after an event; a thousand looks a second take a fiftieth of
/// a processor.
const LIVELY: Duration = Duration::from_secs(3);

/// … and this often when it is quiet: a four-hundredth of a processor.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// The longest pause on a primary. What is written meanwhile must not be removed by a checkpoint before it is
/// read; whoever orders checkpoints at once needs some `wal_keep_size`.
const LONGEST: Duration = Duration::from_millis(100);

/// A commit that has been held this long waits for something: a standby, a lock, a debugger.
const HELD_LONG: Duration = Duration::from_millis(100);

/// How to sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::worker) enum Nap {
    /// This long, whoever commits meanwhile.
    Deaf(Duration),
    /// This long, or until somebody wakes it.
    UntilWoken(Duration),
}

/// See the head of this file.
pub(in crate::worker) struct Sleep {
    pace: Pace,
    told_at: Option<Instant>,
    /// The last end of the log, and for how long it has not changed.
    end: u64,
    quiet: Duration,
}

impl Sleep {
    pub(in crate::worker) fn new() -> Self {
        // The log has room for every burst.
        Self { pace: Pace::new(usize::MAX), told_at: None, end: 0, quiet: Duration::ZERO }
    }

    /// Something was told.
    pub(in crate::worker) fn told(&mut self, now: Instant) {
        self.pace.took(1);
        self.told_at = Some(now);
    }

    /// Until there may be something to read. `held`: for how long a commit is held.
    pub(in crate::worker) fn nap(&mut self, now: Instant, end: &LogEnd, held: Option<Duration>) -> Nap {
        // Not by the latch: each commit would set it, and end the pause.
        if let Some(pause) = self.pace.pause(now) {
            return Nap::Deaf(pause);
        }
        if end.position == self.end {
            self.quiet = (self.quiet * 2).clamp(POLL_EVERY, LONGEST);
        } else {
            self.quiet = POLL_EVERY;
        }
        self.end = end.position;
        let is_lively = self.told_at.is_some_and(|at| now.saturating_duration_since(at) < LIVELY);
        Nap::UntilWoken(match (held, end.role) {
            (Some(held), _) if held < HELD_LONG => LOOK_EVERY,
            (Some(_), _) => POLL_EVERY,
            (None, Role::Standby) if is_lively => LOOK_EVERY,
            (None, Role::Standby) => POLL_EVERY,
            (None, Role::Primary) => self.quiet,
        })
    }
}
