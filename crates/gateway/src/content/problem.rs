//! Errors as peers see them: RFC 9457 bodies that name the mistake and nothing of the inside.
//!
//! Not for the log: what the administrator should know goes through `between::outbox`.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::between::shown::cut;
use crate::content::body::Body;
use crate::room::{ANSWER_BYTES, Room, held};

/// How long a peer that was refused for lack of room should wait, in seconds. Short: room comes back when
/// anybody leaves, and a browser's EventSource does not look at it anyway.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// With the mark of what is cut 300 bytes.
const MAX_SUMMARY_BYTES: usize = 297;

/// An error answer that is being put together.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Extension members (RFC 9457 §3.2).
    members: Vec<(&'static str, String)>,
    /// Counts the bytes of its detail, if these came from a routine.
    /// Boxed: an error is moved a lot.
    room: Option<Box<Room>>,
    /// What lies behind it, for the inspector alone.
    cause: Option<String>,
    /// It may be due to outdated routes.
    may_be_outdated: bool,
}

impl Problem {
    /// `detail` is one sentence for the developer at the other end.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let mut headers = Vec::new();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.push((RETRY_AFTER, RETRY_AFTER_SECONDS));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        Self {
            status,
            detail: detail.into(),
            headers,
            members: Vec::new(),
            room: None,
            cause: None,
            may_be_outdated: false,
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is nothing at this path.")
    }

    /// The same while calls are off, whatever the path is, so it tells nobody which paths there are. Whoever
    /// has written `HTTP` into a comment and sees nothing come of it is told why.
    pub(crate) fn not_found_without_calls() -> Self {
        let detail = "There is nothing at this path. Calls of routines are off: sse.call_role names no role.";
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        let mut problem =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("Only {allowed} can be used here."));
        problem.headers.extend(HeaderValue::from_str(allowed).ok().map(|allowed| (ALLOW, allowed)));
        problem
    }

    /// To be said only if the routes it was found with are still the present ones.
    pub(crate) fn unless_outdated(self) -> Self {
        Self { may_be_outdated: true, ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether the fault is the server's and not the caller's.
    pub(crate) fn is_failure(&self) -> bool {
        self.status.is_server_error()
    }

    /// Whether the caller is asked to say who it is.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// Whether the same request may succeed when it is sent again.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }

    pub(crate) fn may_be_outdated(&self) -> bool {
        self.may_be_outdated
    }

    /// With a further member in the body.
    pub(crate) fn member(mut self, name: &'static str, value: String) -> Self {
        self.members.push((name, value));
        self
    }

    /// With what the administrator is told in place of its detail: an error of Postgres.
    pub(crate) fn caused_by(mut self, sqlstate: &str, message: &str) -> Self {
        self.cause =
            Some(cut(&format!("{sqlstate}: {}", cut(message, MAX_SUMMARY_BYTES)), MAX_SUMMARY_BYTES));
        self
    }

    /// For the administrator, in [`MAX_SUMMARY_BYTES`] and a mark.
    pub(crate) fn summary(&self) -> String {
        self.cause.clone().unwrap_or_else(|| cut(&self.detail, MAX_SUMMARY_BYTES))
    }

    /// With a header, in place of one of the same name.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(own, _)| *own != name);
        self.headers.push((name, value));
        self
    }

    /// With its body counted in `room` until it is written; without its detail if there is no room for that.
    pub(crate) fn held(mut self, room: Option<Room>) -> Self {
        self.room = room.map(Box::new);
        self
    }

    /// The connection is not used for another request: what follows on it cannot be trusted, or is not
    /// wanted.
    pub(crate) fn closing(self) -> Self {
        self.header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// The object alone, counted in its room.
    pub(crate) fn take_object(&mut self) -> Bytes {
        let mut body = self.body();
        if let Some(room) = &mut self.room
            && !room.try_grow(body.len().saturating_sub(room.bytes()), ANSWER_BYTES)
        {
            self.detail = String::new();
            body = self.body();
        }
        held(body, self.room.take().map(|room| *room))
    }

    pub(crate) fn into_response(mut self) -> Response<Body> {
        let mut response = Response::new(Body::Bytes(self.take_object()));
        *response.status_mut() = self.status;
        for (name, value) in FIXED_HEADERS.into_iter().chain(self.headers) {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// The whole answer as bytes, closing the connection: for answers that hyper does not write for us.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let body = self.body();
        let status = self.status;
        let mut out = format!("HTTP/1.1 {} {}\r\n", status.as_str(), title(status)).into_bytes();
        let length = HeaderValue::from(body.len());
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(std::time::SystemTime::now())).ok();
        let headers = FIXED_HEADERS
            .into_iter()
            .chain(self.headers.into_iter().filter(|(name, _)| name != CONNECTION))
            .chain([(CONNECTION, HeaderValue::from_static("close")), (CONTENT_LENGTH, length)])
            .chain(date.map(|date| (http::header::DATE, date)));
        for (name, value) in headers {
            append_header(&mut out, &name, &value);
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
        out
    }

    fn body(&self) -> Vec<u8> {
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": title(self.status),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        for (name, value) in &self.members {
            body[*name] = value.as_str().into();
        }
        body.to_string().into_bytes()
    }
}

/// The detail of an answer to a head that hyper could not read.
pub(crate) fn unreadable(status: StatusCode) -> Problem {
    let detail = match status {
        StatusCode::URI_TOO_LONG => "The request target is longer than 8 kB.",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "The head of the request is longer than 16 kB or has too many fields."
        }
        StatusCode::REQUEST_TIMEOUT => "The head of the request did not arrive in time.",
        _ => "The request is not valid HTTP/1.1.",
    };
    Problem::new(status, detail)
}

/// Appends `name: value` and its line end.
pub(crate) fn append_header(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

const FIXED_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];
