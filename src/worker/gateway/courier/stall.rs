//! Noticing that a record in the ring is begun and not completed: whoever does so stands in everybody's way, because the order
//! of the ring is kept (`crates/ring/src/layout.rs`).
//!
//! Not for passing it: nobody but its producer knows what belongs there.

use std::time::{Duration, Instant};

/// A producer completes a record within a microsecond of processor time. One that has not after so long was stopped, by a
/// debugger or by SIGSTOP; a busy machine runs every process more often than that.
const AGE: Duration = Duration::from_secs(5);

/// What stands in the way.
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
    /// The ring was taken out, up to a hole at this position or to its end. `Some`: how old the hole is, once for each that is
    /// old enough.
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
        (age >= AGE && !std::mem::replace(&mut hole.is_told, age >= AGE)).then_some(age)
    }
}
