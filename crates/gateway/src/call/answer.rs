//! What a peer is told of a call that ran, failed, or never ran (C7.4).
//!
//! Not for logins that succeeded: that is `login`.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use sse_proto::call::{AnswerShape, failure_status, failure_title};

use crate::body::Body;
use crate::problem::Problem;

/// The answer of a call that ran.
pub(crate) fn done(shape: AnswerShape, rows: u64, body: Vec<u8>, is_null: bool) -> Response<Body> {
    match shape {
        AnswerShape::Nothing => nothing(),
        // A set without rows is a set.
        AnswerShape::Array => json(body),
        _ if is_null || rows == 0 => nothing(),
        AnswerShape::Text => typed(body, "text/plain; charset=utf-8"),
        AnswerShape::Json | AnswerShape::Object | AnswerShape::ProcedureRow => json(body),
    }
}

/// The answer of a call that failed: the user's own words, or else a fixed text, and the SQLSTATE.
pub(crate) fn failed(sqlstate: [u8; 5], message: String, raised: bool) -> Problem {
    let status = StatusCode::from_u16(failure_status(&sqlstate, raised));
    let detail = if raised { message } else { sentence(failure_title(&sqlstate)) };
    Problem::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), detail)
        .member("sqlstate", String::from_utf8_lossy(&sqlstate).into_owned())
}

/// The worker died over it.
pub(crate) fn lost() -> Problem {
    let detail = "The call was interrupted. What it did may be in force.";
    Problem::new(StatusCode::BAD_GATEWAY, detail)
}

/// It was not begun.
pub(crate) fn not_run() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Calls cannot be run at the moment. This one was not.")
}

/// Nobody was free in time.
pub(crate) fn not_in_time() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The call has waited for too long. It was not run.")
}

/// The worker does not let go of it.
pub(crate) fn too_long() -> Problem {
    let detail = "The call took too long. What it did may be in force.";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
}

/// The gateway goes.
pub(crate) fn stopping() -> Problem {
    let detail = "The server is being stopped. What the call did may be in force.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).closing()
}

/// The queue is full.
pub(crate) fn full() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many calls are waiting.")
}

pub(crate) fn json(body: Vec<u8>) -> Response<Body> {
    typed(body, "application/json")
}

pub(crate) fn text(body: String) -> Response<Body> {
    typed(body.into_bytes(), "text/plain; charset=utf-8")
}

fn typed(body: Vec<u8>, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn nothing() -> Response<Body> {
    let mut response = typed(Vec::new(), "");
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// As details are written here.
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
            let response = done(shape, rows, b"x".to_vec(), is_null);
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
