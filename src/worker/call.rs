//! `pg_sse call worker`: connected to the served database as `sse.call_role`, runs one HTTP call after the
//! other (C7.2).
//!
//! The worker leaves when it is told to, when its gateway has gone, when its role may no longer run calls,
//! and when it cannot clean up after a call. These reasons are checked before every wait, because code that
//! runs inside a call resets the latch.
//!
//! Not for: running a call (`pg/call_session.rs`), and when workers are started (`worker/calls.rs`).

use std::cell::Cell;
use std::ffi::CString;
use std::time::{Duration, Instant};

use pgrx::prelude::*;
use sse_proto::call::{CANCELLED, CallAnswer, CallRequest, CallRole, EventsEnd, OUT_OF_TIME, Outcome};
use sse_proto::record::Record;
use sse_ring::{PushError, Wake};

use super::parts;
use crate::catalog::call_role;
use crate::guc;
use crate::pg::bgworker::{self, Handover};
use crate::pg::call_session::Session;
use crate::pg::call_slot::{self, CallMemory, Slot, State, WorkerSide};
use crate::pg::entry::{invalidation, xact};
use crate::pg::shmem::{self, Shared};
use crate::pg::text::for_message;
use crate::pg::{call_signals, own_transaction, stale_plans};
use crate::publish::caller;

/// How often an idle worker looks around, although everything that concerns it wakes it.
const BEAT: Duration = Duration::from_secs(10);

/// Pause while the gateway has no room for the answer. The gateway wakes the worker when it has taken
/// something.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(1);

/// How long a worker that was told to leave goes on handing over an answer that does not fit into its ring.
/// Megabytes take milliseconds; a gateway that has not taken them by then is stopped.
const LAST_ANSWER: Duration = Duration::from_secs(1);

struct Worker {
    shared: Shared,
    memory: CallMemory,
    slot: &'static Slot,
    epoch: u64,
    session: Session,
    side: WorkerSide,
    request: Vec<u8>,
    room: parts::Room,
}

