//! Calls that are answered with a stream (C7.8), against a stand-in for the workers.
//!
//! Not for what a routine raises: `pg_test/tests/call_streams.rs`.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Read as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sse_gateway::{CallResult, Pushed, Settings};
use sse_proto::call::EventsEnd;
use sse_proto::scope::Scope;
use support::calls::{JSON, done, done_with, failed, has_told_end, no_row, publish_end, request, try_take};
use support::peer::{End, Peer, Stream};
use support::streamed::{
    ACCEPT, answer, begun, end, gateway, is_cancelled, last, of_topic, post, ready, streamed, take,
    take_ready, with,
};
use support::tokens::bearer;
use support::{DEADLINE, Raise, eventually, people, raised, settings, within};

#[test]
fn a_stream_has_the_events_of_its_call_then_the_result_and_ends() {
    let gateway = gateway();
    let mut other = Stream::ready(gateway.port());
    gateway.say("before");
    let peer = streamed(&gateway, "/api/work");
    let call = take(&gateway);
    let mut stream = peer.into_stream();
    assert_eq!(stream.head.header("content-type"), "text/event-stream");
    assert_eq!(stream.head.header("cache-control"), "no-store, no-transform");
    assert_eq!(stream.head.header("x-content-type-options"), "nosniff");
    assert_eq!(take_ready(&mut stream).id, "e-1");
    assert!(stream.bytes().starts_with(b": connected\n\nretry: "));
    let scoped = |scope, call, data: &str| Raise { scope, ..raised(call, data) };
    gateway.publish(&[
        raised(call.id, "for all"),
        raised(call.id + 1, "of another call"),
        of_topic(raised(call.id, "of a topic")),
        Raise { execution_id: Some("x".to_owned()), ..raised(call.id, "of an execution") },
        scoped(Scope::parse("authorize role:admin").unwrap(), call.id, "for staff"),
        scoped(Scope::Nobody, call.id, "for nobody"),
        scoped(Scope::Caller, call.id, "for the caller"),
        scoped(Scope::Caller, call.id + 1, "for another caller"),
    ]);
    gateway.say("of no call");
    assert_eq!(stream.take(4), ["for all", "of a topic", "of an execution", "for the caller"]);
    answer(&gateway, call.id, done(call.id, "a\nb\r\n\rc"));
    let result = last(stream);
    assert_eq!((result.name.as_str(), result.data.as_str()), ("sse.result", "a\nb\n\nc"));
    assert!(result.id.starts_with("e-"), "{}", result.id);
    // Others get what they always get.
    assert_eq!(other.take(4), ["before", "for all", "of another call", "of an execution"]);
    assert_eq!(gateway.gateway.poll_cancelled(), None);
    eventually("its place is given back", || gateway.subscribers() == 1);
}

#[test]
fn events_that_come_before_the_stream_has_begun_are_in_it() {
    for attempt in 0..20 {
        let gateway = gateway();
        let peer = streamed(&gateway, "/api/work");
        let call = take(&gateway);
        for n in 0..20 {
            let data = n.to_string();
            gateway.publish(&[raised(call.id, &data), of_topic(raised(call.id, &data))]);
        }
        end(&gateway, call.id, "x");
        let (end, events) = ready(peer).end();
        let mut expected: Vec<String> = (0..20).flat_map(|n| [n.to_string(), n.to_string()]).collect();
        expected.push("x".to_owned());
        let data: Vec<String> = events.into_iter().map(|event| event.data).collect();
        assert_eq!((end, data), (End::Clean, expected), "{attempt}");
    }
}

#[test]
fn the_result_waits_for_the_events_that_are_still_on_their_way() {
    let gateway = gateway();
    let peer = streamed(&gateway, "/api/work");
    let call = take(&gateway);
    answer(&gateway, call.id, done_with(call.id, "result", EventsEnd::Told));
    let mut stream = ready(peer);
    gateway.publish(&[raised(call.id, "held back")]);
    publish_end(&gateway, call.id);
    assert_eq!(stream.take(2), ["held back", "result"]);
    assert_eq!(stream.end(), (End::Clean, Vec::new()));
}

