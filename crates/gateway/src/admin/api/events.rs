//! `/api/events`: the live events of all routines, as an event stream.
//!
//! hyper asks for the next event when its buffer has room, and so at the reader's pace. Nothing is replayed,
//! and there is no `id:`: an inspector that comes back watches from then on.
//!
//! Not for how events come here: `between/live.rs`.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Board, gateway, seconds};
use crate::admin::token::Given;
use crate::between::live::{Feed, MAX_FEEDS, Seen, SeenEvent};
use crate::content::problem::Problem;
use crate::shared::Shared;

/// How often it is looked whether the gateway is still the one that is served, and the token still counts.
const LOOK: Duration = Duration::from_secs(1);

/// A comment is sent when nothing else was for so many looks: proxies and pages see that the stream lives.
const HEARTBEAT: u32 = 15;

/// The body of the answer.
pub(in crate::admin) struct Events {
    feed: Feed,
    board: Arc<Board>,
    /// The token that it was opened with.
    given: Given,
    /// Not kept alive by who watches.
    gateway: Weak<Shared>,
    looks: Interval,
    idle: u32,
    has_begun: bool,
    has_ended: bool,
    /// When the reader last took something; of the connection.
    taken: Rc<Cell<Instant>>,
}

/// The answer to a GET.
///
/// # Errors
/// The problem that is answered instead.
pub(in crate::admin) fn answer(board: &Arc<Board>, given: Given) -> Result<Response<Events>, Problem> {
    let gateway = gateway(board)?;
    let feed = gateway.inspection.live.open().ok_or_else(|| {
        let detail = format!("{MAX_FEEDS} inspectors watch already.");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
    })?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (idle, has_begun, has_ended) = (0, false, false);
    let taken = Rc::new(Cell::new(Instant::now()));
    let gateway = Arc::downgrade(&gateway);
    let board = Arc::clone(board);
    let events = Events { feed, board, given, gateway, looks, idle, has_begun, has_ended, taken };
    let mut response = Response::new(events);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // nginx would keep events back until it has some kilobytes of them.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

impl Events {
    /// When the reader last took something.
    pub(in crate::admin) fn taken(&self) -> Rc<Cell<Instant>> {
        Rc::clone(&self.taken)
    }

    /// The next block; `None`: the end.
    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.taken.set(Instant::now());
        if self.has_ended {
            return Poll::Ready(None);
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            return Poll::Ready(Some(Bytes::from_static(b": open\n\n")));
        }
        if let Poll::Ready(seen) = self.feed.poll_next(cx) {
            self.idle = 0;
            return Poll::Ready(Some(block(&seen).into()));
        }
        while self.looks.poll_tick(cx).is_ready() {
            let is_gone = self.gateway.upgrade().is_none_or(|gateway| gateway.stopping().is_some());
            if is_gone || !self.board.tokens.still_admits(&self.given, &self.board.outbox) {
                self.has_ended = true;
                return Poll::Ready(None);
            }
            self.idle += 1;
            if self.idle >= HEARTBEAT {
                self.idle = 0;
                return Poll::Ready(Some(Bytes::from_static(b":\n\n")));
            }
        }
        Poll::Pending
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_block(cx).map(|block| block.map(|block| Ok(Frame::data(block))))
    }
}

/// JSON has no line breaks, so it is one line of data.
fn block(seen: &Seen) -> String {
    match seen {
        Seen::Event(event) => format!("data: {}\n\n", shown(event)),
        Seen::Missed(count) => format!("event: missed\ndata: {}\n\n", json!({ "count": count })),
    }
}

fn shown(event: &SeenEvent) -> Value {
    json!({
        "id": event.id,
        "at": seconds(event.at),
        // An event does not carry from which routine it is.
        "path": null,
        "event": event.event,
        "topics": event.topic.as_slice(),
        "scope": event.scope,
        "bytes": event.bytes,
        "streams": event.streams,
        "delay_ms": event.delay.map(|delay| delay.as_secs_f64() * 1e3),
        "data": event.data,
        "cut": event.bytes > event.data.len(),
    })
}
