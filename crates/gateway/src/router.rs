//! Decides what a request gets: an answer for hyper to write, or a stream.
//!
//! Not for writing either of them: hyper and the slab do.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Body as HttpBody;
use sse_proto::admission::{Door, may_have_snapshot, may_open};
use sse_proto::client_file::ClientFile;
use sse_proto::route::{Route, RouteTable};

use crate::asked::{Asked, Stranger, unauthenticated};
use crate::between::outbox::Severity;
use crate::between::queue::CallAvailability;
use crate::between::route_board::{Found, MAX_WAIT, Wanted};
use crate::call::context::CallContext;
use crate::call::{self, Attempt};
use crate::content::body::{Body, READ_METHODS, allowed};
use crate::content::client_file;
use crate::content::problem::{Problem, unreadable};
use crate::content::request_body::RequestBody;
use crate::content::static_files::StaticFile;
use crate::entry::busy::Busy;
use crate::entry::host;
use crate::entry::peer::Peer;
use crate::entry::proxy::Sender;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::stream;
use crate::stream::answer::{Answer, StreamAnswer};
use crate::stream::slab::Incoming;
use crate::stream::subscribe::Subscription;
use crate::stream::terms::Terms;

/// Longest request target in bytes: execution id, 64 topics and an id fit many times over. Beyond it 414.
const MAX_TARGET_BYTES: usize = 8 << 10;

/// Longest head in bytes (a header counts as `name: value` and line end). Beyond it 431.
pub(crate) const MAX_HEAD_BYTES: usize = 16 << 10;

/// Fields of a head. Beyond it 431. Over HTTP/1.1 hyper has the same limit.
const MAX_FIELDS: usize = 100;

/// What answering needs of a runtime thread.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) incoming: Rc<Incoming>,
    /// Counts connections until they are closed or have become streams.
    pub(crate) busy: Rc<Busy>,
}

/// Answers one request of a peer.
pub(crate) async fn answer<B: HttpBody<Data = Bytes> + Unpin>(
    request: Request<B>,
    peer: Peer,
    context: &Context,
) -> Answer {
    let settings = context.shared.settings();
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, ());
    let mut body = RequestBody::new(body);
    let answer = route(&request, &mut body, peer, &settings, context).await;
    let mut response = match answer {
        Ok(Answer::Response(response)) => response,
        Ok(Answer::Stream(stream)) => return Answer::Stream(stream),
        Err(problem) => problem.into_response(),
    };
    if !response.headers().contains_key(CONNECTION) {
        body.skip(request.headers()).await;
    }
    let headers = response.headers_mut();
    // The unread rest of a body must not be taken for another request. (After one with both framings hyper
    // closes by itself, as RFC 9112 §6.1 has it.)
    if !body.has_ended() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    settings.cors_origins.apply(&request, headers);
    let methods = headers.get(ALLOW).cloned().unwrap_or(HeaderValue::from_static(READ_METHODS));
    settings.cors_origins.apply_preflight(&request, methods, &settings.execution_id_headers, headers);
    Answer::Response(response)
}

// Long because it is one sequence, whose order decides what a stranger learns, and what a flood costs.
async fn route<B: HttpBody<Data = Bytes> + Unpin>(
    request: &Request<()>,
    body: &mut RequestBody<B>,
    peer: Peer,
    settings: &Settings,
    context: &Context,
) -> Result<Answer, Problem> {
    let shared = &*context.shared;
    check_size(request)?;
    let loopback_only = shared.loopback_only.load(Ordering::Relaxed);
    host::check(request, loopback_only.then_some(&settings.server_names))?;
    let path = request.uri().path();
    if path != "/healthz" {
        shared.refusals.looked_at(MAX_WAIT).await;
    }
    let available = !shared.is_unavailable() && shared.stopping().is_none();
    if path == "/healthz" {
        return health(request.method(), available && shared.routes.is_filled()).map(Answer::Response);
    }
    if !available {
        return Err(unavailable());
    }
    if path == "*" {
        // The server as a whole, of which nothing else can be asked (RFC 9110 §7.1).
        return match *request.method() {
            Method::OPTIONS => Ok(Answer::Response(allowed(READ_METHODS))),
            _ => Err(Problem::new(StatusCode::BAD_REQUEST, "This target is for OPTIONS alone.")),
        };
    }
    let wanted =
        if shared.call_state() == CallAvailability::Off { Wanted::Streams } else { Wanted::StreamsAndCalls };
    let client = settings.client_prefix.as_deref().and_then(|prefix| ClientFile::at(prefix, path));
    if client.is_none()
        && shared.routes.find(path, wanted).is_none()
        && let Some(root) = &settings.static_root
        && let Some(file) =
            StaticFile::find(path, root, shared.data_directory.as_deref(), &shared.outbox).await
    {
        let address = Sender::of(peer, request.headers(), &settings.trusted_proxies).address;
        let room = shared.calls.answer_room(address);
        return file.answer(request.method(), room).await.map(Answer::Response);
    }
    context.shared.look_at_keys();
    // Without a turn, a flood of bad tokens would be a flood of signatures for which every event waits.
    let turn = context.incoming.give_way().await;
    let asked = Asked::new(request, peer, settings, shared);
    drop(turn);
    if let Some(file) = client {
        if let Some(stranger) = asked.stranger(settings) {
            return Err(stranger.into_problem(&asked, settings, shared));
        }
        let room = shared.calls.answer_room(asked.sender.address);
        let present = shared.client.present(file);
        return client_file::answer(file, present, request.method(), request.headers(), room)
            .map(Answer::Response);
    }
    let routes = find_routes(&asked, wanted, settings, shared).await?;
    if wanted == Wanted::StreamsAndCalls && routes.find_calls(path).is_some() {
        let began = Instant::now();
        let answer = answer_call(&asked, &routes, body, settings, context).await;
        note_call(request, &answer, began, shared);
        return answer;
    }
    if let Some(stranger) = asked.stranger(settings) {
        return Err(stranger.into_problem(&asked, settings, shared));
    }
    let route = routes.find(path).ok_or_else(|| not_found(wanted))?;
    let mut stop = shared.stop_changes();
    let opens = tokio::select! {
        biased;
        opens = context.incoming.opens() => opens,
        _ = stop.wait_for(Option::is_some) => false,
    };
    if !opens {
        return Err(unavailable());
    }
    open_stream(asked, route, !body.has_ended(), settings, context)
}

