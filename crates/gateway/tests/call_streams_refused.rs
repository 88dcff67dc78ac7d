//! Calls that ask for a stream and get an ordinary answer, because nothing has begun (C7.8).
//!
//! Not for streams that begin (`call_streams.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sse_gateway::{CallAvailability, CallResult, Settings};
use support::calls::{JSON, failed, has_told_end, outdated, refused, request, serve};
use support::peer::{Peer, Stream, ask};
use support::streamed::{ACCEPT, answer, gateway, post, streamed, with};
use support::tokens::token_of;
use support::{eventually, settings};

// What is refused before the statement begins is an ordinary answer, with its status and headers.
#[test]
fn what_is_refused_before_it_begins_is_an_ordinary_answer() {
    let gateway = with(Settings { call_queue_size: 2, max_connections: 3, ..settings() });
    let big = format!("{{\"n\": \"{}\"}}", "x".repeat(2 << 20));
    let stranger = "Authorization: Bearer x\r\n";
    for (status, request) in [
        (401, post("/api/known", "")),
        (401, post("/api/work", stranger)),
        (403, post("/api/staff", &format!("Authorization: Bearer {}\r\n", token_of("alice", &[])))),
        (404, post("/api/nothing", "")),
        (405, request("PUT", "/api/work", ACCEPT, "")),
        (400, request("POST", "/api/work", &format!("{JSON}{ACCEPT}"), "{\"m\": 1}")),
        (400, request("GET", "/api/look?m=1", ACCEPT, "")),
        (403, post("/api/work", "Origin: https://evil.example\r\n")),
        (413, request("POST", "/api/work", &format!("{JSON}{ACCEPT}"), &big)),
        (415, request("POST", "/api/work", &format!("Content-Type: text/plain\r\n{ACCEPT}"), "x")),
        (406, post("/api/enter", "")),
        (406, post("/api/leave", "")),
    ] {
        refused(&gateway, &request).problem(status);
    }
    assert_eq!(refused(&gateway, &post("/api/known", "")).head.header("www-authenticate"), "Bearer");
    // One waits, which is the address' half of the queue.
    let mut waiting = streamed(&gateway, "/api/work");
    eventually("it waits", || gateway.count(|stats| &stats.calls_waiting) == 1);
    let full = ask(gateway.port(), &post("/api/work", ""));
    assert_eq!(full.head.header("retry-after"), "5");
    full.problem(503);
    // The statement was made for an older catalog: the answer to that is an ordinary one, too.
    let call = support::calls::take(&gateway);
    answer(&gateway, call.id, outdated(call.id));
    assert_eq!(waiting.head().status, 409);
    gateway.gateway.set_calls(CallAvailability::Unavailable);
    refused(&gateway, &post("/api/work", "")).problem(503);
}

// Its worker has it, and finds out that it cannot run: the role may not be used, an argument is no number,
// the routine may not be executed; or dies before the statement begins.
#[test]
fn what_the_worker_refuses_before_the_statement_begins_is_an_ordinary_answer() {
    let gateway = gateway();
    for (status, sqlstate, result) in [
        (503, "", (|_| CallResult::NotRun) as fn(u64) -> CallResult),
        (502, "", |_| CallResult::Lost),
        (400, "22P02", |id| failed(id, b"22P02", "x", false)),
        (403, "42501", |id| failed(id, b"42501", "x", false)),
        (504, "57014", |id| failed(id, b"57014", "x", false)),
        (409, "40001", outdated),
    ] {
        let mut peer = streamed(&gateway, "/api/work");
        let call = support::calls::take(&gateway);
        answer(&gateway, call.id, result(call.id));
        if matches!(status, 502) {
            // Nobody knows what its worker has sent before it died.
            has_told_end(&gateway);
        }
        let answer = peer.answer(true);
        assert_eq!(answer.head.header("content-type"), "application/problem+json", "{status}");
        let problem = answer.problem(status);
        assert!(sqlstate.is_empty() || answer.text().contains(sqlstate), "{problem}");
    }
    assert_eq!(gateway.subscribers(), 0);
    eventually("no place is kept", || gateway.count(|stats| &stats.subscribers) == 0);
}

#[test]
fn a_call_that_waits_for_too_long_is_an_ordinary_503() {
    let gateway = with(Settings { call_timeout: Duration::from_millis(100), ..settings() });
    ask(gateway.port(), &post("/api/work", "")).problem(503);
    assert!(gateway.desk().take().is_none());
}

#[test]
fn too_many_streams_are_an_ordinary_503_and_429() {
    let gateway = with(Settings { max_connections: 1, max_connections_per_address: 0, ..settings() });
    let _one = Stream::ready(gateway.port());
    refused(&gateway, &post("/api/work", "")).problem(503);
    let gateway = with(Settings { max_connections_per_address: 1, ..settings() });
    let _one = Stream::ready(gateway.port());
    refused(&gateway, &post("/api/work", "")).problem(429);
}

// An EventSource comes back by itself when its stream ends: the call must not run again and again.
#[test]
fn who_comes_back_gets_204_and_nothing_is_run() {
    let gateway = gateway();
    for headers in ["Last-Event-ID: e-1\r\n", "Last-Event-ID: \r\nLast-Event-ID: x\r\n"] {
        let request = request("GET", "/api/look", &format!("{ACCEPT}{headers}"), "");
        assert_eq!(refused(&gateway, &request).head.status, 204, "{headers}");
        assert_eq!(refused(&gateway, &post("/api/work", headers)).head.status, 204, "{headers}");
    }
    for query in
        ["last_event_id=1", "n=1&lastEventId=1", "lastEventID=%20", "Last-Event-ID=x", "last%5Fevent_id=1"]
    {
        let request = request("GET", &format!("/api/look?{query}"), ACCEPT, "");
        assert_eq!(refused(&gateway, &request).head.status, 204, "{query}");
        assert_eq!(refused(&gateway, &post(&format!("/api/work?{query}"), "")).head.status, 204, "{query}");
    }
    // An empty one is none, and a request that does not ask for a stream is a call like any other.
    for request in [
        request("GET", "/api/look?last_event_id=&n=1", &format!("{ACCEPT}Last-Event-ID: \r\n"), ""),
        request("GET", "/api/look?n=1", "Last-Event-ID: e-1\r\n", ""),
    ] {
        let mut peer = Peer::ask(gateway.port(), &request);
        assert_eq!(serve(&gateway, "x").parameters, [Some("1".to_owned())]);
        assert_eq!(peer.head().status, 200, "{request}");
    }
}

#[test]
fn a_head_has_the_headers_of_the_stream_and_runs_nothing() {
    let gateway = gateway();
    let answer = refused(&gateway, &request("HEAD", "/api/look", ACCEPT, ""));
    assert_eq!((answer.head.status, answer.head.header("content-type")), (200, "text/event-stream"));
    assert_eq!(answer.head.header("x-accel-buffering"), "no");
}