thread_local! {
    static MY_SLOT: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

/// The worker's argument: the number of its slot, and the gateway's epoch in which it was asked for.
pub(super) fn argument(number: usize, epoch: u64) -> u64 {
    (epoch & 0xffff_ffff) << 32 | number as u64
}

/// Main function of the worker.
pub(crate) fn run(argument: u64) {
    let (Some(shared), Some(memory)) = (shmem::shared(), call_slot::memory()) else { return };
    let number = (argument & 0xffff_ffff) as usize;
    let epoch = memory.epoch();
    let Some(slot) = memory.slots().get(number) else { return };
    // The gateway that asked for this worker has gone since, or has asked twice.
    if epoch & 0xffff_ffff != argument >> 32 || !slot.take() {
        bgworker::leave(0);
    }
    MY_SLOT.set(Some(slot));
    bgworker::before_exit(give_back);
    call_signals::install(slot);
    let Some(role) = guc::CALL_ROLE.optional() else { bgworker::leave(0) };
    bgworker::connect_as(&guc::DATABASE.text(), &role);
    invalidation::watch_roles(call_role::invalidate);
    stale_plans::watch();
    let session = Session::new(keep_end, tell_begin);
    call_signals::serves();
    slot.attach();
    shared.wake_gateway();
    while slot.state() != State::Ready {
        if call_signals::told_to_leave() || memory.epoch() != epoch {
            bgworker::leave(0);
        }
        bgworker::wait(BEAT);
    }
    let Some(side) = memory.attach_rings(number) else { bgworker::leave(1) };
    // The callbacks do not know of changes before this point.
    call_role::invalidate();
    let (request, room) = (Vec::new(), parts::Room::new());
    Worker { shared, memory, slot, epoch, session, side, request, room }.serve();
}

/// The transaction that runs tells, at its commit, that the snapshot of this call has ended: after the
/// events of all transactions that it saw (`sse_proto::order`).
fn keep_end(call: u64) -> bool {
    let record = Record::SnapshotEnd { ticket: 0, xid: 0, call }.encode();
    record.is_ok_and(|record| xact::keep_end_until_commit(&record).is_ok())
}

/// The statement of this call is about to run, and somebody waits for that. Cannot fail: it runs where errors
/// are caught by jumps.
fn tell_begin(call: u64) {
    if let (Some(slot), Some(shared)) = (MY_SLOT.get(), shmem::shared()) {
        slot.set_running_statement(call);
        slot.wake_home(&shared);
    }
}

fn give_back() {
    if let Some(slot) = MY_SLOT.take() {
        slot.give_back();
    }
    if let Some(shared) = shmem::shared() {
        shared.wake_gateway();
    }
}

impl Worker {
    fn serve(mut self) -> ! {
        // When to hand over the statistics that wait, if no further call comes.
        let mut statistics: Option<Instant> = None;
        loop {
            self.leave_if_due();
            bgworker::take_in_what_waits();
            if self.take_request() {
                let request = std::mem::take(&mut self.request);
                self.handle(&request);
                let wait = bgworker::hand_over_statistics(Handover::Soon);
                statistics = wait.map(|wait| Instant::now() + wait);
                continue;
            }
            let now = Instant::now();
            if statistics.is_some_and(|due| due <= now) {
                bgworker::hand_over_statistics(Handover::Now);
                statistics = None;
            }
            if self.side.requests.prepare_to_sleep() {
                bgworker::wait(statistics.map_or(BEAT, |due| due.saturating_duration_since(now)).min(BEAT));
            }
            self.side.requests.awake();
        }
    }

    fn leave_if_due(&self) {
        if call_signals::told_to_leave() || self.memory.epoch() != self.epoch {
            bgworker::leave(0);
        }
    }

    /// `true`: a request is complete. Without memory for the request this worker leaves: nothing of the call
    /// has begun, so another worker gets it, if it still has time.
    fn take_request(&mut self) -> bool {
        let Ok(mut batch) = self.side.requests.begin() else { bgworker::leave(1) };
        let mut progress = parts::Progress::Nothing;
        let mut has_room = true;
        while progress != parts::Progress::Complete {
            let request = &mut self.request;
            let mut append = |bytes: &[u8]| {
                has_room = has_room && request.try_reserve(bytes.len()).is_ok();
                if has_room {
                    request.extend_from_slice(bytes);
                }
            };
            // One part at a time: what follows the last part of a request is another request.
            match batch.drain(1, |part| progress = parts::take(part, &mut append)) {
                Ok(0) => break,
                Ok(_) if has_room => {}
                Ok(_) | Err(_) => bgworker::leave(1),
            }
        }
        if progress == parts::Progress::More {
            // The gateway waits for room.
            self.slot.wake_home(&self.shared);
        }
        progress == parts::Progress::Complete
    }

    fn handle(&mut self, bytes: &[u8]) {
        let Ok(request) = CallRequest::decode(bytes) else {
            log!("pg_sse call worker: a request that cannot be read");
            bgworker::leave(1)
        };
        // Before the call can be cancelled and before it has begun: leaving here does not harm the call.
        self.leave_if_role_has_changed();
        self.slot.set_running(request.id);
        self.leave_if_due();
        let (outcome, end) = if self.slot.to_be_cancelled() == request.id {
            (cancelled(), EventsEnd::NoEvents)
        } else {
            self.slot.set_begun(request.id);
            let what = CString::new(format!("sse call {}", for_message(request.label))).unwrap_or_default();
            bgworker::report_activity(Some(&what));
            self.run(&request)
        };
        // A HEAD is read-only whatever the comment says, so no other comment would help it.
        let is_head = request.settings.contains(&("request.method", "HEAD"));
        if request.read_only
            && !is_head
            && matches!(&outcome, Outcome::Failed { sqlstate, .. } if sqlstate == b"25006")
        {
            say_that_it_writes(request.label);
        }
        if matches!(&outcome, Outcome::Failed { message, raised: false, .. } if message == OUT_OF_TIME) {
            say_that_it_is_long(request.label);
        }
        call_signals::cleans();
        let is_clean = self.session.clean_up();
        call_signals::has_cleaned();
        bgworker::report_activity(None);
        let cut = self.session.take_cut();
        self.answer(&CallAnswer { id: request.id, end, cut, outcome });
        if is_clean.is_err() {
            // From here on another worker may take this one's place as soon as it has ended.
            self.slot.retire();
            self.shared.wake_gateway();
            bgworker::leave(1);
        }
    }

    /// Runs a call, as that of its caller from before its first transaction until after its last (C4.2).
    fn run(&mut self, request: &CallRequest<'_>) -> (Outcome, EventsEnd) {
        if caller::begin(request.caller.as_ref()).is_err() {
            return (out_of_memory(), EventsEnd::NoEvents);
        }
        let outcome = self.session.call(request);
        // What became of the call is known: a signal to leave must not end the process before it is told.
        call_signals::cleans();
        (outcome, caller::end(&self.shared))
    }

    fn leave_if_role_has_changed(&mut self) {
        let is_superuser = self.session.is_superuser();
        let is_ready = !call_role::take_outdated()
            || matches!(own_transaction::run(call_role::check), CallRole::Ready { .. });
        if is_superuser || !is_ready {
            self.slot.set_role_changed();
            bgworker::leave(0);
        }
    }

    /// Hands the answer over, in parts. Waits while the gateway makes room, and leaves when the gateway has
    /// gone. A worker that was told to leave still goes on for a moment, because what became of the call is
    /// known.
    fn answer(&mut self, answer: &CallAnswer) {
        let mut patience: Option<Instant> = None;
        // The gateway learns from the worker's end that the call has no answer.
        let Ok(head) = answer.encode_head() else { bgworker::leave(1) };
        let tail = answer.tail();
        for index in 0..parts::count(head.len() + tail.len()) {
            let part = self.room.part(&head, tail, index);
            loop {
                match self.side.answers.try_push(part) {
                    Ok(wake) => {
                        if wake == Wake::Needed {
                            self.slot.wake_home(&self.shared);
                        }
                        break;
                    }
                    Err(PushError::Full) => {
                        if self.memory.epoch() != self.epoch {
                            bgworker::leave(0);
                        }
                        if call_signals::told_to_leave() {
                            let until = *patience.get_or_insert_with(|| Instant::now() + LAST_ANSWER);
                            if Instant::now() >= until {
                                bgworker::leave(0);
                            }
                        }
                        self.slot.wake_home(&self.shared);
                        bgworker::wait(NO_ROOM_PAUSE);
                    }
                    Err(PushError::TooLarge) => bgworker::leave(1),
                }
            }
        }
    }
}

/// Written in addition to the error, which does not say what to do: a GET runs READ ONLY when its method
/// follows from the routine's name or volatility (C7.1).
fn say_that_it_writes(label: &str) {
    let label = for_message(label);
    pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
        format!("pg_sse: {label} writes, and a GET of it may not"),
        "say_that_it_writes",
    )
    .set_hint("Write HTTP POST in its comment, or HTTP GET if a link may make it write.".to_owned())
    .report(PgLogLevel::LOG);
}

/// Written in addition to the error, which speaks of a statement timeout.
fn say_that_it_is_long(label: &str) {
    let label = for_message(label);
    pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
        format!("pg_sse: {label} has run longer than sse.call_timeout"),
        "say_that_it_is_long",
    )
    .set_hint(
        "Raise sse.call_timeout if calls may take this long: a reload is enough. It holds for calls that go on without \
         their callers, too."
            .to_owned(),
    )
    .report(PgLogLevel::LOG);
}

fn cancelled() -> Outcome {
    failed(*b"57014", CANCELLED)
}

fn out_of_memory() -> Outcome {
    failed(*b"53200", "out of memory")
}

fn failed(sqlstate: [u8; 5], message: &str) -> Outcome {
    Outcome::Failed { sqlstate, message: message.to_owned(), raised: false, outdated: false, argument: None }
}
