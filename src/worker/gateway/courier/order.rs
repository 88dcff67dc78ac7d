//! Holding back what came out of the ring before what its transaction saw (C5.3), with the announcements in shared memory
//! and the clock. `sse_proto::order` decides.
//!
//! On the courier, so without a call of Postgres: what is to be said, the main thread says.
//!
//! Not for: taking records out of the ring, and handing them on (`worker/gateway/courier/drain.rs`).

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sse_proto::order::{Limits, Look, Order, State};
use sse_proto::record;

use crate::pg::shmem::Shared;
use crate::pg::ticket;

/// A backend that has committed pushes within microseconds. One that has not after so long was stopped, by a debugger or
/// by SIGSTOP, and must not stop everybody's events; a busy machine runs every process more often than that.
const TIME: Duration = Duration::from_secs(5);

/// So much is held: about as much as a ring of the default size takes meanwhile. Beyond it nobody is waited for. (What the
/// ring has, up to `sse.ring_size`, is taken out at once, so it comes on top for a moment.)
const BYTES: usize = 16 * 1024 * 1024;

/// Pause before a blocker is looked at again. Its push wakes the courier, too.
const PAUSE: Duration = Duration::from_millis(1);

/// The log has at most one line in such a time; `sse.stat_ring` counts.
const QUIET: Duration = Duration::from_secs(60);

pub(super) struct Holding {
    order: Order,
    last_warning: Option<Instant>,
}

/// What was found before the ring is taken out for the second time.
pub(super) struct Found {
    highest: u64,
    blockers: Vec<u64>,
}

impl Default for Holding {
    fn default() -> Self {
        Self { order: Order::new(Limits { time: TIME, bytes: BYTES }), last_warning: None }
    }
}

impl Holding {
    /// Takes the record of an event. `false`: it was sent at once and nothing is held, so it may be handed on now.
    pub(super) fn hold(&mut self, record: &[u8]) -> bool {
        match record::ticket(record) {
            0 => self.order.pass(record),
            ticket => {
                self.order.hold(ticket, record);
                true
            }
        }
    }

    /// Looks at who is about to push. `None`: nothing is held, so there is nothing to decide.
    pub(super) fn look(&self, shared: &Shared) -> Option<Found> {
        let highest = self.order.highest()?;
        Some(Found { highest, blockers: ticket::blockers(&shared.announced, highest) })
    }

    /// Decides, after the ring was taken out once more, to its end or to a hole in it. `Some`: it is worth a line in the log
    /// that somebody is no longer waited for; with the process id, if it is known.
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
        if self.last_warning.is_some_and(|last| now.saturating_duration_since(last) < QUIET) {
            return None;
        }
        self.last_warning = Some(now);
        Some(decision.given_up.first().and_then(|ticket| ticket::announcer(&shared.announced, *ticket)))
    }

    /// Hands what may leave to `f`, at most about `max_bytes`. Returns how many events.
    pub(super) fn take(&mut self, max_bytes: usize, f: impl FnMut(&[u8])) -> usize {
        self.order.take(max_bytes, f)
    }

    /// Nobody will decide any more: everything may leave.
    pub(super) fn let_go_all(&mut self) {
        self.order.let_go_all();
    }

    /// How long the courier may sleep at most; `None`: not at all.
    pub(super) fn pause(&self, pause: Duration) -> Option<Duration> {
        match self.order.state() {
            State::Idle => Some(pause),
            State::Blocked => Some(pause.min(PAUSE)),
            State::LookAgain => None,
        }
    }
}