#[test]
fn the_last_event_is_the_result_or_the_problem() {
    let gateway = gateway();
    let run = |target: &str, verb: &str, result: fn(u64) -> CallResult| {
        let peer = Peer::ask(gateway.port(), &request(verb, target, &format!("{JSON}{ACCEPT}"), ""));
        let call = take(&gateway);
        let result = result(call.id);
        let is_untold = matches!(result, CallResult::Lost | CallResult::NoRoom);
        answer(&gateway, call.id, result);
        if is_untold {
            has_told_end(&gateway);
        }
        last(ready(peer))
    };
    for (target, verb, result, expected) in [
        ("/api/work", "POST", (|id| done(id, "")) as fn(u64) -> CallResult, ""),
        ("/api/work", "POST", |id| done(id, "data: x\n\nid: 9"), "data: x\n\nid: 9"),
        ("/api/look?n=1", "GET", |id| done(id, "caf\u{e9} \u{1f600}"), "caf\u{e9} \u{1f600}"),
        ("/api/work", "POST", no_row, "null"),
        ("/api/rows", "GET", |id| done(id, "{\"messageId\":1}"), "{\"messageId\":1}"),
        ("/api/rows", "GET", no_row, "null"),
    ] {
        let event = run(target, verb, result);
        assert_eq!((event.name.as_str(), event.data.as_str()), ("sse.result", expected), "{target}");
    }
    for (result, status, detail, sqlstate) in [
        (
            (|id| failed(id, b"P0001", "my own\nwords", true)) as fn(u64) -> CallResult,
            400,
            "my own\nwords",
            "P0001",
        ),
        (|id| failed(id, b"PT418", "tea", true), 418, "tea", "PT418"),
        (|id| failed(id, b"57014", "x", false), 504, "", "57014"),
        (|id| failed(id, b"42P01", "x", false), 500, "", "42P01"),
        (|_| CallResult::Lost, 502, "The call was interrupted. It may have taken effect.", ""),
        (|_| CallResult::NoRoom, 503, "", ""),
    ] {
        let event = run("/api/work", "POST", result);
        assert_eq!(event.name, "sse.error");
        let problem: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)));
        assert_eq!(problem["sqlstate"].as_str().unwrap_or(""), sqlstate);
        assert!(detail.is_empty() || problem["detail"] == detail, "{problem}");
    }
}

// The ring was full when the call ended, or its worker died after it had published.
#[test]
fn the_last_event_waits_for_an_end_that_no_worker_has_told() {
    let gateway = gateway();
    for name in ["sse.result", "sse.error"] {
        let (call, mut stream) = begun(&gateway);
        let untold = done_with(call.id, "x", EventsEnd::Untold);
        answer(&gateway, call.id, if name == "sse.result" { untold } else { CallResult::Lost });
        eventually("it is to be told", || !gateway.gateway.hand_over_endings(|_| Pushed::Full));
        gateway.publish(&[raised(call.id, "before its end")]);
        assert_eq!(stream.next().data, "before its end");
        has_told_end(&gateway);
        assert_eq!(last(stream).name, name);
    }
}

// While the call waits for a worker, and while the worker gets ready, others fill the window many times over.
#[test]
fn a_call_that_waited_while_the_window_turned_over_has_all_of_its_events_and_no_gap() {
    let gateway = with(Settings { window_size: 20_000, ..settings() });
    let turn_over = || {
        let last = (0..100).map(|_| gateway.say(&"x".repeat(1000))).last();
        eventually("the window has turned over", || gateway.count(|stats| &stats.window_events) < 30);
        last
    };
    for events_before in [0, 2] {
        turn_over();
        let peer = streamed(&gateway, "/api/work");
        eventually("it waits", || gateway.count(|stats| &stats.calls_waiting) == 1);
        turn_over();
        let call = support::calls::take(&gateway);
        turn_over();
        for _ in 0..events_before {
            gateway.publish(&[raised(call.id, "early")]);
        }
        gateway.desk().has_begun(call.id);
        let stream = ready(peer);
        end(&gateway, call.id, "done");
        let (end, events) = stream.end();
        let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
        let expected = [vec!["early"; events_before], vec!["done"]].concat();
        assert_eq!((end, data), (End::Clean, expected));
    }
}

