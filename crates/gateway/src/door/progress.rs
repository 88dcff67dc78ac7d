//! How a connection gets on, and what has taken too long: the head of a request, the pause between two, the
//! taking of an answer. Kept by the connection's two halves, the socket (`head_io`) and its task
//! (`connection`).
//!
//! Not for bodies of requests: `request_body` has its own rate. Not for streams: their slab sees to them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use http::Version;

use crate::room::slowest;

/// A head must have arrived whole this long after its first byte; the first head of a connection, this long
/// after the connection was accepted. Beyond it the connection is closed, so that a peer that sends a byte
/// now and then cannot hold it.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before a peer that has closed its sending side is first asked whether it is still there; each
/// further pause is twice the last. That makes five probes at most in the half minute that a call has by
/// default: some clients take no more interim answers.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// What one connection is waiting for, and since when.
pub(crate) struct Progress {
    accepted: Instant,
    /// Since when a head has been arriving; `None` between heads.
    head_since: Cell<Option<Instant>>,
    /// A body has been received, so that a head comes next.
    begins_anew: Cell<bool>,
    /// A request is being answered; nothing of its answer is written yet.
    pub(crate) is_serving: Cell<bool>,
    /// When the last answer began, or the peer last took bytes of it.
    answered_at: Cell<Option<Instant>>,
    /// Since when the peer has taken nothing.
    blocked_since: Cell<Option<Instant>>,
    /// How long the peer was waited for before `blocked_since`, and how many bytes it has taken, both of the
    /// present answer.
    waited: Cell<Duration>,
    taken: Cell<u64>,
    /// The peer's version of HTTP has interim answers.
    takes_interim: Cell<bool>,
    /// `Some` when the peer has closed its sending side: when to probe it next, and the pause after that.
    probes: Cell<Option<(Instant, Duration)>>,
}

/// What has taken too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// A head that has begun.
    Head,
    /// The next request, or the first.
    Request,
    /// The peer does not take its answer, or too slowly.
    Answer,
}

