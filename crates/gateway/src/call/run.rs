//! One call, from its arguments to its outcome: it enters the queue, and its answer is waited for.
//!
//! Not for HTTP: the caller of this module brings the arguments, and turns the outcome into what the peer is
//! told.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_proto::call::{
    AnswerShape, ArgumentError, CallRequest, Cut, Given, Outcome, UserParameters, statement,
};
use sse_proto::identity::Identity;
use sse_proto::route::Call;
use sse_proto::sse::EventId;

use super::context::CallContext;
use crate::between::queue::{
    CANCEL_GRACE, CallResult, NewCall, News, NoPlace, PendingCall, Standing, request_bytes,
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
    /// The address whose share of the queue and of memory the call takes.
    pub(super) address: IpAddr,
    /// Whose turn among calls it takes; `None`: that of the address.
    pub(super) party: Option<IpAddr>,
    /// `None`: nobody asks where its events are.
    pub(super) own_events: Option<OwnEvents<'l>>,
    /// The call is run even if columns of its result have changed since the routes were read.
    pub(super) may_have_new_columns: bool,
    pub(super) purpose: Purpose,
}

/// What a run is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The answer to a request.
    Call,
    /// The beginning of streams (C7.6).
    Snapshot,
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
    /// The call's number.
    pub(super) id: u64,
    /// What a snapshot saw.
    pub(super) cut: Option<Cut>,
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
    room: Room,
) -> Result<Ran<'c>, Failure> {
    let Queued { call, shape, waiting, .. } = enter(shared, settings, job, room, Begin::Untold)?;
    let (Answered { answer, room }, watch) = waiting.answered(shared).await?;
    let position = match watch {
        Some(watch) if answer.has_end => position(&watch, shared).await,
        _ => None,
    };
    Ok(Ran { id: answer.id, cut: answer.cut, call, shape, outcome: answer.outcome, room, position })
}

/// The same for a call that has no events, for a caller that wants to know when a worker has begun with it.
///
/// # Errors
/// [`Failure`]; each variant as it is described there.
pub(super) async fn run_telling<'c>(
    shared: &Arc<Shared>,
    settings: &Settings,
    job: Job<'c, '_>,
    room: Room,
    begun: impl FnOnce(),
) -> Result<Ran<'c>, Failure> {
    let Queued { call, shape, mut waiting, .. } = enter(shared, settings, job, room, Begin::Told)?;
    let Answered { answer, room } = match waiting.begun(shared).await? {
        Begun::Outdated(answered) => answered,
        Begun::Yes => {
            begun();
            waiting.answered(shared).await?.0
        }
    };
    Ok(Ran { id: answer.id, cut: answer.cut, call, shape, outcome: answer.outcome, room, position: None })
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

/// A call in the queue, or with a worker. Dropping it cancels the call.
pub(super) struct Queued<'c> {
    /// The overload.
    pub(super) call: &'c Call,
    pub(super) shape: AnswerShape,
    pub(super) number: u64,
    pub(super) waiting: Waiting,
}

/// Whether [`Waiting::begun`] will be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Untold,
    Told,
}

/// What came of waiting for a worker.
pub(super) enum Begun {
    Yes,
    /// The statement was made for an older catalog, and nothing of it was run.
    Outdated(Answered),
}

/// The wait for a call's answer.
pub(super) struct Waiting {
    pending: PendingCall,
    /// Until when a worker must have begun with it.
    deadline: Instant,
    /// How long the worker lets it run; zero: without a limit.
    limit: Duration,
    watch: Option<CallWatch>,
    /// What came before the call was known to have begun.
    early: Option<CallResult>,
    /// Counts what was sent along with the call.
    _room: Room,
}

