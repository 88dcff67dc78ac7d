//! The gateway's side of HTTP calls: keeps the call workers alive, hands them the waiting calls, and brings
//! the answers back.
//!
//! All of it runs in the gateway's main thread, and nothing here waits: a request that does not fit into its
//! worker's ring is continued on the next turn.
//!
//! A call that was begun is never repeated: when its worker ends before it has answered, the call may have
//! committed. One that was handed over but not begun goes to another worker.
//!
//! Not for: which calls wait, and their answers over HTTP (`sse_gateway`); a worker's own loop
//! (`worker/call.rs`).

mod slot;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use pgrx::prelude::*;
use sse_gateway::{CallAvailability, CallResult, Gateway, Pushed, QueuedCall};
use sse_proto::call::CallRole;
#[cfg(feature = "faults")]
use sse_proto::call::Tenure;
use sse_proto::record::Kind;
use sse_ring::PushError;

use crate::guc;
use crate::pg::call_slot::{self, CallMemory, CallState};
use crate::pg::shmem::Shared;
use crate::pg::{backend, bgworker, clock, futex, wal};
use crate::publish::capture;

use slot::{CallWorker, Ended};

/// How often a refused role is looked at again, in case it was mended in a way that nobody announces.
const RECHECK: Duration = Duration::from_secs(30);

/// How often a request that does not fit yet is continued. Nothing else here is done more often.
const SHORT_PAUSE: Duration = Duration::from_millis(2);

/// See the head of this file.
pub(super) struct Calls {
    shared: Shared,
    memory: Option<CallMemory>,
    workers: Vec<CallWorker>,
    /// Calls that were handed to a worker which left before it began with them.
    returned: VecDeque<QueuedCall>,
    role: Role,
    told: Option<CallAvailability>,
    /// No place in `max_worker_processes`: said once, until there is one.
    says_no_place: bool,
    /// Whether workers may be connected.
    wanted: bool,
    /// Ends of calls wait for room in the ring (C7.9).
    ends_wait: bool,
    recheck_at: Instant,
}

/// What is known of the role.
#[derive(Default)]
struct Role {
    /// The reading of the catalog in which it was found.
    generation: Option<u64>,
    verdict: Option<CallRole>,
    /// A worker has left because of the role: no other worker is started before the role was read again.
    is_outdated: bool,
}

impl Calls {
    /// A gateway begins: the workers of the previous gateway leave.
    pub(super) fn new(shared: Shared) -> Self {
        let memory = call_slot::memory().filter(|memory| !memory.slots().is_empty());
        if let Some(memory) = memory {
            memory.next_epoch();
            bgworker::before_exit(end_workers);
        }
        // One place is left for the worker that reads the routines: without that worker nothing would be
        // known of the routines.
        let slots = memory.map_or(0, |memory| memory.slots().len().min(bgworker::places_for_calls()));
        Self {
            shared,
            memory,
            workers: (0..slots).map(CallWorker::new).collect(),
            returned: VecDeque::new(),
            role: Role::default(),
            told: None,
            says_no_place: true,
            wanted: false,
            ends_wait: false,
            recheck_at: Instant::now(),
        }
    }

    /// Takes the role as the catalog worker found it in one reading of the catalog.
    pub(super) fn take_role(&mut self, role: Option<&CallRole>, generation: u64) {
        if self.role.generation == Some(generation) {
            return;
        }
        self.role.generation = Some(generation);
        self.role.is_outdated = false;
        if self.role.verdict.as_ref() != role {
            say(role);
            self.role.verdict = role.cloned();
        }
        self.recheck_at = Instant::now() + RECHECK;
    }

    /// One turn: workers that came and went, cancellations, answers, new calls.
    pub(super) fn tend(&mut self, gateway: Option<&Gateway>) {
        let Some(memory) = self.memory else { return };
        let Some(gateway) = gateway else { return };
        let wanted = self.are_wanted();
        self.wanted = wanted;
        let now = Instant::now();
        for worker in &mut self.workers {
            match worker.look_after(&memory, gateway) {
                None => {}
                Some(Ended { unanswered, role_has_changed }) => {
                    if role_has_changed && !self.role.is_outdated {
                        self.role.is_outdated = true;
                        // Makes the catalog be read again, and the role with it.
                        self.shared.announce_catalog_change();
                    }
                    match unanswered {
                        None => {}
                        Some(slot::Unanswered::Answered(id, answer)) => gateway.answer_call(id, answer),
                        Some(slot::Unanswered::Begun(call)) => {
                            memory.header.lost_total.fetch_add(1, Relaxed);
                            gateway.answer_call(call.id, CallResult::Lost);
                        }
                        Some(slot::Unanswered::NotBegun(call)) => self.returned.push_back(call),
                    }
                }
            }
            if !wanted || self.role.is_outdated {
                worker.terminate(&memory);
            } else if worker.is_due(now) && !worker.start(&memory, &mut self.says_no_place) {
                break;
            }
        }
        while let Some(id) = gateway.poll_cancelled() {
            self.cancel(&memory, gateway, id);
        }
        for worker in &mut self.workers {
            worker.exchange(&memory, gateway);
        }
        // Between a worker's answer and its next call: while calls wait, a worker is idle nowhere else.
        self.recycle_one(&memory);
        if wanted && self.workers.iter().any(CallWorker::is_there) {
            self.hand_out(&memory, gateway);
        } else {
            self.turn_away(gateway);
        }
        self.tell(&memory, gateway, wanted);
        self.ends_wait = !gateway.hand_over_endings(|record| push(&self.shared, record));
    }

