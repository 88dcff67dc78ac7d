//! One call worker as the gateway sees it: its process, its rings, and the call that it runs.
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

/// Pause before the next worker is started, after one that ended before it was ready. Doubled each time up to
/// the maximum.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// See the head of this file.
pub(super) struct CallWorker {
    number: usize,
    process: Option<DynamicBackgroundWorker>,
    side: Option<GatewaySide>,
    current: Option<Current>,
    tenure: Tenure,
    /// The tenure of the next worker in this place.
    next_tenure: Tenure,
    since: Instant,
    is_old: bool,
    is_leaving: bool,
    /// Its ring cannot be read, or what came was no answer.
    is_broken: bool,
    not_before: Instant,
    back_off: Duration,
}

/// The call that a worker has.
struct Current {
    call: QueuedCall,
    /// Number of parts that are in the ring.
    sent: usize,
}

/// A worker has ended.
pub(super) struct Ended {
    /// The call that it had.
    pub unanswered: Option<Unanswered>,
    /// It left because its role has changed.
    pub role_has_changed: bool,
}

/// A call whose worker has ended.
pub(super) enum Unanswered {
    /// Its answer was complete nevertheless.
    Answered(u64, CallResult),
    /// The call was begun: it may have committed.
    Begun(QueuedCall),
    /// Nothing of it has run.
    NotBegun(QueuedCall),
}

