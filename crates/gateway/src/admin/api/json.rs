//! JSON answers of a bounded size, whose memory is asked for.
//!
//! Not for what is in them.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::content::body::Body;
use crate::content::problem::Problem;
use crate::room::{Room, Rooms, held};

/// Bytes from which on a list takes no further item; its `total` says that there are more. One item has some
/// kilobytes at most.
const FULL_LIST_BYTES: usize = 4 << 20;

/// Bytes of all answers that are not written yet: beyond it 503. [`Rooms`] gives one address half of what it
/// is told, and all of these are counted for one.
const ALL_BYTES: usize = 16 << 20;

/// What all answers take.
#[derive(Default)]
pub(super) struct Answers(Rooms);

impl Answers {
    /// An answer with this value.
    ///
    /// # Errors
    /// 503 without memory for it.
    pub(super) fn value(&self, value: &Value) -> Result<Response<Body>, Problem> {
        let mut text = self.text();
        serde_json::to_writer(&mut text, value).map_err(|_| no_memory())?;
        Ok(text.into_response())
    }

    /// An answer that says how many there are, and has as many of them under `name` as there is room for.
    ///
    /// # Errors
    /// 503 without memory for it.
    pub(super) fn list(
        &self,
        name: &str,
        total: u64,
        items: impl Iterator<Item = Value>,
    ) -> Result<Response<Body>, Problem> {
        let mut text = self.text();
        let write = || -> io::Result<()> {
            write!(text, "{{\"total\":{total},\"{name}\":[")?;
            for (number, item) in items.enumerate() {
                if number > 0 {
                    text.write_all(b",")?;
                }
                serde_json::to_writer(&mut text, &item)?;
                if text.bytes.len() >= FULL_LIST_BYTES {
                    break;
                }
            }
            text.write_all(b"]}")
        };
        write().map_err(|_| no_memory())?;
        Ok(text.into_response())
    }

    fn text(&self) -> Text {
        Text { bytes: Vec::new(), room: self.0.room(IpAddr::V4(Ipv4Addr::LOCALHOST)) }
    }
}

fn no_memory() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "There is no memory for this answer, or other answers of the admin port are not read.",
    )
}

/// An answer that is being written.
struct Text {
    bytes: Vec<u8>,
    room: Room,
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.try_reserve(bytes.len()).is_err() || !self.room.try_grow(bytes.len(), 2 * ALL_BYTES) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Text {
    fn into_response(mut self) -> Response<Body> {
        // It has grown by doubling.
        self.bytes.shrink_to_fit();
        let mut response = Response::new(Body::Bytes(held(self.bytes, Some(self.room))));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hyper::body::Body as _;
    use serde_json::json;

    use super::*;

    // Attack: names and topics as long and as many as can be, so that whoever asks makes the gateway large.
    #[test]
    fn a_list_takes_items_until_it_is_full_and_still_says_how_many_there_are() {
        let answers = Answers::default();
        let item = json!("x".repeat(1 << 20));
        for (items, taken) in [(2, 2), (3, 3), (4, 4), (5, 4), (100, 4)] {
            let answer = answers.list("of", items, (0..items).map(|_| item.clone())).ok().unwrap();
            let Body::Bytes(bytes) = answer.into_body() else { panic!("no bytes") };
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(
                (value["total"].as_u64(), value["of"].as_array().map(Vec::len)),
                (Some(items), Some(taken))
            );
        }
    }

    #[test]
    fn answers_that_are_not_read_are_bounded_together_and_give_their_room_back() {
        let answers = Answers::default();
        let value = json!("x".repeat((4 << 20) - 2));
        let answer = || answers.value(&value);
        let unread: Vec<_> = (0..4).map(|_| answer().ok().unwrap()).collect();
        assert!(unread.iter().all(|answer| answer.body().size_hint().exact() == Some(4 << 20)));
        assert!(answer().is_err(), "a fifth of four megabytes");
        drop(unread);
        assert!(answer().is_ok() && answers.0.is_empty());
    }
}
