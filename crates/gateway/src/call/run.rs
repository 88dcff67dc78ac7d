//! One call, from its arguments to its outcome: it enters the queue, and its answer is waited for.
//!
//! Not for HTTP: the caller of this module brings the arguments, and turns the outcome into what the peer is
//! told.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_proto::call::{AnswerShape, ArgumentError, CallRequest, Given, Outcome, UserParameters, statement};
use sse_proto::identity::Identity;
use sse_proto::route::Call;
use sse_proto::sse::EventId;

use super::context::CallContext;
use crate::between::queue::{
    CANCEL_GRACE, CallResult, NewCall, NoPlace, PendingCall, Standing, request_bytes,
};
use crate::between::reply::Answered;
use crate::room::{Room, may_grow};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::stream::call_ends::{CallEnds, CallWatch};

/// Memory that making a statement of a body takes, as a multiple of the body: its values, the statement's
/// parameters, the frame.
const STATEMENT_FACTOR: usize = 4;

/// How long an answer waits until its thread has all events of its call. They take a millisecond; longer only
/// while a transaction that the call's events must come behind is stopped after its commit, or the thread has
/// more events to send than it can. Beyond it the answer goes without `SSE-Position`.
const POSITION_PATIENCE: Duration = Duration::from_secs(1);

/// A wait without a limit, for arithmetic.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is to be run.
pub(super) struct Job<'c, 'l> {
    /// Overloads, among which the arguments choose.
    pub(super) calls: &'l [&'c Call],
    pub(super) arguments: Arguments,
    /// Who calls, for the user parameters.
    pub(super) user: UserParameters,
    /// What the routine can know of its call.
    pub(super) context: CallContext,
    /// The address whose share of the queue the call takes.
    pub(super) address: IpAddr,
    /// `None`: nobody asks where its events are.
    pub(super) own_events: Option<OwnEvents<'l>>,
    /// The call is run even if columns of its result have changed since the routes were read.
    pub(super) may_have_new_columns: bool,
}

/// Where the events of a call are to be found again, and whose they must be.
pub(super) struct OwnEvents<'l> {
    pub(super) ends: &'l Rc<CallEnds>,
    /// The caller's.
    pub(super) identity: Option<Arc<Identity>>,
}

/// The arguments as they came.
pub(super) enum Arguments {
    /// Names and values.
    Pairs(Vec<(String, String)>),
    /// A JSON object; an empty text is an empty object.
    Json(Vec<u8>),
}

/// What a worker answered.
pub(super) struct Ran<'c> {
    /// The overload that was run.
    pub(super) call: &'c Call,
    pub(super) shape: AnswerShape,
    pub(super) outcome: Outcome,
    /// The memory that the outcome takes.
    pub(super) room: Option<Room>,
    /// The last of its events that its caller may receive by scope.
    pub(super) position: Option<EventId>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments fit no overload.
    Arguments(ArgumentError),
    NoMemory,
    NoPlace(NoPlace),
    /// The call was not begun and will not be.
    NotRun,
    /// The call waited until its time was over.
    NotInTime,
    /// The worker does not give the call up.
    TooLong,
    /// The call ran, and there is no room for its answer.
    NoRoom,
    /// The worker died while it ran the call.
    Lost,
    /// The gateway is being stopped.
    Stopping,
}

/// Runs a call. `room` counts its arguments. Dropping the future cancels the call.
///
/// # Errors
/// [`Failure`]; each variant as it is described there.
pub(super) async fn run<'c>(
    shared: &Arc<Shared>,
    settings: &Settings,
    job: Job<'c, '_>,
    mut room: Room,
) -> Result<Ran<'c>, Failure> {
    let Queued { call, shape, pending, deadline, watch } = enter(shared, settings, job, &mut room)?;
    let answered = wait(pending, deadline, settings.call_timeout, shared).await;
    if !matches!(&answered, Ok(Answered { answer, .. }) if matches!(answer.outcome, Outcome::Done { .. })) {
        Stats::add(&shared.stats.calls_failed_total, 1);
    }
    let Answered { answer, room } = answered?;
    let position = match watch {
        Some(watch) if answer.has_end => position(&watch, shared).await,
        _ => None,
    };
    Ok(Ran { call, shape, outcome: answer.outcome, room, position })
}

