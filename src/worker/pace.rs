//! How soon a process that takes events looks for them again: the courier in the ring, the reader in the
//! write-ahead log.
//!
//! An event is taken at once: its publisher wakes who takes it. A wake costs the publisher a system call, and
//! the machine a round of courier, runtime thread and sockets (figures: ARCHITECTURE.md). So where more than
//! some thousand a second would be needed, they look by themselves, once a millisecond, and ask nobody to
//! wake them. Network cards call this interrupt moderation.
//!
//! It is wakes that are counted, over some milliseconds, and not how close one event follows another: a
//! publisher that waits until its event has arrived before it sends the next one would be a millisecond
//! late each time, and nothing would be saved.
//!
//! Not for: taking out (`gateway/courier/drain.rs`, `wal_reader/reading.rs`), and how long who takes events
//! sleeps otherwise (`gateway/courier/carrying.rs`, `wal_reader/sleep.rs`).

use std::time::{Duration, Instant};

/// As often one is woken in the long run: 4,000 times a second, some 3 % of a processor.
const WAKE_EVERY: Duration = Duration::from_micros(250);

/// This much of what quiet time has left may be used up by wakes that follow each other faster: eight of
/// them.
const MOST_LEFT: Duration = Duration::from_millis(2);

/// The pause between two looks in a crowd. An event may be this late. A shorter pause would cost a noticeable
/// part of a processor.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long events are taken for a crowd, if no look finds nothing before. Then wakes are counted again,
/// because looks do not tell: a publisher that waits for each of its events, and so brings one in each pause,
/// may be the only one.
const CROWD: Duration = Duration::from_millis(32);

/// A round that has taken out more than there is room for, divided by this, is followed by the next round at
/// once: a burst must not use up the room during a pause.
const BURST_DIVISOR: usize = 16;

/// See the head of this file.
pub(super) struct Pace {
    room: usize,
    /// Bytes taken out in this round.
    bytes: usize,
    /// When the last round that brought anything ended.
    taken_at: Instant,
    /// When the wakes up to now would have come, had they come evenly; never in the past.
    even: Instant,
    crowd_until: Option<Instant>,
}

impl Pace {
    /// Of who takes events from where there is room for so many bytes.
    pub(super) fn new(room: usize) -> Self {
        let now = Instant::now();
        Self { room, bytes: 0, taken_at: now, even: now, crowd_until: None }
    }

    /// Counts bytes that were taken out.
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// A round has ended. `Some`: how long to pause before the next look, without asking for a wake.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        let bytes = std::mem::take(&mut self.bytes);
        let was_quiet = bytes == 0 && now.saturating_duration_since(self.taken_at) >= LOOK_EVERY;
        let is_burst = bytes > self.room / BURST_DIVISOR;
        let was_crowd = self.crowd_until.is_some();
        self.crowd_until.take_if(|until| was_quiet || is_burst || *until <= now);
        if bytes > 0 {
            self.taken_at = now;
        }
        if bytes > 0 && !is_burst && !was_crowd {
            self.even = self.even.max(now) + WAKE_EVERY;
            if self.even.saturating_duration_since(now) > MOST_LEFT {
                self.crowd_until = Some(now + CROWD);
                self.even = now;
            }
        }
        self.crowd_until.is_some().then_some(LOOK_EVERY)
    }
}
