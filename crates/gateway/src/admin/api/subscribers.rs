//! `/api/subscribers`: who listens, those who lag most first; and the end of a stream.
//!
//! A stream is named by its runtime thread, its slot, which of the slot's streams it is, and the epoch of its
//! gateway: so the name of a stream that has gone never means another one.
//!
//! Not for finding them: `stream/slab/survey.rs`.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::{Board, gateway, seconds};
use crate::between::survey::{MAX_STREAMS, StreamInfo, StreamName, Survey};
use crate::content::body::Body;
use crate::content::problem::Problem;

pub(super) async fn answer(board: &Arc<Board>) -> Result<Response<Body>, Problem> {
    let epoch = gateway(board)?.epoch;
    let found = survey(board, MAX_STREAMS).await?;
    board.api.answers.list("subscribers", found.total, found.streams.iter().map(|stream| row(stream, epoch)))
}

/// Asks all threads, when it is this request's turn.
pub(super) async fn survey(board: &Arc<Board>, limit: usize) -> Result<Survey, Problem> {
    let _turn = board.api.turn.lock().await;
    let gateway = gateway(board)?;
    let answers = gateway.inspection.questions.survey(limit);
    gateway.ring_all();
    Ok(answers.all().await)
}

fn row(stream: &StreamInfo, epoch: u64) -> Value {
    json!({
        "id": id(stream.name, epoch),
        "path": stream.path,
        "user": stream.user,
        "address": stream.address.to_canonical().to_string(),
        "since": seconds(stream.since),
        "delivered": stream.delivered,
        "lag_events": stream.lag_events,
        "lag_bytes": stream.lag_bytes,
        "topics": stream.topics,
        "protocol": stream.protocol,
        "tls": stream.is_tls,
    })
}

fn id(StreamName { thread, address }: StreamName, epoch: u64) -> String {
    format!("{thread}-{address:x}-{epoch:x}")
}

/// Only what [`id`] makes.
fn parse(text: &str) -> Option<(StreamName, u64)> {
    let mut parts = text.split('-');
    let thread = parts.next()?.parse().ok()?;
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    let (address, epoch) = (number()?, number()?);
    let name = StreamName { thread, address };
    (id(name, epoch) == text).then_some((name, epoch))
}

/// Ends a stream after the event that it is in the middle of, as `sse.disconnect` does. Its browser comes
/// back, if it is let in.
pub(super) async fn end(text: &str, board: &Arc<Board>) -> Result<Response<Body>, Problem> {
    let gone = || Problem::new(StatusCode::NOT_FOUND, "There is no such stream any more.");
    let (name, epoch) = parse(text).ok_or_else(gone)?;
    let _turn = board.api.turn.lock().await;
    let gateway = board.gateway().filter(|gateway| gateway.epoch == epoch).ok_or_else(gone)?;
    let asked = gateway.inspection.questions.end(name);
    gateway.ring_all();
    let was_there = match asked {
        Some(answer) => answer.was_there().await,
        None => None,
    };
    match was_there {
        Some(true) => {
            let mut response = Response::new(Body::EMPTY);
            *response.status_mut() = StatusCode::NO_CONTENT;
            let headers = response.headers_mut();
            headers.remove(CONTENT_TYPE);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Some(false) => Err(gone()),
        None => {
            let detail = "The thread of this stream does not answer.";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Attack: a name that is written in another way, or made up.
    #[test]
    fn a_stream_has_one_name_and_nothing_else_is_read_as_one() {
        let name = StreamName { thread: 3, address: u64::MAX - 1 };
        assert_eq!(parse(&id(name, 0xabc)), Some((name, 0xabc)));
        for text in [
            "", "0", "0-0", "0-0-0-0", "+0-0-0", "00-0-0", "0-0A-0", "0-A-0", "0-+1-0", "0-0-g", "-0-0",
            "0--0",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse("0-0-0").is_some());
    }
}