    /// Hands waiting calls to workers that are free.
    fn hand_out(&mut self, memory: &CallMemory, gateway: &Gateway) {
        let now = Instant::now();
        for worker in self.workers.iter_mut().filter(|worker| worker.is_free()) {
            let call = loop {
                match self.returned.pop_front() {
                    Some(call) if call.deadline <= now => gateway.answer_call(call.id, CallResult::NotRun),
                    Some(call) => break Some(call),
                    None => break gateway.take_call(),
                }
            };
            let Some(call) = call else { return };
            worker.begin(memory, call);
        }
    }

    /// Answers all waiting calls: no worker can run them, and it is not known when one will.
    fn turn_away(&mut self, gateway: &Gateway) {
        let waiting = std::iter::from_fn(|| self.returned.pop_front().or_else(|| gateway.take_call()));
        waiting.for_each(|call| gateway.answer_call(call.id, CallResult::NotRun));
    }

    fn cancel(&mut self, memory: &CallMemory, gateway: &Gateway, id: u64) {
        if let Some(place) = self.returned.iter().position(|call| call.id == id) {
            self.returned.remove(place);
            gateway.answer_call(id, CallResult::NotRun);
            return;
        }
        if let Some(worker) = self.workers.iter().find(|worker| worker.runs(id)) {
            worker.cancel(memory, id);
        }
    }

    /// Whether workers may be connected.
    fn are_wanted(&mut self) -> bool {
        let is_ready = matches!(self.role.verdict, Some(CallRole::Ready { .. }));
        if matches!(self.role.verdict, Some(CallRole::Refused { .. })) && Instant::now() >= self.recheck_at {
            self.recheck_at = Instant::now() + RECHECK;
            self.shared.announce_catalog_change();
        }
        is_ready && self.shared.header.follower.leave_until() <= clock::now_microseconds()
    }

    /// Settings have changed: idle workers are replaced one after the other, because a session does not
    /// notice when `ALTER ROLE … SET` has changed its defaults.
    pub(super) fn reload(&mut self) {
        self.workers.iter_mut().for_each(CallWorker::mark_old);
    }

    /// From now on a new worker serves this long.
    #[cfg(feature = "faults")]
    pub(super) fn limit_tenure(&mut self, tenure: Tenure) {
        self.workers.iter_mut().for_each(|worker| worker.limit_tenure(tenure));
    }

    /// Replaces at most one worker at a time, so that the others go on.
    fn recycle_one(&mut self, memory: &CallMemory) {
        if self.workers.iter().any(CallWorker::is_on_its_way) {
            return;
        }
        if let Some(old) = self.workers.iter_mut().find(|worker| worker.is_free() && worker.is_old()) {
            old.terminate(memory);
        }
    }

    /// Tells the gateway whether calls can run, and shows the state in shared memory.
    fn tell(&mut self, memory: &CallMemory, gateway: &Gateway, wanted: bool) {
        let ready = self.workers.iter().filter(|worker| worker.is_ready()).count();
        let is_any = self.workers.iter().any(CallWorker::is_there);
        let (state, availability) = match &self.role.verdict {
            None => (CallState::Checking, CallAvailability::Unavailable),
            Some(CallRole::Off) => (CallState::Off, CallAvailability::Off),
            Some(CallRole::Refused { .. }) => (CallState::Refused, CallAvailability::Unavailable),
            Some(CallRole::Ready { .. }) if self.role.is_outdated => {
                (CallState::Checking, CallAvailability::Unavailable)
            }
            Some(CallRole::Ready { .. }) if !wanted || !is_any => {
                (CallState::Starting, CallAvailability::Unavailable)
            }
            Some(CallRole::Ready { .. }) if ready == 0 => (CallState::Starting, CallAvailability::Ready),
            Some(CallRole::Ready { .. }) => (CallState::Ready, CallAvailability::Ready),
        };
        let header = memory.header;
        header.state.store(state as u32, Relaxed);
        header.ready.store(u32::try_from(ready).unwrap_or(0), Relaxed);
        let running = self.workers.iter().filter(|worker| worker.is_busy()).count();
        header.running.store(u32::try_from(running).unwrap_or(0), Relaxed);
        if self.told != Some(availability) {
            gateway.set_calls(availability);
            self.told = Some(availability);
        }
    }

