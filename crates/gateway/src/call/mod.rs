//! Calls of routines over HTTP (C7): from a request whose path is a call's to its answer.
//!
//! In this order: method, origin, who asks and whether they may, whether there is room, the arguments; then
//! the call is run (`run`). A sender who may not call is refused before a byte of the body is read.
//!
//! Not for what a statement is (`sse_proto::call`), nor for carrying it out (the extension's call workers).

mod answer;
pub(crate) mod answers;
pub(crate) mod context;
mod detached;
mod login;
mod negotiation;
mod origin;
mod primary;
mod run;
mod session;
pub(crate) mod snapshot;
mod streamed;
mod waiting;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, SET_COOKIE};
use http::{HeaderValue, Method as Verb, Response, StatusCode};
use hyper::body::Body as HttpBody;
use sse_proto::admission::{Door, may_open};
use sse_proto::annotation::{Access, Method};
use sse_proto::call::{Given, Outcome};
use sse_proto::query::{QueryError, is_last_event_id};
use sse_proto::route::{Call, RouteTable};

use crate::asked::{Asked, unauthenticated};
use crate::auth::{Secret, cleared_cookie, has_bearer, has_cookie};
use crate::between::outbox::Severity;
use crate::between::queue::{CallAvailability, NoPlace, request_bytes};
use crate::content::body::{Body, allowed};
use crate::content::problem::Problem;
use crate::content::request_body::{Limits, RequestBody};
use crate::entry::proxy::forwarded_host;
use crate::room::{Room, held};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::stream::answer::{Answer, permit};
use crate::stream::call_ends::CallEnds;
use answer::Raised;
use answer::bad;
pub(crate) use answer::changed_meanwhile;
use context::{CallContext, IdError};
use primary::Primary;
use run::{Arguments, Begin, Job, OwnEvents, Purpose, Queued, Ran, enter};
use streamed::Form;
use waiting::Failure;

/// Whether a request is answered for the first time, or once more because the routes had changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    /// With the newest routes. If a row's columns have changed yet again its keys may still be the former
    /// ones: answering so helps more than not answering. A value never goes under the key of another column.
    Last,
}

/// What a request for a call gets, by these routes.
///
/// # Errors
/// The problem that it gets instead.
pub(crate) async fn answer<B: HttpBody<Data = Bytes> + Unpin>(
    asked: &Asked<'_>,
    routes: &RouteTable,
    body: &mut RequestBody<B>,
    settings: &Settings,
    shared: &Arc<Shared>,
    attempt: Attempt,
    ends: &Rc<CallEnds>,
) -> Result<Answer, Problem> {
    let point = routes.find_calls(asked.request.uri().path()).ok_or_else(Problem::not_found)?;
    let allow = point.allow();
    let method = match *asked.request.method() {
        Verb::OPTIONS => return Ok(Answer::Response(allowed(&allow))),
        Verb::GET | Verb::HEAD => Some(Method::Get),
        Verb::POST => Some(Method::Post),
        Verb::PUT => Some(Method::Put),
        Verb::PATCH => Some(Method::Patch),
        Verb::DELETE => Some(Method::Delete),
        _ => None,
    };
    let calls: Vec<&Call> = method.into_iter().flat_map(|method| point.of_method(method)).collect();
    // Overloads have the same rules.
    let (Some(method), Some(rule)) = (method, calls.first()) else {
        return Err(Problem::method_not_allowed(&allow).unless_outdated());
    };
    check_origin(asked, rule.login, settings)?;
    let is_open = rule.login || rule.logout || rule.access == Access::Anonymous;
    let stranger = asked.stranger(settings);
    if let Some(stranger) = stranger
        && !(is_open && stranger.may_be_let_in())
    {
        return Err(stranger.into_problem(asked, settings, shared));
    }
    // A cookie that was not believed, and did not lead to a refusal, is cleared by the answer.
    let cleared = cleared_cookie(&settings.auth, asked.sender.transport).filter(|_| asked.login.is_err());
    let path = &point.path;
    let primary = shared.is_standby().then(|| Primary::of(asked.request, settings));
    let calls = &calls;
    let request =
        Admitted { asked, method, calls, path, settings, shared, attempt, ends, routes, cleared, primary };
    let outcome = request.answer(body).await;
    match (request.cleared, outcome) {
        (Some(cookie), Ok(Answer::Response(mut response))) => {
            response.headers_mut().entry(SET_COOKIE).or_insert(cookie);
            Ok(Answer::Response(response))
        }
        (Some(cookie), Err(problem)) => Err(problem.header(SET_COOKIE, cookie)),
        (_, outcome) => outcome,
    }
}

