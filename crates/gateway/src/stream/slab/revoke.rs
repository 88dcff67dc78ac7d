//! Ending the streams of users who were disconnected (C4.8), and of tokens that somebody has logged out with
//! (C7.5).
//!
//! Each look goes over every stream, whoever was refused, and anybody with an account can log out as fast as
//! the network allows. So looks are paced: the next one finds what was refused meanwhile.
//!
//! Not for requests: these are refused as soon as the refusal is known (`auth`).

use std::time::{Duration, Instant};

use super::Slab;

/// After a look the next one waits at least this many times as long as the look took: all looks together take
/// a twentieth of the thread at most. With ten thousand streams a look takes a millisecond or two, so a
/// stream ends some tens of milliseconds late while others are refused by the thousand.
const PAUSE_FACTOR: u32 = 19;

/// The longest pause. Without it a look that the system suspended for minutes would let the streams of
/// refused users go on for an hour. With it looks of more than 50 ms (a million streams) take more than a
/// twentieth of the thread.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// When to look, and which refusals were carried out.
#[derive(Debug, Default)]
pub(super) struct RevocationPace {
    /// Version of the revocations that were carried out.
    version: u64,
    /// Not before this.
    not_before: Option<Instant>,
    is_due: bool,
}

impl RevocationPace {
    /// Whether to look now; then [`RevocationPace::looked`] is to be called.
    fn begin(&mut self, version: u64, now: Instant) -> bool {
        self.is_due = version != self.version && self.not_before.is_some_and(|at| now < at);
        !self.is_due && std::mem::replace(&mut self.version, version) != version
    }

    fn looked(&mut self, began: Instant, took: Duration) {
        self.not_before = Some(began + took + (took * PAUSE_FACTOR).min(LONGEST_PAUSE));
    }

    /// When a look is due that had to wait.
    pub(super) fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.is_due)
    }
}

impl Slab {
    /// Ends the streams of all who were refused since the last look, if it is time for one.
    pub(super) fn revoke(&mut self) {
        let began = Instant::now();
        if !self.revocations.begin(self.shared.auth.revocations().version(), began) {
            return;
        }
        for index in 0..self.slots.len() {
            let Some(slot) = &self.slots[index] else { continue };
            if slot.subscription.is_revoked(self.shared.auth.revocations()) {
                self.finish(index);
            }
        }
        self.revocations.looked(began, began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack: one account logs in and out by the thousand, so that every logout makes every stream be looked
    /// at.
    #[test]
    fn looks_for_refused_streams_take_a_twentieth_of_the_time_at_most() {
        let mut pace = RevocationPace::default();
        let start = Instant::now();
        let (took, mut busy, mut now) = (Duration::from_millis(2), Duration::ZERO, start);
        for version in 1..=10_000 {
            now += Duration::from_micros(100);
            if pace.begin(version, now) {
                busy += took;
                pace.looked(now, took);
            }
        }
        let allowed = (now - start) / 20 + took;
        assert!(busy <= allowed && busy > took * 10, "{busy:?} of {:?}", now - start);
    }

    #[test]
    fn what_had_to_wait_is_looked_for_when_its_time_has_come() {
        let mut pace = RevocationPace::default();
        let start = Instant::now();
        assert!(!pace.begin(0, start), "nobody was refused");
        assert!(pace.begin(1, start));
        pace.looked(start, Duration::from_millis(2));
        assert!(!pace.begin(1, start) && pace.due().is_none(), "nothing new");
        assert!(!pace.begin(2, start + Duration::from_millis(39)));
        let due = pace.due().unwrap_or(start);
        assert_eq!(due, start + Duration::from_millis(40));
        assert!(pace.begin(2, due) && pace.due().is_none());
    }

    /// Attack: whoever was disconnected goes on listening, because the machine stood still during the last
    /// look.
    #[test]
    fn a_look_that_stood_still_puts_the_next_one_off_by_a_second_at_most() {
        for (took, pause) in [(52, 988), (53, 1000), (60_000, 1000)] {
            let mut pace = RevocationPace::default();
            let (start, took) = (Instant::now(), Duration::from_millis(took));
            assert!(pace.begin(1, start));
            pace.looked(start, took);
            let due = start + took + Duration::from_millis(pause);
            assert!(!pace.begin(2, due - Duration::from_millis(1)), "{took:?}");
            assert_eq!(pace.due(), Some(due));
            assert!(pace.begin(2, due), "{took:?}");
        }
    }
}
