//! A call that is answered with a stream (C7.8): its events as they are sent, then its result, then the end.
//!
//! Until the call's statement begins, whatever refuses it is an ordinary answer. From then on the call
//! belongs to a task, and its socket to the slab. The two are tied together (`stream/of_call`): the slab is
//! told the last event, and when the stream goes, for whatever reason, the task ends, which cancels the call.
//!
//! Not for how the stream is written: that is the slab's.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderMap, Method as Verb, Response, StatusCode};
use sse_proto::call::{AnswerShape, Outcome, ParameterLabel};
use sse_proto::query::has_last_event_id;
use sse_proto::route::Call;
use sse_proto::sse::LongEvent;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::Admitted;
use super::answer::{Raised, changed_meanwhile, failed, nothing, result, unanswered};
use super::negotiation::{prefers_async, wants_stream};
use super::primary::Primary;
use super::run::{Begin, Job, Queued, enter};
use super::waiting::{Ended, Waiting};
use crate::between::reply::Answered;
use crate::content::body::Body;
use crate::content::problem::Problem;
use crate::entry::admission::StreamPermit;
use crate::room::{Room, held};
use crate::shared::Shared;
use crate::stream::answer::{Answer, StreamAnswer, framing, headers};
use crate::stream::of_call::{CallTie, LastEvent};
use crate::stream::subscribe::Subscription;
use crate::supervise::supervised;

/// How a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    AtOnce,
    Stream,
    /// The call goes on without its caller.
    Later,
}

impl Admitted<'_> {
    pub(super) fn form(&self) -> Form {
        let headers = self.asked.request.headers();
        match () {
            // It says what a GET would, and has nothing done (RFC 9110 §9.3.2): a preference may be ignored.
            () if self.is_head() => {
                if wants_stream(headers) {
                    Form::Stream
                } else {
                    Form::AtOnce
                }
            }
            () if self.can_be_followed() && prefers_async(headers) => Form::Later,
            () if wants_stream(headers) => Form::Stream,
            () => Form::AtOnce,
        }
    }

    /// Whether the call has a stream in which it can be followed, and this caller could open it: an
    /// authenticated one by its user id, an anonymous one where streams need no token. Where only some
    /// overloads have one, a preference is ignored: which of them runs is not known yet.
    fn can_be_followed(&self) -> bool {
        let could_follow = match self.asked.login.as_ref().ok().and_then(Option::as_ref) {
            Some(login) => login.identity.user_id().is_some(),
            None => !self.settings.auth.require_authentication,
        };
        let has_stream = |call: &&Call| {
            let endpoint = self.routes.endpoint(call.oid);
            !call.login && !call.logout && endpoint.is_some_and(|endpoint| endpoint.url.is_some())
        };
        could_follow && self.calls.iter().all(has_stream)
    }

    /// The answer to a request for a stream for which nothing is run.
    ///
    /// # Errors
    /// 406 for logins and logouts: their answers are cookies, which only the head of an answer can set.
    pub(super) fn without_run(&self, rule: &Call) -> Result<Option<Answer>, Problem> {
        if rule.login || rule.logout {
            let detail = "A login or logout cannot be answered with an event stream.";
            return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail));
        }
        if self.came_back() {
            // The one answer after which an EventSource does not come back again (HTML §9.2.3).
            return Ok(Some(Answer::Response(nothing())));
        }
        if self.is_head() {
            let mut response = Response::new(Body::EMPTY);
            *response.headers_mut() = headers(self.settings);
            return Ok(Some(Answer::Response(response)));
        }
        Ok(None)
    }

    pub(super) fn is_head(&self) -> bool {
        self.asked.request.method() == Verb::HEAD
    }

    /// Whether the request comes from an EventSource whose stream has ended: the call must not run twice.
    fn came_back(&self) -> bool {
        let request = self.asked.request;
        let header = request.headers().get_all("last-event-id").iter().any(|id| !id.is_empty());
        header || has_last_event_id(request.uri().query().unwrap_or(""))
    }

    /// Lets the call into the queue, waits until its statement begins, and answers with its stream; with how
    /// it has ended, if that came first.
    pub(super) async fn stream(
        &self,
        job: Job<'_, '_>,
        room: Room,
        stream_permit: StreamPermit,
    ) -> Result<Answer, Problem> {
        let Self { asked, settings, shared, .. } = self;
        let began = Instant::now();
        let queued = enter(shared, settings, job, room, Begin::Told).map_err(|failure| self.problem(failure));
        let mut queued = queued?;
        let Some(since) = queued.waiting.begins(shared).await.map_err(|failure| self.problem(failure))?
        else {
            return self.at_once(queued, None).await;
        };
        let Queued { call, labels, shape, number, waiting } = queued;
        let (sender, last) = oneshot::channel();
        let primary = self.primary_of(call);
        let teller = Teller { labels, shape, is_read_only: call.read_only, primary };
        let watch = (asked.request.method().clone(), self.path.to_owned(), began);
        let task = attend(teller, waiting, sender, watch, Arc::clone(shared));
        spawn_local(supervised(Arc::clone(shared), task));
        let login = asked.login.as_ref().ok().and_then(Option::as_ref);
        let framing = framing(asked.request.version());
        Ok(Answer::Stream(StreamAnswer {
            headers: self.stream_headers(),
            framing,
            subscription: Subscription::of_call(number, login, self.path),
            last_event_id: Vec::new(),
            stream_permit,
            call: Some(Box::new(CallTie { since, last })),
        }))
    }

    fn stream_headers(&self) -> HeaderMap {
        let mut headers = headers(self.settings);
        self.settings.cors_origins.apply(self.asked.request, &mut headers);
        if let Some(cookie) = &self.cleared {
            headers.insert(SET_COOKIE, cookie.clone());
        }
        headers
    }
}