/// Makes the statement and lets the call into the queue. From then on only the frame is left of its
/// arguments.
///
/// # Errors
/// [`Failure`] of before it waits.
pub(super) fn enter<'c>(
    shared: &Arc<Shared>,
    settings: &Settings,
    job: Job<'c, '_>,
    mut room: Room,
    begin: Begin,
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
        is_snapshot: job.purpose == Purpose::Snapshot,
        settings: job.context.settings(),
        statement: (&statement).into(),
        // Nobody calls a snapshot, so what it raises for its caller alone reaches nobody.
        caller: (job.purpose == Purpose::Call).then(|| job.context.caller(id)),
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
    let watch = if begin == Begin::Told { watch.map(CallWatch::for_stream) } else { watch };
    let (tells_begin, party) = (begin == Begin::Told, job.party);
    let queued = NewCall { id, frame, deadline, tells_begin, party };
    let pending =
        shared.calls.enter(queued, job.address, settings.call_queue_size).map_err(Failure::NoPlace)?;
    let limit = settings.call_timeout;
    let waiting = Waiting { pending, deadline, limit, watch, early: None, _room: room };
    Ok(Queued { call, shape: statement.answer, number: id, waiting })
}

impl Waiting {
    /// Waits until a worker has begun with the call.
    ///
    /// # Errors
    /// [`Failure`] when it does not begin.
    pub(super) async fn begun(&mut self, shared: &Shared) -> Result<Begun, Failure> {
        let begun = match self.next(shared).await {
            Ok(News::Expired) => Err(Failure::NotInTime),
            Ok(News::Result(CallResult::NotRun)) => Err(Failure::NotRun),
            Ok(News::Result(CallResult::Answer(answered))) if is_outdated(&answered) => {
                return Ok(Begun::Outdated(answered));
            }
            Ok(News::Result(result)) => {
                self.early = Some(result);
                Ok(Begun::Yes)
            }
            Ok(News::Begun) => Ok(Begun::Yes),
            Err(failure) => Err(failure),
        };
        begun.inspect_err(|_| count_failure(shared))
    }

    /// Waits for the answer. With it goes the watch over the call's events, which may still be on their way.
    ///
    /// # Errors
    /// [`Failure`]; each variant as it is described there.
    pub(super) async fn answered(
        mut self,
        shared: &Shared,
    ) -> Result<(Answered, Option<CallWatch>), Failure> {
        let answered = self.result(shared).await;
        let is_done = |answered: &Answered| matches!(answered.answer.outcome, Outcome::Done { .. });
        if !answered.as_ref().is_ok_and(is_done) {
            count_failure(shared);
        }
        Ok((answered?, self.watch))
    }

    async fn result(&mut self, shared: &Shared) -> Result<Answered, Failure> {
        loop {
            let news = match self.early.take() {
                Some(result) => News::Result(result),
                None => self.next(shared).await?,
            };
            return match news {
                News::Begun => continue,
                News::Expired => Err(Failure::NotInTime),
                News::Result(CallResult::Answer(answer)) => Ok(answer),
                News::Result(CallResult::NoRoom) => Err(Failure::NoRoom),
                News::Result(CallResult::Lost) => Err(Failure::Lost),
                News::Result(CallResult::NotRun) => Err(Failure::NotRun),
            };
        }
    }

    /// Waits for news of the call: until `deadline` for a worker, and then as long as the worker lets it run.
    async fn next(&mut self, shared: &Shared) -> Result<News, Failure> {
        let mut stop = shared.stop_changes();
        let mut until = self.deadline;
        loop {
            tokio::select! {
                biased;
                news = self.pending.news() => return Ok(news),
                _ = stop.wait_for(Option::is_some) => return Err(Failure::Stopping),
                () = tokio::time::sleep_until(until.into()) => {}
            }
            let end = match self.pending.standing() {
                Standing::Waiting => return Err(Failure::NotInTime),
                Standing::RunningSince(_) if self.limit.is_zero() => Instant::now() + FOREVER,
                Standing::RunningSince(since) => since + self.limit + CANCEL_GRACE,
                // Its answer is on the way.
                Standing::Over => Instant::now() + CANCEL_GRACE,
            };
            if end <= Instant::now() {
                return Err(Failure::TooLong);
            }
            until = end;
        }
    }
}

fn is_outdated(answered: &Answered) -> bool {
    matches!(answered.answer.outcome, Outcome::Failed { outdated: true, .. })
}

fn count_failure(shared: &Shared) {
    Stats::add(&shared.stats.calls_failed_total, 1);
}
