//! Calls of routines over HTTP (C7): from a request whose path is a call's to its answer.
//!
//! In this order: method, origin, who asks and whether they may, whether there is room, the arguments, the statement; then
//! the call waits in the queue until the main thread takes it for a worker. Whoever may not call is told so before a byte
//! of the body is read.
//!
//! Not for what a statement is (`sse_proto::call`), nor for running it (the extension's call workers).

mod answer;
mod context;
mod login;
mod origin;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{HOST, SET_COOKIE};
use http::{Method as Verb, Response, StatusCode};
use hyper::body::Body as HttpBody;
use sse_proto::admission::{Door, may_open};
use sse_proto::annotation::{Access, Method};
use sse_proto::call::{AnswerShape, ArgumentError, CallRequest, Given, Outcome, statement};
use sse_proto::query::QueryError;
use sse_proto::route::{Call, CallPoint};

use crate::asked::{Asked, unauthenticated};
use crate::auth::{Secret, Verified, cleared_cookie, has_bearer, has_cookie};
use crate::between::outbox::{Severity, escaped};
use crate::between::queue::{CallResult, Calls, GRACE, NewCall, NoPlace, Standing, Ticket, request_bytes};
use crate::between::reply::Answered;
use crate::content::body::{Body, allowed};
use crate::content::problem::Problem;
use crate::content::request_body::{Limits, RequestBody, no_memory};
use crate::entry::proxy::forwarded_host;
use crate::room::{Room, held, may_grow};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Stats;
use context::{Context, IdError};

/// Memory that making a statement of a body takes, as a multiple of the body: its values, the statement's parameters, the
/// frame.
const STATEMENT_FACTOR: usize = 4;

/// A wait without a limit, for arithmetic.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which time a request is answered, as routes may have changed under it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    /// With the routes of a moment ago. Columns that change all the time may have the keys of before in an answer: with no
    /// answer nobody is helped. Values never go into another column.
    Last,
}

/// What a request for a call gets.
///
/// # Errors
/// The problem that it gets instead.
pub(crate) async fn answer<B: HttpBody<Data = Bytes> + Unpin>(
    asked: &Asked<'_>,
    point: &CallPoint,
    body: &mut RequestBody<B>,
    settings: &Settings,
    shared: &Arc<Shared>,
    attempt: Attempt,
) -> Result<Response<Body>, Problem> {
    let allow = point.allow();
    let method = match *asked.request.method() {
        Verb::OPTIONS => return Ok(allowed(&allow)),
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
    check_origin(asked, settings)?;
    let is_open = rule.login || rule.logout || rule.access == Access::Anonymous;
    let stranger = asked.stranger(settings);
    if let Some(stranger) = stranger
        && !(is_open && stranger.may_be_let_in())
    {
        return Err(stranger.into_problem(asked, settings, shared));
    }
    let request = Request { asked, method, calls: &calls, settings, shared, attempt };
    let outcome = request.answer(body).await;
    // A bad cookie that was not held against anybody is gone afterwards.
    match cleared_cookie(&settings.auth, asked.caller.is_secure).filter(|_| asked.login.is_err()) {
        None => outcome,
        Some(cookie) => match outcome {
            Ok(mut response) => {
                response.headers_mut().entry(SET_COOKIE).or_insert(cookie);
                Ok(response)
            }
            Err(problem) => Err(problem.header(SET_COOKIE, cookie)),
        },
    }
}

/// A request that has come past the rules that hold for everybody.
struct Request<'r> {
    asked: &'r Asked<'r>,
    method: Method,
    /// Never empty.
    calls: &'r [&'r Call],
    settings: &'r Settings,
    shared: &'r Arc<Shared>,
    attempt: Attempt,
}

