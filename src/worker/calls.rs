//! The gateway's side of HTTP calls: keeps the call workers alive, cancels calls, and brings the answers
//! back.
//!
//! It runs in the gateway's main thread, and nothing here waits: a request that does not fit into its
//! worker's ring is continued on the next turn. The threads that have calls hand them to the workers
//! themselves (`calls/crew.rs`); the main thread does it where a worker has become free.
//!
//! A call that was begun is never repeated: when its worker ends before it has answered, the call may have
//! committed. One that was handed over but not begun goes to another worker.
//!
//! Not for: which calls wait, and their answers over HTTP (`sse_gateway`); a worker's own loop
//! (`worker/call.rs`).

mod crew;
mod exchange;
mod lock;
mod messages;
mod slot;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use pgrx::prelude::*;
use sse_gateway::{CallAvailability, CallDesk, CallResult, CallWorkers, Gateway, Pushed};
use sse_proto::call::CallRole;
#[cfg(feature = "faults")]
use sse_proto::call::Tenure;
use sse_proto::record::Kind;
use sse_ring::PushError;

use crate::pg::call_slot::{self, CallMemory};
use crate::pg::call_state::CallState;
use crate::pg::shmem::Shared;
use crate::pg::{backend, bgworker, clock, futex, wal};
use crate::publish::capture;

use crew::Crew;
use exchange::{Exchange, Unanswered};
use slot::{CallWorker, Ended, NoPlace};

/// How often a refused role is looked at again, in case it was mended in a way that nobody announces.
const RECHECK: Duration = Duration::from_secs(30);

/// How often a request that does not fit yet is continued. Nothing else here is done more often.
const SHORT_PAUSE: Duration = Duration::from_millis(2);