// What was lost before the call began is not the call's; what was lost after that may be.
#[test]
fn a_gap_for_everybody_is_in_the_stream_of_a_call_that_a_worker_had_by_then() {
    let gateway = gateway();
    for has_worker in [false, true] {
        let peer = streamed(&gateway, "/api/work");
        eventually("it waits", || gateway.count(|stats| &stats.calls_waiting) == 1);
        let overflow = || gateway.publish_batch(|batch| batch.push_overflow(None));
        if !has_worker {
            overflow();
        }
        let call = support::calls::take(&gateway);
        if has_worker {
            overflow();
        }
        gateway.publish(&[raised(call.id, "x")]);
        gateway.desk().has_begun(call.id);
        let stream = ready(peer);
        end(&gateway, call.id, "done");
        let names: Vec<String> = stream.end().1.into_iter().map(|event| event.name).collect();
        let expected: &[&str] = if has_worker { &["sse.gap", "", "sse.result"] } else { &["", "sse.result"] };
        assert_eq!(names, expected);
    }
}

#[test]
fn http_1_0_gets_the_bare_stream_until_the_connection_closes() {
    let gateway = gateway();
    let request = format!("GET /api/look HTTP/1.0\r\nHost: localhost\r\n{ACCEPT}\r\n");
    let peer = Peer::ask(gateway.port(), &request);
    let call = take(&gateway);
    gateway.publish(&[raised(call.id, "x")]);
    end(&gateway, call.id, "y");
    let mut stream = peer.into_stream();
    assert_eq!(stream.head.header("transfer-encoding"), "");
    take_ready(&mut stream);
    assert_eq!(stream.take(2), ["x", "y"]);
    assert_eq!(stream.end(), (End::Clean, Vec::new()));
}

// The main thread puts nothing into the ring any more when it stops.
#[test]
fn a_stop_does_not_wait_for_an_end_that_nobody_tells_any_more() {
    let gateway = gateway();
    let (call, mut stream) = begun(&gateway);
    gateway.publish(&[raised(call.id, "x")]);
    answer(&gateway, call.id, CallResult::Lost);
    eventually("its end is to be told", || !gateway.gateway.hand_over_endings(|_| Pushed::Full));
    let took = gateway.stop(Duration::from_secs(5));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(stream.next().data, "x");
    assert!(last(stream).data.contains("502"));
}

// Attack: peers that go at each moment of a call: before a worker has it, before it begins, when it has
// begun, and while its end is waited for.
#[test]
fn a_peer_that_goes_at_any_moment_leaves_nothing_behind() {
    let gateway = gateway();
    for moment in 0..4 {
        let mut peer = streamed(&gateway, "/api/work");
        eventually("it waits", || gateway.count(|stats| &stats.calls_waiting) == 1);
        let call = (moment > 0).then(|| support::calls::take(&gateway));
        if let (Some(call), true) = (&call, moment > 1) {
            gateway.desk().has_begun(call.id);
            assert_eq!(peer.head().status, 200);
        }
        if let (Some(call), true) = (&call, moment > 2) {
            answer(&gateway, call.id, CallResult::Lost);
            eventually("its end is to be told", || !gateway.gateway.hand_over_endings(|_| Pushed::Full));
        }
        drop(peer);
        match call {
            Some(call) if moment < 3 => is_cancelled(&gateway, call.id),
            _ => {}
        }
        eventually("nothing waits", || {
            gateway.gateway.hand_over_endings(|_| Pushed::Full)
                && gateway.count(|stats| &stats.calls_waiting) == 0
                && gateway.subscribers() == 0
        });
        assert!(try_take(&gateway.gateway).is_none(), "{moment}");
        assert_eq!(gateway.gateway.poll_cancelled(), None, "{moment}");
    }
}