impl Request<'_> {
    async fn answer<B: HttpBody<Data = Bytes> + Unpin>(
        &self,
        body: &mut RequestBody<B>,
    ) -> Result<Response<Body>, Problem> {
        let Self { asked, calls, settings, shared, .. } = self;
        let login = asked.login.as_ref().ok().and_then(Option::as_ref);
        let rule = calls[0];
        match may_open(&rule.access, login.map(|login| &login.identity)) {
            Door::Open => {}
            Door::Unauthenticated => return Err(unauthenticated()),
            Door::Forbidden => return Err(Problem::new(StatusCode::FORBIDDEN, "This call is for others.")),
        }
        let secret = match rule.login {
            true => Some(settings.auth.read_signing_secret().await.map_err(login::no_secret)?),
            false => None,
        };
        if shared.call_state() != Calls::Ready {
            Stats::add(&shared.stats.calls_refused_total, 1);
            return Err(answer::not_run());
        }
        let address = asked.caller.address;
        shared.calls.check(address, settings.call_queue_size).map_err(|full| self.refused(full))?;
        let mut room = shared.calls.body_room(address);
        let Queued { call, shape, ticket, deadline } = self.queue(body, login, &mut room).await?;
        let answered = wait(ticket, deadline, settings.call_timeout, shared).await;
        if !matches!(&answered, Ok(Answered { answer, .. }) if matches!(answer.outcome, Outcome::Done { .. }))
        {
            Stats::add(&shared.stats.calls_failed_total, 1);
        }
        let Answered { answer, room } = answered?;
        match answer.outcome {
            Outcome::Failed { sqlstate, message, raised, outdated } => {
                let problem = answer::failed(call, sqlstate, message, raised).held(room);
                Err(if outdated { problem.unless_outdated() } else { problem })
            }
            Outcome::Done { rows, body, is_null } => {
                if let (true, Some(secret)) = (call.login, &secret) {
                    return self.log_in(call, Some(&*body).filter(|_| rows > 0 && !is_null), secret);
                }
                let mut response = answer::done(shape, rows, held(body, room), is_null);
                if call.logout {
                    self.log_out(login, &mut response);
                }
                Ok(response)
            }
        }
    }

    /// Reads the arguments, makes the statement and lets the call into the queue.
    async fn queue<B: HttpBody<Data = Bytes> + Unpin>(
        &self,
        body: &mut RequestBody<B>,
        login: Option<&Verified>,
        room: &mut Room,
    ) -> Result<Queued<'_>, Problem> {
        let Self { asked, settings, shared, .. } = self;
        let address = asked.caller.address;
        let id = context::execution_id(asked.request.headers(), &settings.execution_id_headers);
        let id = id.map_err(|(name, error)| bad_id(name.as_str(), error))?;
        let bytes;
        let mut given = self.query()?;
        if matches!(self.method, Method::Get | Method::Delete) {
            if !body.is_empty().await? {
                let detail = format!("A {} call takes its arguments from the query string.", self.method);
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
        } else {
            if matches!(&given, Given::Query(pairs) if !pairs.is_empty()) {
                let detail = format!("A {} call takes its arguments from the body.", self.method);
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
            let memory = request_bytes(settings.max_body_size);
            let limits = Limits { bytes: settings.max_body_size, room: &mut *room, memory };
            bytes = body.read_json(asked.request.headers(), limits).await?;
            if !may_grow(bytes.len().saturating_mul(STATEMENT_FACTOR)) {
                return Err(no_memory());
            }
            given = Given::Body(&bytes);
        }
        let user = context::user_parameters(login, address);
        let (call, mut statement) =
            statement(self.calls.iter().copied(), &given, &user, settings.user_parameters)
                .map_err(|error| bad(error).unless_outdated())?;
        if self.attempt == Attempt::Last {
            statement.rows.retain(|row| row.is_argument);
        }
        let context = Context::new(asked.request, login, address, id.as_ref());
        let id = shared.calls.number();
        let frame = CallRequest {
            id,
            timeout_ms: u32::try_from(settings.call_timeout.as_millis()).unwrap_or(u32::MAX),
            label: &format!("{}.{}", call.schema, call.name),
            read_only: call.read_only,
            settings: context.settings(),
            statement: (&statement).into(),
        };
        let limit = Some(settings.call_timeout).filter(|limit| !limit.is_zero()).unwrap_or(FOREVER);
        let deadline = Instant::now() + limit;
        let frame = frame.try_encode().ok_or_else(no_memory)?;
        // From here on the frame is what is held. A head of 16 kB makes one, too.
        room.shrink_to(frame.len());
        if !room.try_grow(frame.len() - room.bytes(), request_bytes(settings.max_body_size)) {
            return Err(no_memory());
        }
        let queued = NewCall { id, frame, deadline };
        let ticket = shared
            .calls
            .enter(queued, address, settings.call_queue_size)
            .map_err(|full| self.refused(full))?;
        Ok(Queued { call, shape: statement.answer, ticket, deadline })
    }

    /// The arguments in the query string: all of it but the token.
    fn query(&self) -> Result<Given<'static>, Problem> {
        if self.asked.query == Err(QueryError::TokenTwice) {
            return Err(Problem::new(StatusCode::BAD_REQUEST, QueryError::TokenTwice.to_string()));
        }
        let mut given = Given::parse_query(self.asked.request.uri().query().unwrap_or("")).map_err(bad)?;
        if let Given::Query(pairs) = &mut given
            && let Some(parameter) = &self.settings.auth.token_parameter
        {
            pairs.retain(|(name, _)| name != parameter.as_str());
        }
        Ok(given)
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
                "answers that are not read take all memory for them, or an address its half: calls are refused"
                    .to_owned()
            }),
            NoPlace::Address => shared.outbox.log_limited("call queue of an address", Severity::Log, || {
                format!("an address has half of sse.call_queue_size = {size}: its further calls are refused")
            }),
        }
        answer::full(no_place)
    }

    fn log_in(&self, call: &Call, row: Option<&[u8]>, secret: &Secret) -> Result<Response<Body>, Problem> {
        let Self { asked, settings, shared, .. } = self;
        let outcome = login::answer(row, secret, &settings.auth, asked.caller.is_secure, SystemTime::now());
        if outcome.as_ref().is_ok_and(|response| response.headers().contains_key(SET_COOKIE)) {
            self.refuse_cookies();
        }
        outcome.map_err(|failure| {
            let (problem, mistake) = failure.told();
            if let Some(mistake) = mistake {
                shared.outbox.log_limited("login", Severity::Warning, || {
                    let name = escaped(&format!("{}.{}", call.schema, call.name));
                    format!("the login {name} is answered with 500: {mistake}")
                });
            }
            problem
        })
    }

    /// The tokens in the request's cookies are of no use any more: the answer has another cookie, or none. All of them, also
    /// one that was planted beside the right one, which would stand in the way of the new cookie.
    fn refuse_cookies(&self) {
        let Self { asked, settings, shared, .. } = self;
        let cookies = shared.auth.cookies(asked.request.headers(), &settings.auth, SystemTime::now());
        cookies.iter().for_each(|session| shared.end_session(session));
    }

    /// The token of the call is of no use any more, wherever it is kept.
    fn log_out(&self, login: Option<&Verified>, response: &mut Response<Body>) {
        let Self { asked, settings, shared, .. } = self;
        if let Some(login) = login {
            shared.end_session(login);
        }
        self.refuse_cookies();
        if let Some(cookie) = cleared_cookie(&settings.auth, asked.caller.is_secure) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
    }
}

