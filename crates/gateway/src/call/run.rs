//! One call, from its arguments to its outcome: it enters the queue, and its answer is waited for.
//!
//! Not for HTTP: the caller of this module brings the arguments, and turns the outcome into what the peer is
//! told.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use sse_proto::call::{
    AnswerShape, CallRequest, Cut, Given, Outcome, ParameterLabel, UserParameters, statement,
};
use sse_proto::identity::Identity;
use sse_proto::route::Call;
use sse_proto::sse::EventId;

use super::context::CallContext;
use super::waiting::{Ended, FOREVER, Failure, Waiting, position};
use crate::between::queue::{NewCall, request_bytes};
use crate::between::reply::Answered;
use crate::room::{Room, may_grow};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stream::call_ends::{CallEnds, CallWatch};

/// Memory that making a statement of a body takes, as a multiple of the body: its values, the statement's
/// parameters, the frame.
const STATEMENT_FACTOR: usize = 4;

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
    /// It must not write, whatever its comment says: a HEAD is safe (RFC 9110 §9.2.1).
    pub(super) is_head: bool,
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
    /// What its arguments are called.
    pub(super) labels: Vec<ParameterLabel>,
    pub(super) shape: AnswerShape,
    pub(super) outcome: Outcome,
    /// The memory that the outcome takes.
    pub(super) room: Option<Room>,
}

/// Runs a call; `begun` is called when its statement begins. `room` counts its arguments. Dropping the future
/// cancels the call.
///
/// # Errors
/// [`Failure`]; each variant as it is described there.
pub(super) async fn run<'c>(
    shared: &Arc<Shared>,
    settings: &Settings,
    job: Job<'c, '_>,
    room: Room,
    begun: impl FnOnce(),
) -> Result<Ran<'c>, Failure> {
    let mut queued = enter(shared, settings, job, room, Begin::Told)?;
    if queued.waiting.begins(shared).await?.is_some() {
        begun();
    }
    queued.ran(shared).await.0
}

/// A call in the queue, or with a worker. Dropping it cancels the call.
pub(super) struct Queued<'c> {
    /// The overload.
    pub(super) call: &'c Call,
    /// What its arguments are called. Counted with what was sent along with the call.
    pub(super) labels: Vec<ParameterLabel>,
    pub(super) shape: AnswerShape,
    pub(super) number: u64,
    pub(super) waiting: Waiting,
}

/// Whether [`Waiting::begins`] will be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Untold,
    Told,
    /// Nobody waits: the call goes on without its caller.
    OfNobody,
}

impl<'c> Queued<'c> {
    /// Waits for the end of the call; says besides where the last of its events is that its caller may
    /// receive by scope.
    pub(super) async fn ran(self, shared: &Shared) -> (Result<Ran<'c>, Failure>, Option<EventId>) {
        let Self { call, labels, shape, waiting, .. } = self;
        let Ended { outcome, events } = waiting.ended(shared).await;
        let position = match events {
            Some(events) => position(&events, shared).await,
            None => None,
        };
        let ran = |Answered { answer, room }| {
            let (id, cut, outcome) = (answer.id, answer.cut, answer.outcome);
            Ran { id, cut, call, labels, shape, outcome, room }
        };
        (outcome.map(ran), position)
    }
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
    let labels = std::mem::take(&mut statement.labels);
    let id = shared.calls.number();
    let name = format!("{}.{}", call.schema, call.name);
    let frame = CallRequest {
        id,
        timeout_ms: u32::try_from(settings.call_timeout.as_millis()).unwrap_or(u32::MAX),
        label: &name,
        read_only: call.read_only || job.is_head,
        is_snapshot: job.purpose == Purpose::Snapshot,
        settings: job.context.settings(),
        statement: (&statement).into(),
        // Nobody calls a snapshot, so what it raises for its caller alone reaches nobody.
        caller: (job.purpose == Purpose::Call).then(|| job.context.caller(id)),
        tells_begin: begin == Begin::Told,
    };
    let limit = Some(settings.call_timeout).filter(|limit| !limit.is_zero()).unwrap_or(FOREVER);
    let deadline = Instant::now() + limit;
    let frame = frame.encode().map_err(|_| Failure::NoMemory)?;
    // From here on these are held instead of the arguments. The frame also has what the call may know of its
    // request.
    let held = frame.len() + labels.iter().map(ParameterLabel::bytes).sum::<usize>();
    room.shrink_to(held);
    if !room.try_grow(held - room.bytes(), request_bytes(settings.max_body_size)) {
        return Err(Failure::NoMemory);
    }
    // Before its first event can come.
    let watch = job.own_events.map(|own| own.ends.watch(id, own.identity));
    let watch = if begin == Begin::Told { watch.map(CallWatch::for_stream) } else { watch };
    let (tells_begin, party, goes_on) = (begin == Begin::Told, job.party, begin == Begin::OfNobody);
    let mut about = job.context.about(&name);
    if job.purpose == Purpose::Snapshot {
        about.method = "snapshot".to_owned();
    }
    let about = Arc::new(about);
    let queued = NewCall { id, frame, deadline, tells_begin, party, about, goes_on };
    let pending =
        shared.calls.enter(queued, job.address, settings.call_queue_size).map_err(Failure::NoPlace)?;
    shared.call_waits();
    let limit = settings.call_timeout;
    let waiting = Waiting { number: id, pending, deadline, limit, watch, early: None, _room: room };
    Ok(Queued { call, labels, shape: statement.answer, number: id, waiting })
}
