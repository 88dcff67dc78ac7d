//! One call worker as the gateway sees it: its process, its rings, the call that it runs.
//!
//! Not for: which call comes next, and what is done with what comes back (`worker/calls.rs`).

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use pgrx::prelude::*;
use sse_gateway::{CallResult, Gateway, QueuedCall};
use sse_proto::call::Tenure;
use sse_ring::{PushError, Wake};

use crate::pg::bgworker::{self, BackgroundWorkerStatus, DynamicBackgroundWorker};
use crate::pg::call_slot::{CallMemory, GatewaySide, State};
use crate::worker::{call, parts};

/// Pause before the next worker, when one has ended before it was ready; doubled each time up to the maximum.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// See the head of this file.
pub(super) struct CallWorker {
    number: usize,
    process: Option<DynamicBackgroundWorker>,
    side: Option<GatewaySide>,
    current: Option<Current>,
    tenure: Tenure,
    since: Instant,
    is_old: bool,
    is_leaving: bool,
    /// Its ring cannot be read, or gave no answer.
    is_broken: bool,
    not_before: Instant,
    back_off: Duration,
}

/// The call that a worker has.
struct Current {
    call: QueuedCall,
    /// Parts that are in the ring.
    sent: usize,
}

/// A worker has ended.
pub(super) struct Ended {
    /// The call that it had.
    pub unanswered: Option<Unanswered>,
    /// It left because its role is not what it was.
    pub role_has_changed: bool,
}

/// A call whose worker has ended.
pub(super) enum Unanswered {
    /// The answer was complete all the same.
    Answered(u64, CallResult),
    /// It was begun: it may have committed.
    Begun(QueuedCall),
    /// Nothing of it has run.
    NotBegun(QueuedCall),
}