    /// Serving ends: the running calls end, because nobody can get their answers, and the workers leave.
    pub(super) fn close(&mut self, gateway: &Gateway) {
        let Some(memory) = self.memory else { return };
        gateway.set_calls(CallAvailability::Unavailable);
        self.told = None;
        for call in self.returned.drain(..) {
            gateway.answer_call(call.id, CallResult::NotRun);
        }
        for worker in &mut self.workers {
            worker.exchange(&memory, gateway);
            match worker.give_up(&memory) {
                None => {}
                Some(slot::Unanswered::Answered(id, answer)) => gateway.answer_call(id, answer),
                Some(slot::Unanswered::Begun(call)) => gateway.answer_call(call.id, CallResult::Lost),
                Some(slot::Unanswered::NotBegun(call)) => gateway.answer_call(call.id, CallResult::NotRun),
            }
        }
        self.role = Role::default();
        self.wanted = false;
        // They go with the gateway.
        self.ends_wait = false;
        // Makes workers that are still connecting leave, too.
        memory.next_epoch();
        let header = memory.header;
        header.state.store(CallState::Off as u32, Relaxed);
        header.ready.store(0, Relaxed);
        header.running.store(0, Relaxed);
    }

    /// How long the loop may sleep, at most `longest`. `None`: an answer has come in, do not sleep.
    pub(super) fn prepare_to_sleep(&mut self, longest: Duration) -> Option<Duration> {
        if !self.workers.iter_mut().all(CallWorker::prepare_to_sleep) {
            return None;
        }
        if self.ends_wait || self.workers.iter().any(CallWorker::has_unsent) {
            return Some(longest.min(SHORT_PAUSE));
        }
        let next = self.workers.iter().filter_map(CallWorker::not_before).min().filter(|_| self.wanted);
        let Some(next) = next else { return Some(longest) };
        Some(longest.min(next.saturating_duration_since(Instant::now()).max(SHORT_PAUSE)))
    }

    /// Call this when the loop goes on, before anything else.
    pub(super) fn awake(&mut self) {
        self.workers.iter_mut().for_each(CallWorker::awake);
    }
}

/// Puts a record of the gateway's own into the ring: how a call ended that went on without its caller, a
/// canary. The ring may be full for long; the courier is awake then.
pub(super) fn push(shared: &Shared, record: &[u8]) -> Pushed {
    if !wal::is_on() {
        return push_as_it_is(shared, record);
    }
    if Kind::of(record) == Some(Kind::Event) {
        return write(shared, record);
    }
    // Whatever the call has published is in the log by now. The reader of the log comes there only when it is
    // flushed.
    let end = wal::position::end_of_log();
    let Some(placed) = wal::position::placed(record, end) else { return Pushed::Full };
    shared.wal.want_flush(end);
    shared.wal.wake_reader();
    push_as_it_is(shared, &placed)
}

/// An event of the gateway's own goes through the log as those of sessions do: so every server tells it, and
/// it has a place of its own.
fn write(shared: &Shared, record: &[u8]) -> Pushed {
    if record.len() > capture::max_record_bytes(shared) {
        return Pushed::TooLarge;
    }
    // No call goes on without its caller on a standby, so nothing is lost there.
    if !backend::in_recovery() {
        wal::write::immediate(shared, record);
    }
    Pushed::Done
}

fn push_as_it_is(shared: &Shared, record: &[u8]) -> Pushed {
    match shared.ring.producer().try_push(record) {
        Ok(wake) => {
            futex::wake_if(wake, shared);
            Pushed::Done
        }
        Err(PushError::Full) => Pushed::Full,
        Err(PushError::TooLarge) => Pushed::TooLarge,
    }
}

/// The gateway ends, in whatever way. Its workers end with it, because nobody is left to take their answers.
fn end_workers() {
    if let Some(memory) = call_slot::memory() {
        memory.next_epoch();
        memory.header.state.store(CallState::Off as u32, Relaxed);
        for slot in memory.slots() {
            slot.terminate();
            slot.wake();
        }
    }
}

/// Says once what is wrong with the role, or may be wrong.
fn say(role: Option<&CallRole>) {
    match role {
        None | Some(CallRole::Off) => {}
        Some(CallRole::Ready { warnings }) => {
            for warning in warnings {
                ereport!(PgLogLevel::WARNING, PgSqlErrorCode::ERRCODE_WARNING, format!("pg_sse: {warning}"));
            }
        }
        Some(CallRole::Refused { reason, hint }) => {
            pg_sys::panic::ErrorReport::new(
                PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                format!("pg_sse: no HTTP calls run, because {reason} (sse.call_role)"),
                "call_role",
            )
            .set_detail("Streams are served all the same.")
            .set_hint(hint.clone())
            .report(PgLogLevel::WARNING);
        }
    }
}

/// No place for a worker is left.
fn say_no_place() {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!(
            "pg_sse: no background worker is free to run HTTP calls; set max_worker_processes (now {}) to a higher value",
            bgworker::max_worker_processes()
        ),
        format!("sse.call_workers is {}.", guc::call_worker_slots())
    );
}