#[test]
fn an_expired_token_ends_the_stream_and_the_call_with_it() {
    let gateway = gateway();
    let token = people::token("alice", "Alice", &[], Duration::from_secs(2));
    let peer = Peer::ask(gateway.port(), &post("/api/known", &bearer(&token)));
    let call = take(&gateway);
    assert_eq!(ready(peer).end(), (End::Clean, Vec::new()));
    is_cancelled(&gateway, call.id);
}

#[test]
fn heartbeats_run_while_the_call_does_and_never_inside_the_result() {
    let gateway = with(Settings { heartbeat_interval: Duration::from_millis(20), ..settings() });
    let (call, mut stream) = begun(&gateway);
    stream.comments(4);
    let line = "0123456789\n";
    let result = line.repeat((20 << 20) / line.len());
    answer(&gateway, call.id, done(call.id, &result));
    // It does not read before the result has been half written for many heartbeats.
    let (mut written, mut since) = (0, Instant::now());
    eventually("nothing more fits between the two", || {
        let now = gateway.count(|stats| &stats.bytes_total);
        if now != written {
            (written, since) = (now, Instant::now());
        }
        written > 10_000 && since.elapsed() > Duration::from_millis(300)
    });
    assert!(last(stream).data == result);
}

#[test]
fn a_result_of_nothing_but_line_breaks_arrives_whole() {
    let gateway = gateway();
    let peer = streamed(&gateway, "/api/work");
    let call = take(&gateway);
    let result = "\n".repeat(3 << 20);
    answer(&gateway, call.id, done(call.id, &result));
    assert!(last(ready(peer)).data == result);
}

// Attack: the result is asked for, and then read too slowly for its memory ever to be given back.
#[test]
fn a_result_that_is_taken_too_slowly_is_cut() {
    taken_too_slowly("", 60 << 20);
}

// Attack: events in front of the result, so that it waits, and its memory with it, for as long as these last.
#[test]
fn a_result_that_waits_behind_events_is_taken_at_the_same_rate() {
    taken_too_slowly(&"x".repeat(8 << 20), 1 << 20);
}

/// A peer reads a little at a time, and its call raises `event` and has a result of this length.
fn taken_too_slowly(event: &str, result: usize) {
    // So that nothing else cuts it.
    let gateway = with(Settings { write_timeout: 10 * DEADLINE, ..settings() });
    let mut peer = Peer::connect(gateway.port());
    // So that hardly anything of what it does not read is in the kernel.
    socket2::SockRef::from(peer.socket()).set_recv_buffer_size(4096).unwrap();
    peer.send(post("/api/work", "").as_bytes());
    let call = take(&gateway);
    let before = Instant::now();
    if event.is_empty() {
        answer(&gateway, call.id, done(call.id, &"x".repeat(result)));
    } else {
        gateway.publish(&[raised(call.id, event)]);
        end(&gateway, call.id, &"x".repeat(result));
    }
    // Ten seconds, and some for what the kernel holds.
    within(3 * DEADLINE, "it is cut", || {
        // A little at a time, so that it never looks stalled.
        let _ = peer.socket().read(&mut [0; 1]);
        gateway.subscribers() == 0
    });
    assert!(before.elapsed() >= Duration::from_secs(10), "{:?}", before.elapsed());
}

#[test]
fn a_page_of_another_origin_may_read_the_stream_if_it_is_listed() {
    let cors_origins = sse_gateway::CorsOrigins::parse("https://app.example").unwrap();
    let gateway = with(Settings { cors_origins, ..settings() });
    let peer = Peer::ask(gateway.port(), &post("/api/work", "Origin: https://app.example\r\n"));
    let call = take(&gateway);
    answer(&gateway, call.id, done(call.id, "x"));
    let stream = peer.into_stream();
    assert_eq!(stream.head.header("access-control-allow-origin"), "https://app.example");
}