/// A call that waits.
struct Queued<'c> {
    call: &'c Call,
    shape: AnswerShape,
    ticket: Ticket,
    deadline: Instant,
}

/// Waits for a worker until `deadline`, and then for its answer; `limit` is how long the worker lets it run.
async fn wait(
    mut ticket: Ticket,
    deadline: Instant,
    limit: Duration,
    shared: &Shared,
) -> Result<Answered, Problem> {
    let mut stop = shared.stop_changes();
    let mut until = deadline;
    loop {
        tokio::select! {
            biased;
            result = ticket.answered() => return match result {
                Some(CallResult::Answer(answer)) => Ok(answer),
                Some(CallResult::NoRoom) => Err(answer::no_room()),
                Some(CallResult::Lost) => Err(answer::lost()),
                Some(CallResult::NotRun) => Err(answer::not_run()),
                None => Err(answer::not_in_time()),
            },
            _ = stop.wait_for(Option::is_some) => return Err(answer::stopping()),
            () = tokio::time::sleep_until(until.into()) => {}
        }
        let end = match ticket.standing() {
            Standing::Waiting => return Err(answer::not_in_time()),
            Standing::RunningSince(_) if limit.is_zero() => Instant::now() + FOREVER,
            Standing::RunningSince(since) => since + limit + GRACE,
            // Its answer is on the way.
            Standing::Over => Instant::now() + GRACE,
        };
        if end <= Instant::now() {
            return Err(answer::too_long());
        }
        until = end;
    }
}

fn check_origin(asked: &Asked<'_>, settings: &Settings) -> Result<(), Problem> {
    let request = asked.request;
    if matches!(*request.method(), Verb::GET | Verb::HEAD) {
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
        has_cookie: has_cookie(headers, &settings.auth),
        has_bearer: has_bearer(headers),
    };
    if origin::may_send(&sent, &settings.cors_origins) {
        return Ok(());
    }
    let detail = "Pages of this origin may not call: it is not the host of the request, and sse.cors_origins does not list \
                  it. Behind a proxy, name that in sse.trusted_proxies, and let it send X-Forwarded-Host.";
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

fn bad(error: ArgumentError) -> Problem {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    Problem::new(status, answer::sentence(&error.to_string()))
}

fn bad_id(name: &str, error: IdError) -> Problem {
    let why = match error {
        IdError::Twice => "it is given twice".to_owned(),
        IdError::NotUtf8 => "it is not UTF-8".to_owned(),
        IdError::Label(error) => error.to_string(),
    };
    Problem::new(StatusCode::BAD_REQUEST, format!("The execution id in {name} cannot be used: {why}."))
}