/// Owns the call of a stream: waits for its end, and for the stream to have gone.
async fn attend(
    teller: Teller,
    waiting: Waiting,
    mut last: oneshot::Sender<LastEvent>,
    (method, path, began): (Verb, String, Instant),
    shared: Arc<Shared>,
) {
    let said = async { teller.said(waiting.ended(&shared).await, &shared).await };
    let said = tokio::select! {
        biased;
        () = last.closed() => return,
        said = said => said,
    };
    shared.note_call(&method, &path, (said.status, said.error), began.elapsed());
    // If the stream has gone meanwhile, nobody is left to be told.
    let _ = last.send(LongEvent::new(said.name, said.data));
}

/// What the event that ends a call is made with.
pub(super) struct Teller {
    /// What the call's arguments are called.
    pub(super) labels: Vec<ParameterLabel>,
    pub(super) shape: AnswerShape,
    pub(super) is_read_only: bool,
    /// Where the call has to be made if it turns out to write.
    pub(super) primary: Option<Primary>,
}

/// The `event:` field of an end that is no result.
pub(super) const ERROR: &str = "sse.error";

/// The event that ends a call.
pub(super) struct Said {
    pub(super) name: &'static str,
    /// Counted memory.
    pub(super) data: Bytes,
    /// That of an ordinary answer.
    pub(super) status: StatusCode,
    /// For the administrator.
    pub(super) error: Option<String>,
}

impl Teller {
    /// Says how a call has ended, once all of its events are here.
    pub(super) async fn said(self, ended: Ended, shared: &Shared) -> Said {
        if let Some(events) = ended.events {
            events.all_here(shared).await;
        }
        let Answered { answer, room } = match ended.outcome {
            Ok(answered) => answered,
            Err(failure) => return error(unanswered(failure)),
        };
        match answer.outcome {
            Outcome::Done { rows, body, is_null } => {
                let data = result(self.shape, rows, held(body, room), is_null);
                Said { name: "sse.result", data, status: StatusCode::OK, error: None }
            }
            // It was made for an older catalog, and the caller has its answer: it cannot be made anew unseen.
            Outcome::Failed { outdated: true, .. } => error(changed_meanwhile()),
            Outcome::Failed { sqlstate, message, raised: is_own, argument, .. } => {
                let label = argument.and_then(|place| self.labels.get(place as usize));
                let raised = Raised { sqlstate, message, is_own, label, primary: self.primary };
                error(failed(self.is_read_only, raised).held(room))
            }
        }
    }
}

fn error(mut problem: Problem) -> Said {
    let error = Some(problem.summary());
    Said { name: ERROR, data: problem.take_object(), status: problem.status(), error }
}