impl CallWorker {
    /// None yet.
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            process: None,
            side: None,
            current: None,
            tenure: Tenure::default(),
            since: Instant::now(),
            is_old: false,
            is_leaving: false,
            is_broken: false,
            not_before: Instant::now(),
            back_off: FIRST_BACK_OFF,
        }
    }

    /// Gives a worker that has connected its rings; notes one that has ended.
    pub(super) fn look_after(&mut self, memory: &CallMemory) -> Option<Ended> {
        let slot = memory.slots().get(self.number)?;
        if self.side.is_none() && self.process.is_some() && slot.state() == State::Attaching {
            self.side = memory.make_rings(self.number);
            self.back_off = FIRST_BACK_OFF;
            slot.wake();
        }
        if !slot.is_free() {
            return self.retire(memory, slot.state());
        }
        match self.process.as_ref()?.pid() {
            Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted) => return None,
            Err(_) => {}
        }
        self.process = None;
        let was_ready = self.side.is_some();
        let unanswered = self.collect(memory);
        self.side = None;
        if !was_ready && !self.is_leaving {
            self.not_before = Instant::now() + self.back_off;
            self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
        }
        self.is_leaving = false;
        Some(Ended { unanswered, role_has_changed: slot.take_role_changed() })
    }

    /// One that has served and is absent takes no further call, but has not ended yet: what it was given meanwhile goes to another.
    fn retire(&mut self, memory: &CallMemory, state: State) -> Option<Ended> {
        if self.side.is_none() || self.is_leaving || state != State::Absent {
            return None;
        }
        self.is_leaving = true;
        let unanswered = self.collect(memory)?;
        Some(Ended { unanswered: Some(unanswered), role_has_changed: false })
    }

    /// What became of the call of a worker that has ended. A complete answer may lie in its ring still.
    fn collect(&mut self, memory: &CallMemory) -> Option<Unanswered> {
        if let Some((id, answer)) = self.take_answer() {
            self.current = None;
            return Some(Unanswered::Answered(id, answer));
        }
        let current = self.current.take()?;
        let has_begun = memory.slots().get(self.number).is_none_or(|slot| slot.has_begun(current.call.id));
        Some(if has_begun { Unanswered::Begun(current.call) } else { Unanswered::NotBegun(current.call) })
    }

    /// Whether a worker is to be started now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.process.is_none() && now >= self.not_before
    }

    /// Asks for a worker. `false`: there is no place for one, which is said once.
    pub(super) fn start(&mut self, memory: &CallMemory, says_no_place: &mut bool) -> bool {
        if !memory.slots().get(self.number).is_some_and(|slot| slot.is_free()) {
            return true;
        }
        match bgworker::start_call_worker(self.number, call::argument(self.number, memory.epoch())) {
            Ok(process) => {
                self.process = Some(process);
                self.is_leaving = false;
                self.is_old = false;
                self.is_broken = false;
                self.tenure = Tenure::default();
                self.since = Instant::now();
                *says_no_place = true;
                memory.header.workers_total.fetch_add(1, Relaxed);
                true
            }
            Err(_) => {
                if std::mem::replace(says_no_place, false) {
                    super::say_no_place();
                }
                self.not_before = Instant::now() + self.back_off;
                self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
                false
            }
        }
    }

    /// Tells the worker to leave, once. One that is still connecting is told when it has its slot.
    pub(super) fn terminate(&mut self, memory: &CallMemory) {
        let Some(slot) = memory.slots().get(self.number) else { return };
        if self.process.is_some() && !self.is_leaving && !slot.is_free() {
            self.is_leaving = true;
            slot.terminate();
        }
    }

    /// The gateway stops serving: the worker leaves, and its call with it. Whatever it still says is said to nobody: its ring
    /// is not read again, because the next gateway may be open before it has left.
    pub(super) fn give_up(&mut self, memory: &CallMemory) -> Option<Unanswered> {
        self.terminate(memory);
        self.side = None;
        let current = self.current.take()?;
        let has_begun = memory.slots().get(self.number).is_none_or(|slot| slot.has_begun(current.call.id));
        Some(if has_begun { Unanswered::Begun(current.call) } else { Unanswered::NotBegun(current.call) })
    }

    /// It can take a call.
    pub(super) fn is_free(&self) -> bool {
        self.side.is_some() && self.current.is_none() && !self.is_leaving
    }

    /// It has its rings.
    pub(super) fn is_ready(&self) -> bool {
        self.side.is_some() && !self.is_leaving
    }

    /// It has a call.
    pub(super) fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// Its process was asked for and has not ended.
    pub(super) fn is_there(&self) -> bool {
        self.process.is_some()
    }

    /// It comes or goes.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.is_leaving || self.side.is_none()
    }

    /// It is to be replaced when it is free.
    pub(super) fn is_old(&self) -> bool {
        self.is_old || self.tenure.is_over(self.since.elapsed())
    }

    /// See [`CallWorker::is_old`].
    pub(super) fn mark_old(&mut self) {
        self.is_old = self.process.is_some();
    }

    /// When something has to be done for it, if nothing happens.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.process.is_none().then_some(self.not_before)
    }

    /// A part of its request did not fit.
    pub(super) fn has_unsent(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.sent < parts::count(current.call.frame.len()))
    }

    /// Whether it has this call.
    pub(super) fn runs(&self, id: u64) -> bool {
        self.current.as_ref().is_some_and(|current| current.call.id == id)
    }

    /// Cancels its call.
    pub(super) fn cancel(&self, memory: &CallMemory, id: u64) {
        if let Some(slot) = memory.slots().get(self.number) {
            slot.cancel(id);
        }
    }

    /// Gives it a call.
    pub(super) fn begin(&mut self, memory: &CallMemory, call: QueuedCall) {
        self.current = Some(Current { call, sent: 0 });
        self.tenure.count_call();
        self.send(memory);
    }

    /// Continues its request, and takes what has come of its answer.
    pub(super) fn exchange(&mut self, memory: &CallMemory, gateway: &Gateway) {
        self.send(memory);
        if let Some((id, answer)) = self.take_answer() {
            self.current = None;
            gateway.answer_call(id, answer);
        } else if self.current.as_ref().is_some_and(|current| !current.call.reply.is_empty())
            && let Some(slot) = memory.slots().get(self.number)
        {
            // It waits for room.
            slot.wake();
        }
        if self.is_broken {
            self.terminate(memory);
        }
    }

    fn send(&mut self, memory: &CallMemory) {
        let (Some(side), Some(current)) = (&self.side, &mut self.current) else { return };
        let parts = parts::count(current.call.frame.len());
        while current.sent < parts {
            match side.requests.try_push(&parts::part(&current.call.frame, &[], current.sent)) {
                Ok(wake) => {
                    current.sent += 1;
                    if wake == Wake::Needed
                        && let Some(slot) = memory.slots().get(self.number)
                    {
                        slot.wake();
                    }
                }
                Err(PushError::Full | PushError::TooLarge) => return,
            }
        }
    }

    /// The answer, when it is complete, and the number of its call. What comes while there is no call is nobody's.
    fn take_answer(&mut self) -> Option<(u64, CallResult)> {
        let side = self.side.as_mut()?;
        let mut reply = self.current.as_mut().map(|current| &mut current.call.reply);
        let mut progress = parts::Progress::Nothing;
        let taken = side.answers.begin().and_then(|mut batch| {
            while progress != parts::Progress::Complete {
                if batch.drain(1, |part| {
                    progress = parts::take(part, |bytes| {
                        if let Some(reply) = &mut reply {
                            reply.push(bytes);
                        }
                    });
                })? == 0
                {
                    break;
                }
            }
            Ok(())
        });
        if let Err(corrupt) = taken {
            log!("pg_sse gateway: the ring of call worker {} is damaged: {corrupt}", self.number);
            self.is_broken = true;
            return None;
        }
        if progress != parts::Progress::Complete {
            return None;
        }
        let current = self.current.as_mut()?;
        let mistake = match current.call.reply.finish() {
            // Memory that others can write to said so: that a call has the number does not make it the worker's.
            Ok(Some(answered)) if answered.id() == current.call.id => {
                return Some((answered.id(), CallResult::Answer(answered)));
            }
            Ok(Some(answered)) => format!("it has no call {}", answered.id()),
            Ok(None) => return Some((current.call.id, CallResult::NoRoom)),
            Err(error) => error.to_string(),
        };
        log!("pg_sse gateway: call worker {} gave no answer: {mistake}", self.number);
        self.is_broken = true;
        None
    }

    /// See [`super::Calls::prepare_to_sleep`].
    pub(super) fn prepare_to_sleep(&mut self) -> bool {
        self.side.as_mut().is_none_or(|side| side.answers.prepare_to_sleep())
    }

    /// See [`super::Calls::awake`].
    pub(super) fn awake(&mut self) {
        if let Some(side) = &mut self.side {
            side.answers.awake();
        }
    }
}
