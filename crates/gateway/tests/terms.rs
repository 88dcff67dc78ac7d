//! A comment that changes while streams are open: a stream that would hear something else comes back under
//! the new rule and has missed nothing; all others do not notice (C4.5, C6.4).
//!
//! Not for what a change of a comment is: the black-box tests have that.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use socket2::SockRef;
use sse_gateway::Settings;
use sse_proto::route::RouteTable;
use support::peer::{End, Event, Peer, Stream};
use support::{Raise, TestGateway, eventually, id, raise, routes, settings};

fn in_topic(topic: &str, data: &str) -> Raise {
    Raise { topic: Some(topic.to_owned()), ..raise(data) }
}

fn table(room: &str) -> Arc<RouteTable> {
    routes(&[
        ("events", "@sse_subscribe live"),
        ("room", room),
        ("still", "@sse_subscribe live\n@sse_topic still"),
    ])
}

fn gateway(room: &str) -> TestGateway {
    let gateway = TestGateway::new();
    gateway.gateway.set_routes(table(room), 2);
    gateway
}

fn open(gateway: &TestGateway, target: &str) -> Stream {
    Stream::ready_at(gateway.port(), target, "")
}

/// What a browser does whose stream has ended: it comes back with the last id that it was told.
fn come_back(gateway: &TestGateway, target: &str, stream: Stream) -> (Vec<Event>, Stream) {
    let (end, events) = stream.end();
    assert_eq!(end, End::Clean);
    let last = events.last().map_or_else(|| id(0), |event| event.id.clone());
    (events, Stream::ready_at(gateway.port(), target, &format!("Last-Event-ID: {last}\r\n")))
}

const A: &str = "@sse_subscribe live\n@sse_topic a";
const B: &str = "@sse_subscribe live\n@sse_topic b";

#[test]
fn a_stream_whose_topic_changes_comes_back_and_has_missed_nothing() {
    let gateway = gateway(A);
    let mut stream = open(&gateway, "/api/room/live");
    gateway.publish(&[in_topic("a", "a1")]);
    assert_eq!(stream.next().data, "a1");
    // The new rule is known to sessions before the gateway has it.
    gateway.publish(&[in_topic("b", "b1"), in_topic("a", "a2")]);
    assert_eq!(stream.next().data, "a2");
    gateway.publish(&[in_topic("b", "b2")]);
    gateway.gateway.set_routes(table(B), 3);
    let (rest, mut stream) = come_back(&gateway, "/api/room/live", stream);
    assert!(rest.iter().all(|event| event.name == "sse.ready"), "{rest:?}");
    gateway.publish(&[in_topic("a", "old"), in_topic("b", "b3")]);
    assert_eq!(stream.take(3), ["b1", "b2", "b3"]);
}

#[test]
fn what_was_published_before_a_change_is_heard_by_the_old_rule() {
    let gateway = gateway(A);
    let stream = open(&gateway, "/api/room/live");
    gateway.publish(&[in_topic("a", "a1"), in_topic("a", "a2")]);
    gateway.gateway.set_routes(table(B), 3);
    let (rest, _) = come_back(&gateway, "/api/room/live", stream);
    let heard: Vec<&str> =
        rest.iter().filter(|event| event.name.is_empty()).map(|event| event.data.as_str()).collect();
    assert_eq!(heard, ["a1", "a2"]);
    assert!(rest.iter().all(|event| event.name != "sse.gap"), "{rest:?}");
}

