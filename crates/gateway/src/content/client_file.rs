//! The answer to a request for the client in TypeScript (C7.7).
//!
//! It is for whoever may call and listen at all: with `sse.require_authentication` for those with a token.
//! Its type is `text/typescript`: nothing is registered for the language but a clash (`video/mp2t`), and this
//! is what runtimes that import from a URL take, while browsers show it as text.
//!
//! Not for what is in it.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::between::client_board::{Client, Made};
use crate::content::body::{Body, READ_METHODS, allowed};
use crate::content::problem::Problem;
use crate::room::{ANSWER_BYTES, Room};

/// What a request with this method and these headers gets. `room`: none taken yet.
///
/// # Errors
/// 405; 503 when there is no client, or no room for another answer.
pub(crate) fn answer(
    client: Client,
    method: &Method,
    headers: &HeaderMap,
    mut room: Room,
) -> Result<Response<Body>, Problem> {
    match *method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Ok(allowed(READ_METHODS)),
        _ => return Err(Problem::method_not_allowed(READ_METHODS)),
    }
    let unavailable = |detail: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    let made = match client {
        Client::Made(made) => made,
        Client::Unread => return Err(unavailable("The client is not made yet.")),
        Client::TooLarge => {
            return Err(unavailable(
                "The client is too large; sse.typescript_client('schema') makes a smaller one.",
            ));
        }
    };
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| has_tag(tags, &made));
    let mut response = Response::new(Body::EMPTY);
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&made.tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/typescript; charset=utf-8"));
    if method == Method::HEAD {
        headers.insert(http::header::CONTENT_LENGTH, made.text.len().into());
        return Ok(response);
    }
    // The bytes are shared, but those of a client that was replaced stay as long as somebody reads them.
    if !room.try_grow(made.text.len(), ANSWER_BYTES) {
        return Err(unavailable("Too many answers are not read."));
    }
    *response.body_mut() = Body::Bytes(Bytes::from_owner(Sent(made.text.clone(), room)));
    Ok(response)
}

/// The bytes, and what they are counted in until the last of them is written.
struct Sent(Bytes, #[allow(dead_code)] Room);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// RFC 9110 §13.1.2: a weak comparison, of a list or `*`.
fn has_tag(tags: &HeaderValue, made: &Made) -> bool {
    let tags = tags.to_str().unwrap_or("");
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == made.tag)
}