/// Measures a call that has its answer. One that is answered with a stream is measured when it has ended
/// (`call/streamed.rs`).
fn note_call(request: &Request<()>, answer: &Result<Answer, Problem>, began: Instant, shared: &Shared) {
    let (status, error) = match answer {
        Ok(Answer::Response(response)) => (response.status(), None),
        Ok(Answer::Stream(_)) => return,
        Err(problem) => (problem.status(), Some(problem.summary())),
    };
    shared.note_call(request.method(), request.uri().path(), (status, error), began.elapsed());
}

/// The routes that have the request's path. A stranger that no call could let in is refused before the path
/// is looked up, any other stranger also if there is no such path: so answers do not tell strangers which
/// paths exist.
async fn find_routes(
    asked: &Asked<'_>,
    wanted: Wanted,
    settings: &Settings,
    shared: &Shared,
) -> Result<Arc<RouteTable>, Problem> {
    let stranger = asked.stranger(settings);
    let refuse = |stranger: Stranger| stranger.into_problem(asked, settings, shared);
    if let Some(stranger) = stranger
        && !(wanted == Wanted::StreamsAndCalls && stranger.may_be_let_in())
    {
        return Err(refuse(stranger));
    }
    let path = asked.request.uri().path();
    match (shared.routes.find_fresh(path, wanted, &shared.outbox).await, stranger) {
        (Found::Route(routes), _) => Ok(routes),
        (_, Some(stranger)) => Err(refuse(stranger)),
        (Found::Nothing, None) => Err(not_found(wanted)),
        (Found::Unanswered, None) => {
            let detail = "The routes cannot be looked up at the moment.";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
    }
}

fn unavailable() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The service is not available at the moment.")
}

fn not_found(wanted: Wanted) -> Problem {
    match wanted {
        Wanted::Streams => Problem::not_found_without_calls(),
        Wanted::StreamsAndCalls => Problem::not_found(),
    }
}

async fn answer_call<B: HttpBody<Data = Bytes> + Unpin>(
    asked: &Asked<'_>,
    routes: &Arc<RouteTable>,
    body: &mut RequestBody<B>,
    settings: &Settings,
    context: &Context,
) -> Result<Answer, Problem> {
    let Context { shared, incoming, .. } = context;
    match call::answer(asked, routes, body, settings, shared, Attempt::First, &incoming.call_ends).await {
        Err(problem) if problem.may_be_outdated() => call_again(problem, routes, asked, body, context).await,
        answer => answer,
    }
}

/// Right after a COMMIT a call is answered by the old routine or by the new one (C7.4). A problem that may
/// come from outdated routes alone is told only if the routes are still the newest; else the request is
/// answered once more, with the newest. If its body was too long to be kept, the peer is asked to send it
/// again.
async fn call_again<B: HttpBody<Data = Bytes> + Unpin>(
    problem: Problem,
    routes: &Arc<RouteTable>,
    asked: &Asked<'_>,
    body: &mut RequestBody<B>,
    context: &Context,
) -> Result<Answer, Problem> {
    let Context { shared, incoming, .. } = context;
    let Some(newer) = shared.routes.newer(routes, &shared.outbox).await else {
        // A conflict that may be due to routes is one about a row type that has changed, and that nobody
        // could read in time.
        return Err(if problem.is_conflict() { call::changed_meanwhile() } else { problem });
    };
    if !body.can_be_read_again() {
        return Err(call::changed_meanwhile());
    }
    let settings = shared.settings();
    match call::answer(asked, &newer, body, &settings, shared, Attempt::Last, &incoming.call_ends).await {
        Err(problem) if problem.may_be_outdated() && (problem.is_failure() || problem.is_conflict()) => {
            Err(call::changed_meanwhile())
        }
        answer => answer,
    }
}