/// Waits until this thread has all events of the call, which usually came before the answer.
async fn position(watch: &CallWatch, shared: &Shared) -> Option<EventId> {
    let mut stop = shared.stop_changes();
    tokio::select! {
        biased;
        position = watch.ended() => position,
        _ = stop.wait_for(Option::is_some) => None,
        () = tokio::time::sleep(POSITION_PATIENCE) => None,
    }
}

/// A call that waits.
struct Queued<'c> {
    call: &'c Call,
    shape: AnswerShape,
    pending: PendingCall,
    deadline: Instant,
    watch: Option<CallWatch>,
}

/// Makes the statement and lets the call into the queue. From then on only the frame is left of its
/// arguments.
fn enter<'c>(
    shared: &Arc<Shared>,
    settings: &Settings,
    job: Job<'c, '_>,
    room: &mut Room,
) -> Result<Queued<'c>, Failure> {
    let bytes;
    let given = match job.arguments {
        Arguments::Pairs(pairs) => Given::Query(pairs),
        Arguments::Json(json) => {
            if !may_grow(json.len().saturating_mul(STATEMENT_FACTOR)) {
                return Err(Failure::NoMemory);
            }
            bytes = json;
            Given::Body(&bytes)
        }
    };
    let (call, mut statement) =
        statement(job.calls.iter().copied(), &given, &job.user, settings.user_parameters)
            .map_err(Failure::Arguments)?;
    if job.may_have_new_columns {
        statement.rows.retain(|row| row.is_argument);
    }
    let id = shared.calls.number();
    let frame = CallRequest {
        id,
        timeout_ms: u32::try_from(settings.call_timeout.as_millis()).unwrap_or(u32::MAX),
        label: &format!("{}.{}", call.schema, call.name),
        read_only: call.read_only,
        is_snapshot: false,
        settings: job.context.settings(),
        statement: (&statement).into(),
        caller: Some(job.context.caller(id)),
    };
    let limit = Some(settings.call_timeout).filter(|limit| !limit.is_zero()).unwrap_or(FOREVER);
    let deadline = Instant::now() + limit;
    let frame = frame.encode().map_err(|_| Failure::NoMemory)?;
    // From here on the frame is held instead of the arguments. It also has what the call may know of its
    // request.
    room.shrink_to(frame.len());
    if !room.try_grow(frame.len() - room.bytes(), request_bytes(settings.max_body_size)) {
        return Err(Failure::NoMemory);
    }
    // Before its first event can come.
    let watch = job.own_events.map(|own| own.ends.watch(id, own.identity));
    let queued = NewCall { id, frame, deadline };
    let pending =
        shared.calls.enter(queued, job.address, settings.call_queue_size).map_err(Failure::NoPlace)?;
    Ok(Queued { call, shape: statement.answer, pending, deadline, watch })
}

/// Waits for a worker until `deadline`, and then for its answer; `limit` is how long the worker lets it run.
async fn wait(
    mut pending: PendingCall,
    deadline: Instant,
    limit: Duration,
    shared: &Shared,
) -> Result<Answered, Failure> {
    let mut stop = shared.stop_changes();
    let mut until = deadline;
    loop {
        tokio::select! {
            biased;
            result = pending.answered() => return match result {
                Some(CallResult::Answer(answer)) => Ok(answer),
                Some(CallResult::NoRoom) => Err(Failure::NoRoom),
                Some(CallResult::Lost) => Err(Failure::Lost),
                Some(CallResult::NotRun) => Err(Failure::NotRun),
                None => Err(Failure::NotInTime),
            },
            _ = stop.wait_for(Option::is_some) => return Err(Failure::Stopping),
            () = tokio::time::sleep_until(until.into()) => {}
        }
        let end = match pending.standing() {
            Standing::Waiting => return Err(Failure::NotInTime),
            Standing::RunningSince(_) if limit.is_zero() => Instant::now() + FOREVER,
            Standing::RunningSince(since) => since + limit + CANCEL_GRACE,
            // Its answer is on the way.
            Standing::Over => Instant::now() + CANCEL_GRACE,
        };
        if end <= Instant::now() {
            return Err(Failure::TooLong);
        }
        until = end;
    }
}