impl Progress {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            accepted: now,
            head_since: Cell::new(None),
            begins_anew: Cell::new(false),
            is_serving: Cell::new(false),
            answered_at: Cell::new(None),
            blocked_since: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
            taken: Cell::new(0),
            takes_interim: Cell::new(false),
            probes: Cell::new(None),
        }
    }

    /// Bytes of a head have come.
    pub(crate) fn begin_head(&self, now: Instant) {
        if self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
    }

    /// A head has ended, or nothing more of it is wanted.
    pub(crate) fn end_head(&self) {
        self.head_since.set(None);
    }

    pub(crate) fn is_inside_head(&self) -> bool {
        self.head_since.get().is_some()
    }

    /// Says once after a body that a head comes next, and not the rest of the body, which may have looked
    /// like a head.
    pub(crate) fn takes_anew(&self) -> bool {
        self.begins_anew.take()
    }

    pub(crate) fn begin_request(&self, version: Version) {
        self.is_serving.set(true);
        self.takes_interim.set(version == Version::HTTP_11);
    }

    /// An answer begins. If the peer has not taken all of the one before, the time for the two is counted
    /// together.
    pub(crate) fn begin_answer(&self, had_body: bool, now: Instant) {
        self.is_serving.set(false);
        self.answered_at.set(Some(now));
        if had_body {
            self.end_head();
            self.begins_anew.set(true);
        }
        if self.blocked_since.get().is_none() {
            self.waited.set(Duration::ZERO);
            self.taken.set(0);
        }
    }

    /// Every request is answered, and every answer taken.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.is_serving.get() && self.answered_at.get().is_some() && self.blocked_since.get().is_none()
    }

    /// The peer takes nothing now.
    pub(crate) fn block(&self, now: Instant) {
        if self.blocked_since.get().is_none() {
            self.blocked_since.set(Some(now));
        }
    }

    /// The peer has taken this many bytes.
    pub(crate) fn take(&self, bytes: usize, now: Instant) {
        if let Some(since) = self.blocked_since.take() {
            self.waited.set(self.waited.get() + now.duration_since(since));
        }
        self.taken.set(self.taken.get() + bytes as u64);
        self.answered_at.set(Some(now));
    }

    /// The peer has closed its sending side, or its whole socket: the two look the same until something is
    /// sent.
    pub(crate) fn close_half(&self, now: Instant) {
        if self.probes.get().is_none() {
            self.probes.set(Some((now + FIRST_PROBE, 2 * FIRST_PROBE)));
        }
    }

    /// Whether to ask the peer now whether it is still there.
    pub(crate) fn is_probe_due(&self, now: Instant) -> bool {
        match self.probes.get() {
            Some((at, next)) if at <= now && self.is_serving.get() && self.takes_interim.get() => {
                self.probes.set(Some((now + next, 2 * next)));
                true
            }
            _ => false,
        }
    }

    /// What has taken too long. `write_timeout` and `idle_timeout` are the settings.
    pub(crate) fn overdue(
        &self,
        now: Instant,
        write_timeout: Duration,
        idle_timeout: Duration,
    ) -> Option<Overdue> {
        let passed = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if let Some(since) = self.blocked_since.get() {
            let waited = self.waited.get() + now.saturating_duration_since(since);
            return (passed(since, write_timeout) || waited >= slowest(self.taken.get()))
                .then_some(Overdue::Answer);
        }
        if self.is_serving.get() {
            return None;
        }
        match (self.head_since.get(), self.answered_at.get()) {
            (Some(since), Some(_)) => passed(since, HEAD_TIMEOUT).then_some(Overdue::Head),
            (Some(_), None) => passed(self.accepted, HEAD_TIMEOUT).then_some(Overdue::Head),
            (None, Some(at)) => passed(at, idle_timeout).then_some(Overdue::Request),
            (None, None) => passed(self.accepted, HEAD_TIMEOUT).then_some(Overdue::Request),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::room::MIN_ANSWER_RATE;

    const WRITE: Duration = Duration::from_secs(30);
    const IDLE: Duration = Duration::from_secs(75);
    const MILLISECOND: Duration = Duration::from_millis(1);

    /// From when on it is overdue, looking every millisecond.
    fn overdue_after(progress: &Progress, from: Instant, write: Duration) -> (u64, Overdue) {
        (0..200_000)
            .find_map(|ms| {
                let overdue = progress.overdue(from + ms as u32 * MILLISECOND, write, IDLE)?;
                Some((ms, overdue))
            })
            .unwrap()
    }

    #[test]
    fn the_first_head_has_ten_seconds_from_the_beginning_and_a_later_one_from_its_first_byte() {
        let now = Instant::now();
        let progress = Progress::new(now);
        assert_eq!(overdue_after(&progress, now, WRITE), (10_000, Overdue::Request));
        progress.begin_head(now + 9 * Duration::from_secs(1));
        assert_eq!(overdue_after(&progress, now, WRITE), (10_000, Overdue::Head));
        progress.end_head();
        progress.begin_request(Version::HTTP_11);
        assert_eq!(progress.overdue(now + Duration::from_secs(1000), WRITE, IDLE), None, "a call may run");
        progress.begin_answer(false, now);
        assert_eq!(overdue_after(&progress, now, WRITE), (75_000, Overdue::Request));
        let later = now + Duration::from_secs(60);
        progress.begin_head(later);
        assert_eq!(overdue_after(&progress, later, WRITE), (10_000, Overdue::Head));
    }

    // Slow readers: a byte now and then holds an answer for ever.
    #[test]
    fn an_answer_is_taken_at_its_rate_after_ten_seconds_and_cut_below_it() {
        for (bytes_a_second, cut_after) in
            [(0, Some(10)), (1, Some(10)), (MIN_ANSWER_RATE / 2, Some(20)), (MIN_ANSWER_RATE, None)]
        {
            let mut now = Instant::now();
            let began = now;
            let progress = Progress::new(now);
            progress.begin_request(Version::HTTP_11);
            progress.begin_answer(false, now);
            progress.block(now);
            let cut = (1..=100).find(|_| {
                now += Duration::from_secs(1);
                let overdue = progress.overdue(now, WRITE, IDLE);
                if bytes_a_second > 0 {
                    progress.take(bytes_a_second as usize, now);
                    progress.block(now);
                }
                overdue == Some(Overdue::Answer)
            });
            let cut = cut.map(|_| (now - began).as_secs());
            let near = |seconds: u64| cut.is_some_and(|cut| (seconds - 1..=seconds + 1).contains(&cut));
            assert!(cut_after.map_or(cut.is_none(), near), "{bytes_a_second}: {cut:?}");
        }
    }

    #[test]
    fn an_answer_of_which_nothing_is_taken_has_the_write_timeout_at_most() {
        let now = Instant::now();
        let progress = Progress::new(now);
        progress.begin_answer(false, now);
        progress.take(1 << 30, now);
        progress.block(now);
        let write = Duration::from_secs(3);
        assert_eq!(overdue_after(&progress, now, write), (3_000, Overdue::Answer));
    }

    // Pipelined requests: each answer would begin the time anew.
    #[test]
    fn the_time_for_an_answer_does_not_begin_anew_while_the_one_before_is_not_taken() {
        let now = Instant::now();
        let progress = Progress::new(now);
        progress.begin_answer(false, now);
        progress.block(now);
        let later = now + Duration::from_secs(9);
        progress.begin_answer(false, later);
        assert_eq!(overdue_after(&progress, later, WRITE), (1_000, Overdue::Answer));
        progress.take(1, later);
        progress.begin_answer(false, later);
        progress.block(later);
        assert_eq!(overdue_after(&progress, later, WRITE), (10_000, Overdue::Answer));
    }

    #[test]
    fn a_peer_that_has_closed_its_half_is_asked_five_times_in_half_a_minute() {
        let now = Instant::now();
        let progress = Progress::new(now);
        progress.begin_request(Version::HTTP_11);
        progress.close_half(now);
        let asked: Vec<u64> =
            (0..=31).filter(|second| progress.is_probe_due(now + Duration::from_secs(*second))).collect();
        assert_eq!(asked, [1, 3, 7, 15, 31]);
        progress.begin_answer(false, now);
        assert!(!progress.is_probe_due(now + Duration::from_secs(1000)), "its answer is being written");
    }
}
