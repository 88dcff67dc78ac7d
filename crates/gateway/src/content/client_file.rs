//! The answer to a request for a file for clients (C7.7, C7.10).
//!
//! It is for whoever may call and listen at all: with `sse.require_authentication` for those with a token.
//! The type of the client in TypeScript is `text/typescript`: nothing is registered for the language but a
//! clash (`video/mp2t`), and this is what runtimes that import from a URL take, while browsers show it as
//! text. The documents are `application/json`, which every tool takes and every browser shows; their own
//! types (`application/vnd.oai.openapi+json`) would be offered as downloads.
//!
//! Not for what is in them.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use sse_proto::client_file::ClientFile;

use crate::between::client_board::{Made, Present};
use crate::content::body::{Body, READ_METHODS, allowed};
use crate::content::problem::Problem;
use crate::room::{ANSWER_BYTES, Room};

/// What a request with this method and these headers gets. `room`: none taken yet.
///
/// # Errors
/// 405; 503 when there is no such file, or no room for another answer.
pub(crate) fn answer(
    file: ClientFile,
    present: Present,
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
    let what = if file == ClientFile::TypeScript { "client" } else { "document" };
    let made = match present {
        Present::Made(made) => made,
        Present::Unread => return Err(unavailable(&format!("The {what} is not made yet."))),
        Present::TooLarge => {
            let function = file.function();
            let detail = format!("The {what} is too large; sse.{function}('schema') makes a smaller one.");
            return Err(unavailable(&detail));
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
    let kind = match file {
        ClientFile::TypeScript => "text/typescript; charset=utf-8",
        ClientFile::OpenApi | ClientFile::AsyncApi => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if method == Method::HEAD {
        headers.insert(http::header::CONTENT_LENGTH, made.text.len().into());
        return Ok(response);
    }
    // The bytes are shared, but those of a file that was replaced stay as long as somebody reads them.
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
