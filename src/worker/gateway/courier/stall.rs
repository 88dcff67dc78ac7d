//! Notices that a record in the ring is begun and not completed. Such a record holds up everybody's events,
//! because the order of the ring is kept (`crates/ring/src/layout.rs`).
//!
//! Not for passing over the record: only its producer knows what belongs there.

use std::time::{Duration, Instant};

/// When a record that was begun counts as stalled. A producer completes a record within a microsecond of
/// processor time. One that has not after this time was stopped, by a debugger or by SIGSTOP; a busy machine
/// runs every process more often than that.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// The record that stands in the way.
#[derive(Default)]
pub(super) struct Stall {
    hole: Option<Hole>,
}

struct Hole {
    position: u64,
    since: Instant,
    is_told: bool,
}

impl Stall {
    /// The ring was taken out, up to a hole at this position or to its end. `Some`: the age of the hole, once
    /// for each hole that is old enough.
    pub(super) fn note(&mut self, position: Option<u64>, now: Instant) -> Option<Duration> {
        let Some(position) = position else {
            self.hole = None;
            return None;
        };
        let hole = match &mut self.hole {
            Some(hole) if hole.position == position => hole,
            other => other.insert(Hole { position, since: now, is_told: false }),
        };
        let age = now.saturating_duration_since(hole.since);
        (age >= STALLED_AFTER && !std::mem::replace(&mut hole.is_told, age >= STALLED_AFTER)).then_some(age)
    }
}
