//! A call that goes on without its caller (C7.9): answered with 202 when it is queued, and with its events,
//! and an event at the end, in streams that present its execution id.
//!
//! Such a call belongs to a task of its runtime thread, which nobody can end but the gateway. Its places in
//! the queue and the memory for its answer are those of any call.
//!
//! Not for who gets its events: that is `sse_proto::admission`.

use std::borrow::Cow;
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sse_proto::caller::Caller;
use sse_proto::record::{Envelope, Record};
use sse_proto::scope::Scope;
use sse_proto::word::ExecutionId;
use tokio::task::spawn_local;

use super::Admitted;
use super::answer::{accepted, too_large, unsaid};
use super::run::{Begin, Job, Queued, enter};
use super::streamed::{ERROR, Said, Teller};
use super::waiting::{Ended, Failure, Waiting};
use crate::between::endings::Ending;
use crate::between::outbox::Severity;
use crate::between::queue::NoPlace;
use crate::content::problem::Problem;
use crate::room::{ANSWER_BYTES, Room};
use crate::shared::Shared;
use crate::stream::answer::Answer;
use crate::supervise::supervised;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// An id that nobody can guess: 128 random bits.
///
/// # Errors
/// The answer when the system has no random bits.
pub(super) fn made_id() -> Result<ExecutionId, Problem> {
    let mut bits = [0; 16];
    let filled = SystemRandom::new().fill(&mut bits).ok();
    let text: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    filled.and_then(|()| ExecutionId::parse(&text).ok()).ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The server has no random numbers at the moment.")
    })
}

impl Admitted<'_> {
    /// Lets the call into the queue, and says where it can be followed: at the stream with this execution id.
    pub(super) fn detach(&self, job: Job<'_, '_>, room: Room, id: &ExecutionId) -> Result<Answer, Problem> {
        let Self { settings, shared, routes, .. } = self;
        let position = shared.published.id(shared.epoch);
        let address = job.address;
        let who = Who::of(&job.context.caller(0));
        // Whatever room there is when the call has ended: that it has ended can be said.
        let mut end_room = shared.calls.answer_room(address);
        let least = record(ERROR, &unsaid().take_object(), &who.caller(0)).len();
        if !end_room.try_grow(2 * least, ANSWER_BYTES) {
            return Err(self.refused(NoPlace::Answers));
        }
        let queued = enter(shared, settings, job, room, Begin::OfNobody);
        let Queued { call, labels, shape, number, waiting } =
            queued.map_err(|failure| self.problem(failure))?;
        let url = routes.endpoint(call.oid).and_then(|endpoint| endpoint.url.as_deref()).unwrap_or("/");
        let id = utf8_percent_encode(id.as_str(), NON_ALPHANUMERIC);
        let location = format!("{url}?id={id}&last_event_id={position}");
        // On a standby it is not run.
        let teller = Teller { labels, shape, is_read_only: call.read_only, primary: None };
        let limit = settings.max_event_size;
        let shared = Arc::clone(shared);
        spawn_local(supervised(Arc::clone(&shared), async move {
            let Some(said) = end(teller, waiting, &shared).await else { return };
            tell(said, &who.caller(number), end_room, limit, &shared);
        }));
        let mut response = accepted();
        let headers = response.headers_mut();
        headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
        if let Ok(location) = HeaderValue::from_str(&location) {
            headers.insert(LOCATION, location);
        }
        Ok(Answer::Response(response))
    }
}

/// Who has made the call, as long as it runs.
struct Who {
    is_authenticated: bool,
    user_id: Option<String>,
    execution_id: Option<String>,
    has_made_id: bool,
}

impl Who {
    fn of(caller: &Caller<'_>) -> Self {
        Self {
            is_authenticated: caller.is_authenticated,
            user_id: caller.user_id.map(str::to_owned),
            execution_id: caller.execution_id.map(str::to_owned),
            has_made_id: caller.has_made_id,
        }
    }

    fn caller(&self, call: u64) -> Caller<'_> {
        Caller {
            call,
            is_authenticated: self.is_authenticated,
            user_id: self.user_id.as_deref(),
            execution_id: self.execution_id.as_deref(),
            has_made_id: self.has_made_id,
        }
    }
}

/// Waits for the end of the call. `None`: the gateway is being stopped, and all its streams with it; where
/// such a stream is resumed, a gap says so.
async fn end(teller: Teller, waiting: Waiting, shared: &Shared) -> Option<Said> {
    match waiting.ended(shared).await {
        Ended { outcome: Err(Failure::Stopping), .. } => None,
        ended => Some(teller.said(ended, shared).await),
    }
}

/// Has the end told as an event of scope `caller`, to which `room` is counted. It has room for [`unsaid`]
/// twice.
fn tell(said: Said, caller: &Caller<'_>, mut room: Room, limit: usize, shared: &Shared) {
    let instead = record(ERROR, &unsaid().take_object(), caller);
    // Errors are small.
    let fits = said.name == ERROR || said.data.len() <= limit;
    // While it is copied the data is counted.
    let mut end = match fits {
        true => record(said.name, &said.data, caller),
        false => record(ERROR, &too_large().take_object(), caller),
    };
    drop(said);
    if end.is_empty() || !room.try_grow(end.len(), ANSWER_BYTES) {
        end.clone_from(&instead);
    }
    if end.is_empty() {
        shared.outbox.log_limited("endings", Severity::Warning, || {
            "there is no memory for telling how a call has ended that went on without its caller".to_owned()
        });
        return;
    }
    shared.endings.add(Ending { record: end, instead, _room: room });
    shared.outbox.wake_main();
}

/// Empty if there is no memory for it.
fn record(name: &str, data: &Bytes, caller: &Caller<'_>) -> Vec<u8> {
    let envelope = Envelope {
        scope: Cow::Owned(Scope::Caller),
        event: Some(name),
        execution_id: caller.execution_id,
        caller: Some(*caller),
        ..Envelope::for_all()
    };
    Record::Event { envelope, data: &String::from_utf8_lossy(data) }.encode().unwrap_or_default()
}
