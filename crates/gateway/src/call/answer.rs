//! What a peer is told of a call that ran, failed, or never ran (C7.4).
//!
//! Not for logins that succeeded: that is `login`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use sse_proto::call::{
    AnswerShape, ArgumentError, ParameterLabel, failure_detail, failure_status, tells_argument, tells_message,
};
use sse_proto::sse::EventId;

use super::primary::Primary;
use super::waiting::Failure;
use crate::between::queue::NoPlace;
use crate::content::body::Body;
use crate::content::problem::Problem;
use crate::content::request_body::no_memory;

/// The answer of a call that ran.
pub(crate) fn done(shape: AnswerShape, rows: u64, body: Bytes, is_null: bool) -> Response<Body> {
    match shape {
        _ if is_empty(shape, rows, is_null) => nothing(),
        AnswerShape::Text => typed(body, "text/plain; charset=utf-8"),
        _ => typed(body, JSON),
    }
}

/// Says where the last event of the call is that its caller may receive (C7.9): a page whose stream has come
/// so far has its own change. A call that failed may have published, too.
///
/// # Errors
/// The problem that was given.
pub(crate) fn with_position(
    answer: Result<Response<Body>, Problem>,
    position: Option<EventId>,
) -> Result<Response<Body>, Problem> {
    let Some(value) = position.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) else {
        return answer;
    };
    match answer {
        Ok(mut response) => {
            response.headers_mut().insert(SSE_POSITION, value);
            Ok(response)
        }
        Err(problem) => Err(problem.header(SSE_POSITION, value)),
    }
}

const SSE_POSITION: HeaderName = HeaderName::from_static("sse-position");

/// Whether there is no body. An empty set has one, `[]`.
fn is_empty(shape: AnswerShape, rows: u64, is_null: bool) -> bool {
    match shape {
        AnswerShape::Nothing => true,
        AnswerShape::Array => false,
        AnswerShape::Text | AnswerShape::Json | AnswerShape::Object | AnswerShape::ProcedureRow => {
            is_null || rows == 0
        }
    }
}

/// The data of `sse.result`: the body of the answer as it is (C7.8).
pub(crate) fn result(shape: AnswerShape, rows: u64, body: Bytes, is_null: bool) -> Bytes {
    if is_empty(shape, rows, is_null) { Bytes::from_static(b"null") } else { body }
}

/// An error of Postgres.
pub(crate) struct Raised<'l> {
    pub(crate) sqlstate: [u8; 5],
    pub(crate) message: String,
    /// By the routine's own RAISE.
    pub(crate) is_own: bool,
    /// Of the argument that was being read.
    pub(crate) label: Option<&'l ParameterLabel>,
    /// Where the call has to be made if this says that it writes.
    pub(super) primary: Option<Primary>,
}

/// The answer of a call that failed: the user's own words, or else what the argument takes that could not be
/// read, or a fixed text; and the SQLSTATE. Only the error of an argument names one: so it is told apart from
/// the same SQLSTATE of an error that came while the routine ran.
pub(crate) fn failed(is_read_only: bool, error: Raised<'_>) -> Problem {
    let Raised { sqlstate, message, is_own, label, primary } = error;
    if let Some(primary) = primary
        && &sqlstate == READ_ONLY_SQL_TRANSACTION
        && !is_own
    {
        return primary.problem();
    }
    let label = label.filter(|_| tells_argument(&sqlstate, is_own));
    let status = StatusCode::from_u16(failure_status(&sqlstate, is_own));
    let told = message[..message.floor_char_boundary(SHOWN_BYTES)].to_owned();
    let detail = match label {
        _ if tells_message(&sqlstate, is_own) => cut(message),
        Some(label) => sentence(&label.misread(&sqlstate)),
        None => sentence(failure_detail(&sqlstate, is_own, &message, is_read_only)),
    };
    let problem = Problem::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), detail)
        .caused_by(&String::from_utf8_lossy(&sqlstate), &told)
        .member("sqlstate", String::from_utf8_lossy(&sqlstate).into_owned());
    match label {
        Some(label) => problem.member(PARAMETER, label.name.clone()),
        None => problem,
    }
}

/// Error of a statement that writes in a READ ONLY transaction, or during recovery.
const READ_ONLY_SQL_TRANSACTION: &[u8; 5] = b"25006";

/// The member that has the name of the argument that a problem is about.
const PARAMETER: &str = "parameter";

/// Of a message at least what the inspector shows.
const SHOWN_BYTES: usize = 400;