#[test]
fn a_slow_reader_is_told_by_a_gap_of_what_it_has_not_read_by_the_old_rule() {
    let gateway = TestGateway::with(Settings { window_size: 64 << 20, ..settings() });
    gateway.gateway.set_routes(table(A), 2);
    let mut peer = Peer::connect(gateway.port());
    SockRef::from(peer.socket()).set_recv_buffer_size(4096).unwrap();
    peer.send(b"GET /api/room/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut stream = peer.into_stream();
    assert_eq!(stream.next().name, "sse.ready");
    let data = "x".repeat(10_000);
    let raises = vec![in_topic("a", &data); 100];
    for _ in 0..16 {
        gateway.publish(&raises);
    }
    gateway.gateway.set_routes(table(B), 3);
    gateway.publish(&[in_topic("b", "b1")]);
    let (rest, mut stream) = come_back(&gateway, "/api/room/live", stream);
    let (gap, heard) = rest.split_last().unwrap();
    assert!(heard.len() < 1600 && heard.iter().all(|event| event.data == data), "{}", heard.len());
    assert_eq!(
        (gap.name.as_str(), gap.data.as_str()),
        ("sse.gap", r#"{"reason": "unknown", "missed": null}"#)
    );
    assert_eq!(stream.next().data, "b1");
}

#[test]
fn a_topic_that_is_soon_what_it_was_brings_nothing_twice() {
    let gateway = gateway(A);
    let mut stream = open(&gateway, "/api/room/live");
    gateway.publish(&[in_topic("a", "a1"), in_topic("b", "b1"), in_topic("a", "a2")]);
    assert_eq!(stream.take(2), ["a1", "a2"]);
    gateway.gateway.set_routes(table(B), 3);
    let (_, mut stream) = come_back(&gateway, "/api/room/live", stream);
    assert_eq!(stream.next().data, "b1");
    gateway.publish(&[in_topic("a", "a3"), in_topic("b", "b2")]);
    assert_eq!(stream.next().data, "b2");
    gateway.gateway.set_routes(table(A), 4);
    let (_, mut stream) = come_back(&gateway, "/api/room/live", stream);
    gateway.publish(&[in_topic("a", "a4")]);
    assert_eq!(stream.take(2), ["a3", "a4"]);
}

#[test]
fn a_stream_that_was_sent_nothing_since_comes_back_from_its_last_id() {
    for (before, after, topic) in [(A, B, Some("b")), (A, "@sse_subscribe live", None)] {
        let gateway = gateway(before);
        let stream = open(&gateway, "/api/room/live");
        let event = Raise { topic: topic.map(str::to_owned), ..raise("new") };
        gateway.publish(&[event]);
        gateway.gateway.set_routes(table(after), 3);
        let (rest, mut stream) = come_back(&gateway, "/api/room/live", stream);
        assert_eq!(rest, [], "{after}");
        assert_eq!(stream.next().data, "new", "{after}");
    }
}

#[test]
fn a_stream_with_topics_of_its_own_is_told_if_it_has_missed_something() {
    for (target, missed) in [("/api/room/live?topic=x", true), ("/api/room/live?topic=x&topic=b", false)] {
        let gateway = gateway(A);
        let mut stream = open(&gateway, target);
        gateway.publish(&[in_topic("b", "b1"), in_topic("x", "x1")]);
        assert_eq!(stream.take(if missed { 1 } else { 2 }).last().unwrap(), "x1");
        gateway.gateway.set_routes(table(B), 3);
        let (end, rest) = stream.end();
        assert_eq!(end, End::Clean);
        let name = "sse.gap".to_owned();
        let gap = Event { name, data: "{\"reason\": \"unknown\", \"missed\": 1}".to_owned(), id: id(2) };
        assert_eq!(rest, if missed { vec![gap] } else { Vec::new() });
        let mut stream = Stream::ready_at(gateway.port(), target, &format!("Last-Event-ID: {}\r\n", id(2)));
        gateway.publish(&[in_topic("a", "a1"), in_topic("b", "b2"), in_topic("x", "x2")]);
        assert_eq!(stream.take(2), ["b2", "x2"]);
    }
}

#[test]
fn beyond_1024_items_a_stream_with_topics_of_its_own_is_told_without_a_number() {
    for (items, missed) in [(1023, "1"), (1024, "1"), (1025, "null")] {
        let gateway = gateway(A);
        let mut stream = open(&gateway, "/api/room/live?topic=x");
        let mut raises = vec![in_topic("b", "b1")];
        raises.extend((1..items).map(|n| in_topic("x", &n.to_string())));
        gateway.publish(&raises);
        assert_eq!(stream.take(items - 1).len(), items - 1);
        gateway.gateway.set_routes(table(B), 3);
        let (_, rest) = stream.end();
        let expected = format!("{{\"reason\": \"unknown\", \"missed\": {missed}}}");
        assert_eq!(rest.iter().map(|gap| gap.data.as_str()).collect::<Vec<_>>(), [expected], "{items}");
    }
}

#[test]
fn of_a_topic_that_the_gateway_never_knew_a_stream_is_told_by_a_gap() {
    for (between, is_told) in [("z", true), ("b", false), ("a", false)] {
        let gateway = gateway(A);
        let stream = open(&gateway, "/api/room/live");
        gateway.publish(&[in_topic(between, "between"), in_topic("b", "b1")]);
        // Of three changes the gateway has seen only the last.
        gateway.gateway.set_routes(table(B), 5);
        let (rest, mut stream) = come_back(&gateway, "/api/room/live", stream);
        let gap = rest.iter().find(|event| event.name == "sse.gap").map(|gap| gap.data.as_str());
        assert_eq!(gap, is_told.then_some("{\"reason\": \"unknown\", \"missed\": null}"), "{between}");
        let expected = if between == "b" { "between" } else { "b1" };
        assert_eq!(stream.next().data, expected);
    }
}

#[test]
fn streams_whose_endpoint_says_the_same_go_on() {
    let gateway = gateway(A);
    let mut streams: Vec<Stream> = ["/api/room/live", "/api/still/live", "/api/events/live"]
        .iter()
        .map(|target| open(&gateway, target))
        .collect();
    for (generation, comment) in [
        (3, "@sse live on warning\n@sse_topic a\n@sse_event x\n@sse_scope authorize 1"),
        (4, "@sse_subscribe live\n@sse_topic \"a\"\n@anonymous"),
        // The URL is gone, and comes back.
        (5, "@sse_publish\n@sse_topic c"),
        (6, A),
    ] {
        gateway.gateway.set_routes(table(comment), generation);
        // A stream that is opened now is compared with this table by the same thread: so are the others.
        let mut other = open(&gateway, "/api/still/live");
        gateway.publish(&[in_topic("a", comment), in_topic("still", comment), raise(comment)]);
        assert_eq!(other.next().data, comment);
        for stream in &mut streams {
            assert_eq!(stream.next().data, comment);
        }
    }
}

// Attack: whoever may not open a stream any more goes on listening to what others publish there.
#[test]
fn a_stream_of_somebody_who_may_not_open_it_any_more_ends() {
    let gateway = gateway(A);
    let stream = open(&gateway, "/api/room/live");
    gateway.gateway.set_routes(table("@sse_subscribe live\n@sse_topic a\n@authorize"), 3);
    assert_eq!(stream.end(), (End::Clean, vec![]));
}

#[test]
fn a_url_that_was_away_is_compared_when_it_is_there_again() {
    let gateway = gateway(A);
    let mut stream = open(&gateway, "/api/room/live");
    gateway.gateway.set_routes(table("nothing of ours"), 3);
    gateway.publish(&[in_topic("a", "while it is away")]);
    assert_eq!(stream.next().data, "while it is away");
    gateway.gateway.set_routes(table(B), 4);
    assert_eq!(stream.end().0, End::Clean);
}

#[test]
fn thousands_of_streams_end_and_others_get_their_events_meanwhile() {
    let gateway = TestGateway::new();
    gateway.gateway.set_routes(table(A), 2);
    let streams: Vec<Stream> = (0..1000).map(|_| open(&gateway, "/api/room/live")).collect();
    let mut other = open(&gateway, "/api/still/live");
    gateway.gateway.set_routes(table(B), 3);
    for n in 0..20 {
        gateway.publish(&[in_topic("still", &n.to_string())]);
        assert_eq!(other.next().data, n.to_string());
    }
    eventually("only one is open", || gateway.subscribers() == 1);
    assert!(streams.into_iter().all(|stream| stream.end().0 == End::Clean));
}
