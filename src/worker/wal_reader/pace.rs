//! How long the reader sleeps when everything is read.
//!
//! On a primary, whoever commits with events wakes it. While events come in quick succession it looks by
//! itself, once a millisecond, and asks nobody for a wake, as the courier does (`courier/pace.rs`). On a
//! standby nobody wakes it. Whatever else is written has to be read, too, and must not pile up.
//!
//! Not for: reading (`reading.rs`).

use std::thread;
use std::time::{Duration, Instant};

use super::reading::Reading;
use crate::pg::bgworker;
use crate::pg::wal::log_end::{LogEnd, Role};

/// The pause between two looks while events come in quick succession. An event may be this late.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Events come in quick succession when two looks that found some are closer to each other than this.
const QUICK_SUCCESSION: Duration = Duration::from_millis(2);

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

/// See the head of this file.
#[derive(Default)]
pub(super) struct Pace {
    told_at: Option<Instant>,
    is_rapid: bool,
    /// The last end of the log, and for how long it has not changed.
    end: u64,
    quiet: Duration,
}

impl Pace {
    /// A look has ended, and has told something or not.
    pub(super) fn note(&mut self, has_told: bool) {
        let now = Instant::now();
        if has_told {
            let is_close = |at| now.saturating_duration_since(at) < QUICK_SUCCESSION;
            self.is_rapid = self.told_at.is_some_and(is_close);
            self.told_at = Some(now);
        } else {
            // The last pause brought nothing.
            self.is_rapid &= self.told_at.is_some_and(|at| now.saturating_duration_since(at) < LOOK_EVERY);
        }
    }

    /// Until there may be something to read.
    pub(super) fn sleep(&mut self, end: &LogEnd, reading: Option<&Reading>) {
        if self.is_rapid {
            // Not by the latch: each commit would set it, and end the pause.
            thread::sleep(LOOK_EVERY);
            return bgworker::take_in_interrupts();
        }
        if end.position == self.end {
            self.quiet = (self.quiet * 2).clamp(POLL_EVERY, LONGEST);
        } else {
            self.quiet = POLL_EVERY;
        }
        self.end = end.position;
        let held = reading.and_then(Reading::held_since);
        let is_lively = self.told_at.is_some_and(|at| at.elapsed() < LIVELY);
        bgworker::wait(match (held, end.role) {
            (Some(since), _) if since.elapsed() < HELD_LONG => LOOK_EVERY,
            (Some(_), _) => POLL_EVERY,
            (None, Role::Standby) if is_lively => LOOK_EVERY,
            (None, Role::Standby) => POLL_EVERY,
            (None, Role::Primary) => self.quiet,
        });
    }
}