/// At most this much of a message is told, because it is a sentence for people; escaping its control
/// characters can make it six times as long.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Cut between two characters, and marked.
fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        message.push('…');
    }
    message
}

/// What the peer is told when no worker has said anything.
pub(super) fn unanswered(failure: Failure) -> Problem {
    match failure {
        Failure::Arguments(error) => bad(error).unless_outdated(),
        Failure::NoMemory => no_memory(),
        Failure::NoPlace(no_place) => full(no_place),
        Failure::NotRun => not_run(),
        Failure::NotInTime => not_in_time(),
        Failure::TooLong => too_long(),
        Failure::NoRoom => no_room(),
        Failure::Lost => lost(),
        Failure::Stopping => stopping(),
    }
}

/// The arguments fit no overload.
pub(super) fn bad(error: ArgumentError) -> Problem {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let problem = Problem::new(status, sentence(&error.to_string()));
    match error.parameter() {
        Some(name) => problem.member(PARAMETER, name.to_owned()),
        None => problem,
    }
}

/// The routes that the call was made with are not the newest any more.
pub(crate) fn changed_meanwhile() -> Problem {
    let detail = "The routine, or a type of it, was changed while it was called. The call had no effect; send it again.";
    Problem::new(StatusCode::CONFLICT, detail).member("sqlstate", "40001".to_owned())
}

/// The call is queued, and goes on without its caller.
pub(super) fn accepted() -> Response<Body> {
    let mut response = nothing();
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// The result is too large for an event.
pub(super) fn too_large() -> Problem {
    let detail = "The call has run and has taken effect, but its result is larger than an event may be (sse.max_event_size).";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

/// What became of a call that went on without its caller cannot be said, for want of room.
pub(super) fn unsaid() -> Problem {
    let detail = "The call has ended, but there is no room to say how, because other answers are not read.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// The worker died while it ran the call.
pub(crate) fn lost() -> Problem {
    let detail = "The call was interrupted. It may have taken effect.";
    Problem::new(StatusCode::BAD_GATEWAY, detail)
}

/// The call ran, and there is no room for its answer.
pub(crate) fn no_room() -> Problem {
    let detail = "The call has run and has taken effect, but there is no room for its answer, because other answers are not read.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// The call was not begun.
pub(crate) fn not_run() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Calls cannot be run at the moment. This one was not.")
}

/// No worker was free in time.
pub(crate) fn not_in_time() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The call has waited for too long. It was not run.")
}

/// The worker does not give the call up.
pub(crate) fn too_long() -> Problem {
    let detail = "The call took too long. It may have taken effect.";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
}

/// The gateway is being stopped.
pub(crate) fn stopping() -> Problem {
    let detail = "The server is being stopped. The call may have taken effect.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).closing()
}

/// The call has no place in the queue.
pub(crate) fn full(no_place: NoPlace) -> Problem {
    let detail = match no_place {
        NoPlace::Full | NoPlace::Address => "Too many calls are waiting.",
        NoPlace::Answers => "Too many answers are not read. This call was not run.",
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

pub(crate) fn json(body: Vec<u8>) -> Response<Body> {
    typed(body.into(), JSON)
}

pub(crate) fn text(body: String) -> Response<Body> {
    typed(body.into_bytes().into(), "text/plain; charset=utf-8")
}

const JSON: &str = "application/json";

fn typed(body: Bytes, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Bytes(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(super) fn nothing() -> Response<Body> {
    let mut response = typed(Bytes::new(), "");
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// A clause as a sentence: capital letter, full stop.
pub(super) fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_ascii_uppercase(), letters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_their_status_and_type() {
        let answer = |shape, rows, is_null| {
            let response = done(shape, rows, Bytes::from_static(b"x"), is_null);
            let kind =
                response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
            (response.status().as_u16(), kind.unwrap_or_default())
        };
        let (none, text, json) = (
            (204, String::new()),
            (200, "text/plain; charset=utf-8".to_owned()),
            (200, "application/json".to_owned()),
        );
        for (shape, full) in [
            (AnswerShape::Nothing, &none),
            (AnswerShape::Text, &text),
            (AnswerShape::Json, &json),
            (AnswerShape::Object, &json),
            (AnswerShape::ProcedureRow, &json),
        ] {
            assert_eq!(&answer(shape, 1, false), full, "{shape:?}");
            assert_eq!(answer(shape, 1, true), none, "{shape:?}");
            assert_eq!(answer(shape, 0, false), none, "{shape:?}");
        }
        assert_eq!(answer(AnswerShape::Array, 0, false), json);
        assert_eq!(answer(AnswerShape::Array, 0, true), json);
    }
}
