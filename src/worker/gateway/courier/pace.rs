//! How soon the courier looks into the ring again.
//!
//! An event after a quiet moment is handed on at once: its publisher wakes the courier. While events come in
//! quick succession, each of those wakes would cost the publisher a system call, and the machine a round of
//! courier, runtime thread and sockets for every single event. So the courier then looks by itself, once a
//! millisecond, and asks nobody to wake it (`consumer.rs`, `prepare_to_sleep`). Network cards call this
//! interrupt moderation.
//!
//! Not for: taking out (`drain.rs`).

use std::time::{Duration, Instant};

/// Events come in quick succession when two rounds that took some out are closer to each other than this.
const QUICK_SUCCESSION: Duration = Duration::from_millis(2);

/// The pause between two looks while events come in quick succession. An event may be this late. A shorter
/// pause would cost a noticeable part of a processor.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A round that has taken out more than the size of the ring divided by this is followed by the next round at
/// once: a burst must not fill the ring during a pause.
const BURST_DIVISOR: usize = 16;

pub(super) struct Pace {
    ring_bytes: usize,
    /// Bytes taken out in this round.
    bytes: usize,
    /// When the last round that brought anything ended.
    taken_at: Option<Instant>,
    is_rapid: bool,
}

impl Pace {
    pub(super) fn new(ring_bytes: usize) -> Self {
        Self { ring_bytes, bytes: 0, taken_at: None, is_rapid: false }
    }

    /// Counts bytes that were taken out.
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// A round has ended. `Some`: how long to pause before the next look, without asking for a wake.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes == 0 {
            // The last pause brought nothing.
            self.is_rapid &= self.taken_at.is_some_and(|at| now.saturating_duration_since(at) < LOOK_EVERY);
        } else {
            let is_close = |at| now.saturating_duration_since(at) < QUICK_SUCCESSION;
            self.is_rapid = self.taken_at.is_some_and(is_close) && bytes <= self.ring_bytes / BURST_DIVISOR;
            self.taken_at = Some(now);
        }
        self.is_rapid.then_some(LOOK_EVERY)
    }
}