/// A request that has passed the rules that hold for every call.
struct Admitted<'r> {
    asked: &'r Asked<'r>,
    method: Method,
    /// Never empty.
    calls: &'r [&'r Call],
    path: &'r str,
    settings: &'r Settings,
    shared: &'r Arc<Shared>,
    attempt: Attempt,
    ends: &'r Rc<CallEnds>,
    routes: &'r RouteTable,
    /// The header that clears the request's cookie.
    cleared: Option<HeaderValue>,
    /// This server is a standby.
    primary: Option<Primary>,
}

impl Admitted<'_> {
    // Long because it is one sequence: each refusal comes before what would be taken for nothing.
    async fn answer<B: HttpBody<Data = Bytes> + Unpin>(
        &self,
        body: &mut RequestBody<B>,
    ) -> Result<Answer, Problem> {
        let Self { asked, calls, settings, shared, .. } = self;
        let login = asked.login.as_ref().ok().and_then(Option::as_ref);
        let rule = calls[0];
        match may_open(&rule.access, login.map(|login| &*login.identity)) {
            Door::Open => {}
            Door::Unauthenticated => return Err(unauthenticated()),
            Door::Forbidden => {
                return Err(Problem::new(StatusCode::FORBIDDEN, "This user may not make this call."));
            }
        }
        if rule.login {
            self.check_failures()?;
        }
        let form = self.form();
        if form == Form::Stream
            && let Some(answer) = self.without_run(rule)?
        {
            return Ok(answer);
        }
        self.check_place(rule, form == Form::Later)?;
        let secret = match rule.login {
            true => Some(settings.auth.read_signing_secret().await.map_err(login::no_secret)?),
            false => None,
        };
        if shared.call_state() != CallAvailability::Ready {
            Stats::add(&shared.stats.calls_refused_total, 1);
            return Err(answer::not_run());
        }
        let address = asked.sender.address;
        shared.calls.check(address, settings.call_queue_size).map_err(|full| self.refused(full))?;
        let mut room = shared.calls.body_room(address);
        let id = context::execution_id(asked.request.headers(), &settings.execution_id_headers);
        let mut id = id.map_err(|(name, error)| bad_id(name.as_str(), error))?;
        // An id that an anonymous caller chose would let anybody follow the call who chooses the same.
        let makes_id = form == Form::Later && (login.is_none() || id.is_none());
        if makes_id {
            id = Some(detached::made_id()?);
        }
        let stream_permit = match form {
            Form::Stream => Some(permit(shared, address, login.is_none())?),
            Form::AtOnce | Form::Later => None,
        };
        let job = Job {
            calls,
            arguments: self.arguments(body, &mut room).await?,
            user: context::user_parameters(login, address),
            context: CallContext::new(asked.request, login, address, id.as_ref()).with_made_id(makes_id),
            address,
            party: None,
            own_events: Some(OwnEvents {
                ends: self.ends,
                identity: login.map(|login| Arc::clone(&login.identity)),
            }),
            may_have_new_columns: self.attempt == Attempt::Last,
            is_head: self.is_head(),
            purpose: Purpose::Call,
        };
        if let (Form::Later, Some(id)) = (form, &id) {
            return self.detach(job, room, id);
        }
        if let Some(permit) = stream_permit {
            return self.stream(job, room, permit).await;
        }
        let queued = enter(shared, settings, job, room, Begin::Untold);
        self.at_once(queued.map_err(|failure| self.problem(failure))?, secret.as_ref()).await
    }

    /// Waits for the end of the call, and answers with what it came to.
    async fn at_once(&self, queued: Queued<'_>, secret: Option<&Secret>) -> Result<Answer, Problem> {
        let (ran, position) = queued.ran(self.shared).await;
        let ran = ran.map_err(|failure| self.problem(failure));
        let answer = ran.and_then(|ran| match secret {
            Some(secret) => self.logged_in(ran, secret),
            None => self.ran(ran),
        });
        // It would tell that a guess was right.
        let position = position.filter(|_| secret.is_none() || answer.is_ok());
        answer::with_position(answer, position).map(Answer::Response)
    }

    fn ran(&self, ran: Ran<'_>) -> Result<Response<Body>, Problem> {
        let Ran { call, labels, shape, outcome, room, .. } = ran;
        match outcome {
            Outcome::Failed { sqlstate, message, raised: is_own, outdated, argument } => {
                let label = argument.and_then(|place| labels.get(place as usize));
                let error = Raised { sqlstate, message, is_own, label, primary: self.primary_of(call) };
                let problem = answer::failed(call.read_only, error).held(room);
                Err(if outdated { problem.unless_outdated() } else { problem })
            }
            Outcome::Done { rows, body, is_null } => {
                let mut response = answer::done(shape, rows, held(body, room), is_null);
                if call.logout {
                    let login = self.asked.login.as_ref().ok().and_then(Option::as_ref);
                    self.log_out(login, &mut response);
                }
                Ok(response)
            }
        }
    }

    /// Reads the arguments, which take `room`.
    async fn arguments<B: HttpBody<Data = Bytes> + Unpin>(
        &self,
        body: &mut RequestBody<B>,
        room: &mut Room,
    ) -> Result<Arguments, Problem> {
        let Self { asked, settings, .. } = self;
        let pairs = self.query()?;
        if matches!(self.method, Method::Get | Method::Delete) {
            if !body.is_empty().await? {
                let detail = format!("A {} call takes its arguments from the query string.", self.method);
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
            return Ok(Arguments::Pairs(pairs));
        }
        if !pairs.is_empty() {
            let detail = format!("A {} call takes its arguments from the body.", self.method);
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let memory = request_bytes(settings.max_body_size);
        let limits = Limits { bytes: settings.max_body_size, room, memory };
        body.read_json(asked.request.headers(), limits).await.map(Arguments::Json)
    }

    /// The arguments in the query string: all of it but the token.
    fn query(&self) -> Result<Vec<(String, String)>, Problem> {
        if self.asked.query == Err(QueryError::TokenTwice) {
            return Err(Problem::new(StatusCode::BAD_REQUEST, QueryError::TokenTwice.to_string()));
        }
        let given = Given::parse_query(self.asked.request.uri().query().unwrap_or("")).map_err(bad)?;
        let Given::Query(mut pairs) = given else { return Ok(Vec::new()) };
        if let Some(parameter) = &self.settings.auth.token_parameter {
            pairs.retain(|(name, _)| name != parameter.as_str());
        }
        if self.form() == Form::Stream {
            // An empty one is none.
            pairs.retain(|(name, value)| !(value.is_empty() && is_last_event_id(name)));
        }
        Ok(pairs)
    }

    fn problem(&self, failure: Failure) -> Problem {
        match failure {
            Failure::NoPlace(no_place) => self.refused(no_place),
            failure => answer::unanswered(failure),
        }
    }

    fn refused(&self, no_place: NoPlace) -> Problem {
        let Self { settings, shared, .. } = self;
        Stats::add(&shared.stats.calls_refused_total, 1);
        let size = settings.call_queue_size;
        match no_place {
            NoPlace::Full => shared.outbox.log_limited("call queue", Severity::Warning, || {
                format!("sse.call_queue_size = {size} calls are waiting: further ones are refused")
            }),
            NoPlace::Answers => shared.outbox.log_limited("answers", Severity::Log, || {
                "answers that are not read take all the memory for answers, or one address has its half of it: calls are refused"
                    .to_owned()
            }),
            NoPlace::Address => shared.outbox.log_limited("call queue of an address", Severity::Log, || {
                format!("an address has half of sse.call_queue_size = {size}: its further calls are refused")
            }),
        }
        answer::full(no_place)
    }
}

/// A login changes something by any method: it sets a cookie, and one that fails counts.
fn check_origin(asked: &Asked<'_>, is_login: bool, settings: &Settings) -> Result<(), Problem> {
    let request = asked.request;
    if matches!(*request.method(), Verb::GET | Verb::HEAD) && !is_login {
        return Ok(());
    }
    let headers = request.headers();
    let forwarded = forwarded_host(asked.peer, headers, &settings.trusted_proxies);
    // An absolute target replaces Host (RFC 9112 §3.2.2).
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
    let sent = origin::Sent {
        headers,
        authority: forwarded.or(target).or_else(host),
        is_secure: asked.sender.transport.is_secure(),
        has_cookie: has_cookie(headers, &settings.auth, asked.sender.transport),
        has_bearer: has_bearer(headers),
    };
    if origin::may_send(&sent, &settings.cors_origins) {
        return Ok(());
    }
    if !headers.contains_key("origin") && !headers.contains_key("sec-fetch-site") {
        let detail = "A request with the session's cookie needs Origin or Sec-Fetch-Site, which every browser sends: else nobody \
                      can tell which page made it. Other clients send the token as Authorization: Bearer.";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let detail = "Pages of this origin may not call: it is not the host of the request, and sse.cors_origins does not list \
                  it. Behind a proxy, name that in sse.trusted_proxies, and let it send X-Forwarded-Host.";
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

fn bad_id(name: &str, error: IdError) -> Problem {
    let why = match error {
        IdError::Twice => "it is given twice".to_owned(),
        IdError::NotUtf8 => "it is not UTF-8".to_owned(),
        IdError::Label(error) => error.to_string(),
    };
    Problem::new(StatusCode::BAD_REQUEST, format!("The execution id in {name} cannot be used: {why}."))
}
