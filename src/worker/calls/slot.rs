//! One call worker as the main thread sees it: its process, and its place in shared memory.
//!
//! Not for: its rings and the call that it has (`exchange.rs`); which call comes next, and what is done with
//! what comes back (`worker/calls.rs`).

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sse_gateway::CallDesk;
use sse_proto::call::Tenure;

use super::exchange::{Exchange, Unanswered};
use super::lock;
use crate::pg::bgworker::{self, BackgroundWorkerStatus, DynamicBackgroundWorker};
use crate::pg::call_slot::{CallMemory, Slot, State};
use crate::worker::call;

/// Pause before the next worker is started, after one that ended before it was ready. Doubled each time up to
/// the maximum.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// See the head of this file.
pub(super) struct CallWorker {
    number: usize,
    process: Option<DynamicBackgroundWorker>,
    /// The tenure of the next worker in this place.
    next_tenure: Tenure,
    not_before: Instant,
    back_off: Duration,
}

/// A worker has ended, or takes no further call.
pub(super) struct Ended {
    /// The call that it had.
    pub unanswered: Option<Unanswered>,
    /// It left because its role has changed.
    pub role_has_changed: bool,
}

impl CallWorker {
    /// A place without a worker.
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            process: None,
            next_tenure: Tenure::default(),
            not_before: Instant::now(),
            back_off: FIRST_BACK_OFF,
        }
    }

    /// Whether its process was there and has gone. Asks Postgres, which may wait for a lock: not to be asked
    /// while a worker's lock is held.
    pub(super) fn has_gone(&self, memory: &CallMemory) -> bool {
        lock::none_is_held();
        let has_left = memory.slots().get(self.number).is_some_and(Slot::is_free);
        has_left
            && self.process.as_ref().is_some_and(|process| {
                !matches!(process.pid(), Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted))
            })
    }

    /// Makes the rings of a worker that has connected; notes that one has ended. `exchange` is that of the
    /// same number, `has_gone` what [`CallWorker::has_gone`] has just said.
    pub(super) fn look_after(
        &mut self,
        memory: &CallMemory,
        exchange: &mut Exchange,
        calls: &CallDesk<'_>,
        has_gone: bool,
    ) -> Option<Ended> {
        let slot = memory.slots().get(self.number)?;
        if !exchange.has_rings() && self.process.is_some() && slot.state() == State::Attaching {
            exchange.open(memory.make_rings(self.number));
            self.back_off = FIRST_BACK_OFF;
        }
        if !slot.is_free() {
            return retire(exchange, calls, slot.state());
        }
        if !has_gone {
            return None;
        }
        self.process = None;
        let unanswered = exchange.collect(calls);
        let was_ready = exchange.close();
        if !was_ready && !exchange.is_leaving() {
            self.not_before = Instant::now() + self.back_off;
            self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
        }
        exchange.set_leaving(false);
        Some(Ended { unanswered, role_has_changed: slot.take_role_changed() })
    }

    /// Whether it is time to start a worker.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.process.is_none() && now >= self.not_before
    }

    /// Asks for a worker. Says the tenure of the one that was asked for; `None`: the one before is still
    /// there. Not to be called while a worker's lock is held, as above.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub(super) fn start(&mut self, memory: &CallMemory) -> Result<Option<Tenure>, NoPlace> {
        lock::none_is_held();
        if !memory.slots().get(self.number).is_some_and(|slot| slot.is_free()) {
            return Ok(None);
        }
        match bgworker::start_call_worker(self.number, call::argument(self.number, memory.epoch())) {
            Ok(process) => {
                self.process = Some(process);
                memory.header.workers_total.fetch_add(1, Relaxed);
                Ok(Some(self.next_tenure))
            }
            Err(_) => {
                self.not_before = Instant::now() + self.back_off;
                self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
                Err(NoPlace)
            }
        }
    }

    /// Its number among the workers.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Whether its process was asked for and has not ended.
    pub(super) fn is_there(&self) -> bool {
        self.process.is_some()
    }

    /// See [`super::Calls::limit_tenure`].
    #[cfg(feature = "faults")]
    pub(super) fn limit_tenure(&mut self, tenure: Tenure) {
        self.next_tenure = tenure;
    }

    /// The earliest time for starting a worker here, if there is none.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.process.is_none().then_some(self.not_before)
    }
}

/// A worker that has served and is absent takes no further call, but has not ended yet. A call that it was
/// given meanwhile goes to another worker.
fn retire(exchange: &mut Exchange, calls: &CallDesk<'_>, state: State) -> Option<Ended> {
    if !exchange.is_ready() || state != State::Absent {
        return None;
    }
    exchange.set_leaving(true);
    let unanswered = exchange.collect(calls)?;
    Some(Ended { unanswered: Some(unanswered), role_has_changed: false })
}

/// No background worker is free.
pub(super) struct NoPlace;