/// See the head of this file.
pub(super) struct Calls {
    shared: Shared,
    memory: Option<CallMemory>,
    workers: Vec<CallWorker>,
    /// The same workers, as all threads see them. `None`: there are none.
    crew: Option<Arc<Crew>>,
    role: Role,
    told: Option<CallAvailability>,
    /// No place in `max_worker_processes`: said once, until there is one.
    says_no_place: bool,
    /// Whether workers may be connected.
    may_connect: bool,
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
            memory.header.running.store(0, Relaxed);
            bgworker::before_exit(end_workers);
        }
        // One place is left for the worker that reads the routines: without that worker nothing would be
        // known of the routines.
        let slots = memory.map_or(0, |memory| memory.slots().len().min(bgworker::places_for_calls()));
        Self {
            shared,
            memory,
            workers: (0..slots).map(CallWorker::new).collect(),
            crew: memory.map(|memory| Arc::new(Crew::new(&memory, slots))),
            role: Role::default(),
            told: None,
            says_no_place: true,
            may_connect: false,
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
            messages::role(role);
            self.role.verdict = role.cloned();
        }
        self.recheck_at = Instant::now() + RECHECK;
    }

    /// A gateway serves: its threads hand out calls from now on.
    pub(super) fn serve(&self, gateway: &Gateway) {
        gateway.set_call_workers(self.crew.clone().map(|crew| crew as Arc<dyn CallWorkers>));
    }

    /// One turn: workers that came and went, cancellations, answers, new calls.
    pub(super) fn tend(&mut self, gateway: Option<&Gateway>) {
        let (Some(memory), Some(crew)) = (self.memory, self.crew.clone()) else { return };
        let Some(gateway) = gateway else { return };
        let calls = gateway.call_desk();
        self.may_connect = self.are_wanted();
        self.look_after(&memory, &crew, &calls);
        while let Some(id) = gateway.poll_cancelled() {
            crew.cancel(&calls, id);
        }
        for number in 0..self.workers.len() {
            // Not under the lock: an answer wakes a thread, and the log may have to be waited for.
            let Some(mut worker) = crew.worker(number) else { break };
            let answer = worker.exchange(&calls);
            let line = worker.take_line();
            drop(worker);
            if let Some((id, answer)) = answer {
                calls.answer(id, answer);
            }
            if let Some(line) = line {
                lock::none_is_held();
                log!("pg_sse gateway: {line}");
            }
        }
        crew.recycle_one(crew.workers().any(|worker| !worker.is_ready()));
        if self.may_connect && self.workers.iter().any(CallWorker::is_there) {
            crew.hand_out(&calls);
        } else {
            turn_away(&crew, &calls);
        }
        self.tell(&memory, gateway);
        self.ends_wait = !gateway.hand_over_endings(|record| push(&self.shared, record));
    }

    /// Workers that came and went, and those that are to.
    fn look_after(&mut self, memory: &CallMemory, crew: &Crew, calls: &CallDesk<'_>) {
        let now = Instant::now();
        for worker in &mut self.workers {
            let has_gone = worker.has_gone(memory);
            let Some(mut exchange) = crew.worker(worker.number()) else { return };
            let ended = worker.look_after(memory, &mut exchange, calls, has_gone);
            drop(exchange);
            if let Some(Ended { unanswered, role_has_changed }) = ended {
                if role_has_changed && !self.role.is_outdated {
                    self.role.is_outdated = true;
                    // Makes the catalog be read again, and the role with it.
                    self.shared.announce_catalog_change();
                }
                match unanswered {
                    None => {}
                    Some(Unanswered::Answered(id, answer)) => calls.answer(id, answer),
                    Some(Unanswered::Begun(call)) => {
                        memory.header.lost_total.fetch_add(1, Relaxed);
                        calls.answer(call.id, CallResult::Lost);
                    }
                    Some(Unanswered::NotBegun(call)) => crew.put_back(call),
                }
            }
            if !self.may_connect || self.role.is_outdated {
                if worker.is_there() {
                    crew.worker(worker.number()).iter_mut().for_each(|exchange| exchange.terminate());
                }
            } else if worker.is_due(now) {
                match worker.start(memory) {
                    Ok(tenure) => {
                        self.says_no_place |= tenure.is_some();
                        if let (Some(tenure), Some(mut exchange)) = (tenure, crew.worker(worker.number())) {
                            exchange.expect(tenure);
                        }
                    }
                    Err(NoPlace) => {
                        if std::mem::replace(&mut self.says_no_place, false) {
                            messages::no_place();
                        }
                        return;
                    }
                }
            }
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
        self.each_worker(|exchange| exchange.mark_old());
    }

    /// From now on a new worker serves this long.
    #[cfg(feature = "faults")]
    pub(super) fn limit_tenure(&mut self, tenure: Tenure) {
        self.workers.iter_mut().for_each(|worker| worker.limit_tenure(tenure));
    }

    /// Tells the gateway whether calls can run, and shows the state in shared memory.
    fn tell(&mut self, memory: &CallMemory, gateway: &Gateway) {
        let mut ready = 0;
        self.each_worker(|exchange| ready += u32::from(exchange.is_ready()));
        let is_any = self.workers.iter().any(CallWorker::is_there);
        let (state, availability) = match &self.role.verdict {
            None => (CallState::Checking, CallAvailability::Unavailable),
            Some(CallRole::Off) => (CallState::Off, CallAvailability::Off),
            Some(CallRole::Refused { .. }) => (CallState::Refused, CallAvailability::Unavailable),
            Some(CallRole::Ready { .. }) if self.role.is_outdated => {
                (CallState::Checking, CallAvailability::Unavailable)
            }
            Some(CallRole::Ready { .. }) if !self.may_connect || !is_any => {
                (CallState::Starting, CallAvailability::Unavailable)
            }
            Some(CallRole::Ready { .. }) if ready == 0 => (CallState::Starting, CallAvailability::Ready),
            Some(CallRole::Ready { .. }) => (CallState::Ready, CallAvailability::Ready),
        };
        let header = memory.header;
        header.state.store(state as u32, Relaxed);
        header.ready.store(ready, Relaxed);
        if self.told != Some(availability) {
            gateway.set_calls(availability);
            self.told = Some(availability);
        }
    }

    /// Serving ends: the running calls end, because nobody can get their answers, and the workers leave.
    pub(super) fn close(&mut self, gateway: &Gateway) {
        let (Some(memory), Some(crew)) = (self.memory, self.crew.clone()) else { return };
        gateway.set_calls(CallAvailability::Unavailable);
        // From here on no other thread uses the workers.
        gateway.set_call_workers(None);
        self.told = None;
        let calls = gateway.call_desk();
        while let Some(call) = crew.poll_returned() {
            calls.answer(call.id, CallResult::NotRun);
        }
        for worker in &self.workers {
            let Some(mut exchange) = crew.worker(worker.number()) else { break };
            let answer = exchange.exchange(&calls);
            if worker.is_there() {
                exchange.terminate();
            }
            // The ring is not read again, because the worker may still be there when the next gateway begins;
            // what it says until then is lost.
            exchange.close();
            let unanswered = exchange.give_up();
            drop(exchange);
            if let Some((id, answer)) = answer {
                calls.answer(id, answer);
            }
            match unanswered {
                None => {}
                Some(Unanswered::Answered(id, answer)) => calls.answer(id, answer),
                Some(Unanswered::Begun(call)) => calls.answer(call.id, CallResult::Lost),
                Some(Unanswered::NotBegun(call)) => calls.answer(call.id, CallResult::NotRun),
            }
        }
        self.role = Role::default();
        self.may_connect = false;
        // They go with the gateway.
        self.ends_wait = false;
        // Makes workers that are still connecting leave, too.
        memory.next_epoch();
        let header = memory.header;
        header.state.store(CallState::Off as u32, Relaxed);
        header.ready.store(0, Relaxed);
    }

    /// How long the loop may sleep, at most `longest`. `None`: an answer has come in, do not sleep.
    pub(super) fn prepare_to_sleep(&mut self, longest: Duration) -> Option<Duration> {
        let (mut may_sleep, mut is_short) = (true, self.ends_wait);
        self.each_worker(|exchange| {
            may_sleep &= !exchange.more_comes();
            is_short |= exchange.has_unsent();
        });
        if !may_sleep {
            return None;
        }
        if is_short {
            return Some(longest.min(SHORT_PAUSE));
        }
        let next = self.workers.iter().filter_map(CallWorker::not_before).min().filter(|_| self.may_connect);
        let Some(next) = next else { return Some(longest) };
        Some(longest.min(next.saturating_duration_since(Instant::now()).max(SHORT_PAUSE)))
    }

    fn each_worker(&self, mut f: impl FnMut(&mut Exchange)) {
        let workers = self.crew.iter().flat_map(|crew| crew.workers());
        workers.for_each(|mut exchange| f(&mut exchange));
    }
}

/// Answers all waiting calls: no worker can run them, and it is not known when one will.
fn turn_away(crew: &Crew, calls: &CallDesk<'_>) {
    let waiting = std::iter::from_fn(|| crew.poll_returned().or_else(|| calls.take()));
    waiting.for_each(|call| calls.answer(call.id, CallResult::NotRun));
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
