//! Calls that are answered with a stream, and their ends.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use super::calls::{JSON, Taken, callable, calling, done_with, failed, publish_end, request, row, shape};
use super::h2::{END_STREAM, H2Peer};
use super::peer::{End, Event, Peer, Stream};
use super::{Raise, TestGateway, auth, eventually, settings};
use sse_gateway::{AuthSettings, CallResult, Settings};
use sse_proto::call::{EventsEnd, Shape};

pub const ACCEPT: &str = "Accept: text/event-stream\r\n";

pub fn with(settings: Settings) -> TestGateway {
    let auth = AuthSettings { jwt_secret: auth().jwt_secret, ..settings.auth };
    calling(
        Settings { auth, ..settings },
        &[
            callable("work", "HTTP POST", &["n?"], shape(Shape::Scalar)),
            callable("look", "HTTP GET", &["n?"], shape(Shape::Scalar)),
            callable("rows", "HTTP GET", &[], row(&["message_id"])),
            callable("known", "HTTP POST\n@authorize", &[], shape(Shape::Scalar)),
            callable("staff", "HTTP POST\n@authorize role:admin", &[], shape(Shape::Scalar)),
            callable("enter", "HTTP POST\n@login", &[], row(&["user_id"])),
            callable("leave", "HTTP POST\n@logout", &[], shape(Shape::Void)),
            callable("events", "@sse", &[], shape(Shape::Scalar)),
        ],
    )
}

pub fn gateway() -> TestGateway {
    with(settings())
}

pub fn post(target: &str, headers: &str) -> String {
    request("POST", target, &format!("{JSON}{ACCEPT}{headers}"), "")
}

pub fn streamed(gateway: &TestGateway, target: &str) -> Peer {
    Peer::ask(gateway.port(), &post(target, ""))
}

/// A call whose statement has begun.
pub fn take(gateway: &TestGateway) -> Taken {
    let call = super::calls::take(gateway);
    gateway.desk().has_begun(call.id);
    call
}

/// A call whose statement has begun, and its stream after `sse.ready`.
pub fn begun(gateway: &TestGateway) -> (Taken, Stream) {
    let peer = streamed(gateway, "/api/work");
    let call = take(gateway);
    (call, ready(peer))
}

/// The stream behind `sse.ready`.
pub fn ready(peer: Peer) -> Stream {
    let mut stream = peer.into_stream();
    take_ready(&mut stream);
    stream
}

/// The same over HTTP/2: the stream's number, and the call's.
pub fn begun_over_http2(gateway: &TestGateway, peer: &mut H2Peer) -> (u32, u64) {
    let id = peer.begin("POST", "/api/work", &[("accept", "text/event-stream")], END_STREAM);
    let call = take(gateway);
    peer.until_text(id, "sse.ready");
    (id, call.id)
}

pub fn of_topic(raise: Raise) -> Raise {
    Raise { topic: Some("t".to_owned()), ..raise }
}

/// The call has ended, and said so after its events.
pub fn end(gateway: &TestGateway, call: u64, body: &str) {
    answer(gateway, call, done_with(call, body, EventsEnd::Told));
    publish_end(gateway, call);
}

pub fn take_ready(stream: &mut Stream) -> Event {
    let ready = stream.next();
    assert_eq!((ready.name.as_str(), ready.data.as_str()), ("sse.ready", "{}"));
    ready
}

pub fn answer(gateway: &TestGateway, call: u64, result: CallResult) {
    gateway.desk().answer(call, result);
}

/// The only event that is left of a stream, before its clean end.
pub fn last(stream: Stream) -> Event {
    let (end, mut events) = stream.end();
    assert_eq!((end, events.len()), (End::Clean, 1), "{events:?}");
    events.remove(0)
}

pub fn is_cancelled(gateway: &TestGateway, call: u64) {
    eventually("the call is cancelled", || gateway.gateway.poll_cancelled() == Some(call));
    answer(gateway, call, failed(call, b"57014", "", false));
}