/// Checked here and not by hyper alone, whose limits depend on how the bytes arrive.
pub(crate) fn check_size<B>(request: &Request<B>) -> Result<(), Problem> {
    let uri = request.uri();
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    let target = uri.path_and_query().map_or(0, |path| path.as_str().len()) + authority + scheme;
    if target > MAX_TARGET_BYTES {
        return Err(unreadable(StatusCode::URI_TOO_LONG).closing());
    }
    let line = request.method().as_str().len() + 1 + target + " HTTP/1.1\r\n".len();
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    if line + headers + "\r\n".len() > MAX_HEAD_BYTES || request.headers().len() > MAX_FIELDS {
        return Err(unreadable(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).closing());
    }
    Ok(())
}

fn open_stream(
    asked: Asked<'_>,
    route: &Route,
    has_body: bool,
    settings: &Settings,
    context: &Context,
) -> Result<Answer, Problem> {
    let Asked { request, sender, query, login, .. } = asked;
    // A refused sender got its answer before.
    let login = login.ok().flatten();
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Ok(Answer::Response(allowed(READ_METHODS))),
        _ => return Err(Problem::method_not_allowed(READ_METHODS)),
    }
    let length = request.headers().get(CONTENT_LENGTH);
    let is_announced =
        length.is_some_and(|length| length != "0") || request.headers().contains_key(TRANSFER_ENCODING);
    if is_announced || has_body {
        // Its bytes would be taken for what a subscriber sends after its request.
        return Err(Problem::new(StatusCode::BAD_REQUEST, "A request for a stream has no body.").closing());
    }
    match may_open(&route.access, login.as_ref().map(|login| &*login.identity)) {
        Door::Open => {}
        Door::Unauthenticated => return Err(unauthenticated()),
        Door::Forbidden => {
            return Err(Problem::new(StatusCode::FORBIDDEN, "This user may not open this stream."));
        }
    }
    let query = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut headers = stream::answer::headers(settings);
    if request.method() == Method::HEAD {
        let mut response = Response::new(Body::EMPTY);
        response.headers_mut().extend(headers);
        return Ok(Answer::Response(response));
    }
    settings.cors_origins.apply(request, &mut headers);
    let stream_permit = stream::answer::permit(&context.shared, sender.address, login.is_none())?;
    let framing = stream::answer::framing(request.version());
    let header = request.headers().get("last-event-id").map(HeaderValue::as_bytes);
    let header = header.filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
    let last_event_id = header.or(query.last_event_id.clone()).unwrap_or_default();
    let identity = login.as_ref().map(|login| &*login.identity);
    let snapshot =
        route.snapshot.as_ref().filter(|snapshot| may_have_snapshot(snapshot, &route.access, identity));
    let asker = snapshot.filter(|snapshot| snapshot.is_personal()).map(|_| {
        let id = query.execution_id.as_ref();
        let context = CallContext::new(request, login.as_ref(), sender.address, id);
        Arc::new(context.asker(login.as_ref(), sender.address))
    });
    let terms = Terms::new(route, snapshot.map(|snapshot| &**snapshot), &query.topics);
    let subscription = Subscription::new(route, query, login.as_ref(), terms);
    let subscription = Subscription { follows: snapshot.is_some(), asker, ..subscription };
    Ok(Answer::Stream(StreamAnswer {
        headers,
        framing,
        last_event_id,
        subscription,
        stream_permit,
        call: None,
    }))
}

fn health(method: &Method, passes: bool) -> Result<Response<Body>, Problem> {
    match *method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Ok(allowed(READ_METHODS)),
        _ => return Err(Problem::method_not_allowed(READ_METHODS)),
    }
    let (status, body) = if passes {
        (StatusCode::OK, &br#"{"status":"pass"}"#[..])
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, &br#"{"status":"fail"}"#[..])
    };
    let mut response = Response::new(Body::from(body.to_vec()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/health+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// How many sockets of this peer may have a request at a time: half of all. A trusted proxy speaks for many.
pub(crate) fn max_busy(peer: Peer, settings: &Settings) -> usize {
    if settings.trusted_proxies.contains(peer.address) {
        return usize::MAX;
    }
    settings.max_sockets() / 2
}

/// The answer when an address has as many sockets busy as it may.
pub(crate) fn refused_busy(shared: &Shared) -> Problem {
    Stats::add(&shared.stats.refused_total, 1);
    shared.outbox.log_limited("busy sockets of an address", Severity::Log, || {
        "an address has half of all sockets with a request: its further requests are refused".to_owned()
    });
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many requests of this address are being answered.")
}