impl CallWorker {
    /// A place without a worker.
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            process: None,
            side: None,
            current: None,
            tenure: Tenure::default(),
            next_tenure: Tenure::default(),
            since: Instant::now(),
            is_old: false,
            is_leaving: false,
            is_broken: false,
            not_before: Instant::now(),
            back_off: FIRST_BACK_OFF,
        }
    }

    /// Makes the rings of a worker that has connected; notes that one has ended.
    pub(super) fn look_after(&mut self, memory: &CallMemory, gateway: &Gateway) -> Option<Ended> {
        let slot = memory.slots().get(self.number)?;
        if self.side.is_none() && self.process.is_some() && slot.state() == State::Attaching {
            self.side = memory.make_rings(self.number);
            self.back_off = FIRST_BACK_OFF;
            slot.wake();
        }
        if !slot.is_free() {
            return self.retire(memory, gateway, slot.state());
        }
        match self.process.as_ref()?.pid() {
            Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted) => return None,
            Err(_) => {}
        }
        self.process = None;
        let was_ready = self.side.is_some();
        let unanswered = self.collect(memory, gateway);
        self.side = None;
        if !was_ready && !self.is_leaving {
            self.not_before = Instant::now() + self.back_off;
            self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
        }
        self.is_leaving = false;
        Some(Ended { unanswered, role_has_changed: slot.take_role_changed() })
    }

    /// A worker that has served and is absent takes no further call, but has not ended yet. A call that it
    /// was given meanwhile goes to another worker.
    fn retire(&mut self, memory: &CallMemory, gateway: &Gateway, state: State) -> Option<Ended> {
        if self.side.is_none() || self.is_leaving || state != State::Absent {
            return None;
        }
        self.is_leaving = true;
        let unanswered = self.collect(memory, gateway)?;
        Some(Ended { unanswered: Some(unanswered), role_has_changed: false })
    }

    /// What became of the call of a worker that has ended. Its ring may still have a complete answer.
    fn collect(&mut self, memory: &CallMemory, gateway: &Gateway) -> Option<Unanswered> {
        let answer = self.take_answer();
        self.tell_begin(memory, gateway);
        if let Some((id, answer)) = answer {
            self.current = None;
            return Some(Unanswered::Answered(id, answer));
        }
        let current = self.current.take()?;
        let has_begun = memory.slots().get(self.number).is_none_or(|slot| slot.has_begun(current.call.id));
        Some(if has_begun { Unanswered::Begun(current.call) } else { Unanswered::NotBegun(current.call) })
    }

    /// Whether it is time to start a worker.
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
                self.tenure = self.next_tenure;
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

    /// Tells the worker to leave, once. A worker that is still connecting is told when it has its slot.
    pub(super) fn terminate(&mut self, memory: &CallMemory) {
        let Some(slot) = memory.slots().get(self.number) else { return };
        if self.process.is_some() && !self.is_leaving && !slot.is_free() {
            self.is_leaving = true;
            slot.terminate();
        }
    }

    /// The gateway stops serving: the worker leaves, and its call ends with it. The ring is not read again,
    /// because the worker may still be there when the next gateway begins; what it says until then is lost.
    pub(super) fn give_up(&mut self, memory: &CallMemory) -> Option<Unanswered> {
        self.terminate(memory);
        self.side = None;
        let current = self.current.take()?;
        let has_begun = memory.slots().get(self.number).is_none_or(|slot| slot.has_begun(current.call.id));
        Some(if has_begun { Unanswered::Begun(current.call) } else { Unanswered::NotBegun(current.call) })
    }

    /// Whether it can take a call.
    pub(super) fn is_free(&self) -> bool {
        self.side.is_some() && self.current.is_none() && !self.is_leaving
    }

    /// Whether it has its rings and stays.
    pub(super) fn is_ready(&self) -> bool {
        self.side.is_some() && !self.is_leaving
    }

    /// Whether it has a call.
    pub(super) fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// Whether its process was asked for and has not ended.
    pub(super) fn is_there(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it is starting or leaving.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.is_leaving || self.side.is_none()
    }

    /// Whether it is to be replaced as soon as it is free.
    pub(super) fn is_old(&self) -> bool {
        self.is_old || self.tenure.is_over(self.since.elapsed())
    }

    /// See [`super::Calls::limit_tenure`].
    #[cfg(feature = "faults")]
    pub(super) fn limit_tenure(&mut self, tenure: Tenure) {
        self.next_tenure = tenure;
    }

    /// See [`CallWorker::is_old`].
    pub(super) fn mark_old(&mut self) {
        self.is_old = self.process.is_some();
    }

    /// The earliest time for starting a worker here, if there is none.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.process.is_none().then_some(self.not_before)
    }

    /// Whether a part of its request did not fit.
    pub(super) fn has_unsent(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.sent < parts::count(current.call.frame.len()))
    }

    /// Whether it has this call.
    pub(super) fn runs(&self, id: u64) -> bool {
        self.current.as_ref().is_some_and(|current| current.call.id == id)
    }

    /// Cancels the call with this id, if the worker runs it.
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

    /// Sends more of its request, and takes what has come of its answer.
    pub(super) fn exchange(&mut self, memory: &CallMemory, gateway: &Gateway) {
        self.send(memory);
        let answer = self.take_answer();
        self.tell_begin(memory, gateway);
        if let Some((id, answer)) = answer {
            self.current = None;
            gateway.answer_call(id, answer);
        } else if self.current.as_ref().is_some_and(|current| !current.call.reply.is_empty())
            && let Some(slot) = memory.slots().get(self.number)
        {
            // The worker may be waiting for room in its ring.
            slot.wake();
        }
        if self.is_broken {
            self.terminate(memory);
        }
    }

    /// Passes on that the statement of its call has begun. To be asked after its answer, which comes behind
    /// that.
    fn tell_begin(&mut self, memory: &CallMemory, gateway: &Gateway) {
        if let (Some(current), Some(slot)) = (&mut self.current, memory.slots().get(self.number))
            && current.call.tells_begin
            && slot.runs_statement(current.call.id)
        {
            current.call.tells_begin = false;
            gateway.call_has_begun(current.call.id);
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

    /// The answer, when it is complete, with the number of its call. What comes while the worker has no call
    /// is thrown away.
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
            // The answer comes from memory that other processes can write to, so its number alone proves
            // nothing: it must be the number of the call that this worker was given.
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
