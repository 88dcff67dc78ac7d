//! Holds back events so that none is sent before the events that its transaction could see (C5.3), with the
//! help of the announcements in shared memory and of the clock. `sse_proto::order` decides.
//!
//! It runs on the courier, so it never calls Postgres; messages are left to the main thread.
//!
//! Not for: taking records out of the ring, and handing them on (`worker/gateway/courier/drain.rs`).

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sse_proto::order::{Limits, Look, Order, State};
use sse_proto::record::{self, Kind};

use crate::pg::shmem::Shared;
use crate::pg::ticket;

/// How long an announced transaction is waited for. A backend that has committed pushes within microseconds.
/// One that has not pushed after this time was stopped, by a debugger or by SIGSTOP, and must not stop
/// everybody's events; a busy machine runs every process more often than that.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// At most about this many bytes are held back, about as much as a ring of the default size takes meanwhile.
/// Beyond it no transaction is waited for. (The ring, up to `sse.ring_size`, is taken out at once, so its
/// content is added for a moment.)
const MAX_HELD_BYTES: usize = 16 * 1024 * 1024;

/// Pause before a blocking transaction is looked at again. When its backend pushes, that wakes the courier,
/// too.
const RECHECK: Duration = Duration::from_millis(1);

/// At most one warning is logged in this time; `sse.stat_ring` has the number.
const WARN_AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// Pause while only ends of snapshots wait for a process that is stopped: the streams go on meanwhile, so
/// nothing is urgent.
const RECHECK_ENDS: Duration = Duration::from_millis(100);

pub(super) struct Holding {
    order: Order,
    last_warning: Option<Instant>,
}

/// What was announced before the ring is taken out for the second time.
pub(super) struct Found {
    highest: u64,
    blockers: Vec<u64>,
}

impl Default for Holding {
    fn default() -> Self {
        Self { order: Order::new(Limits { time: GIVE_UP_AFTER, bytes: MAX_HELD_BYTES }), last_warning: None }
    }
}

impl Holding {
    /// Takes the record of an event, or of the end of a snapshot. `false`: the event was sent without waiting
    /// for a commit and nothing is held, so it may be handed on now.
    pub(super) fn hold(&mut self, record: &[u8]) -> bool {
        match record::ticket(record) {
            0 => self.order.pass(record),
            ticket if Kind::of(record) == Some(Kind::SnapshotEnd) => {
                self.order.hold_end(ticket, record);
                true
            }
            ticket => {
                self.order.hold(ticket, record);
                true
            }
        }
    }

    /// Takes the end of a call, which comes after everything that is held. `false`: nothing is, so it may be
    /// handed on now.
    pub(super) fn follow(&mut self, record: &[u8]) -> bool {
        self.order.follow(record)
    }

    /// Looks at which transactions are about to push. `None`: nothing is held, so there is nothing to decide.
    pub(super) fn look(&self, shared: &Shared) -> Option<Found> {
        let highest = self.order.highest()?;
        Some(Found { highest, blockers: ticket::blockers(&shared.announced, highest) })
    }

    /// Decides, after the ring was taken out once more, to its end or to a hole in it. `Some`: log a warning
    /// that a transaction is no longer waited for, with its process id if that is known.
    pub(super) fn decide(
        &mut self,
        found: &Found,
        is_before_hole: bool,
        shared: &Shared,
    ) -> Option<Option<i32>> {
        let Found { highest, blockers } = found;
        let now = Instant::now();
        let decision = self.order.decide(Look { highest: *highest, blockers, is_before_hole }, now);
        let count = decision.given_up.len() as u64 + u64::from(decision.passed_hole);
        if count == 0 {
            return None;
        }
        shared.header.tickets.given_up_total.fetch_add(count, Relaxed);
        if self.last_warning.is_some_and(|last| now.saturating_duration_since(last) < WARN_AT_MOST_EVERY) {
            return None;
        }
        self.last_warning = Some(now);
        Some(decision.given_up.first().and_then(|ticket| ticket::announcer(&shared.announced, *ticket)))
    }

    /// Hands the events that may leave to `f`, at most about `max_bytes`. Returns how many there were.
    pub(super) fn take(&mut self, max_bytes: usize, f: impl FnMut(&[u8])) -> usize {
        self.order.take(max_bytes, f)
    }

    /// Nobody will decide any more: all events may leave.
    pub(super) fn let_go_all(&mut self) {
        self.order.let_go_all();
    }

    /// How long the courier may sleep, at most `pause`; `None`: not at all.
    pub(super) fn pause(&self, pause: Duration) -> Option<Duration> {
        match self.order.state() {
            State::Idle => Some(pause),
            State::Blocked => Some(pause.min(RECHECK)),
            State::EndsBlocked => Some(pause.min(RECHECK_ENDS)),
            State::LookAgain => None,
        }
    }
}
