//! `SSE-Position` (C7.9): when the answer of a call says it, and how long it waits for it.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use sse_gateway::{CallResult, Pushed};
use sse_proto::call::EventsEnd;
use sse_proto::scope::Scope;
use support::calls::{Taken, done_with, gateway, get, hand_over, has_told_end, publish_end, request, take};
use support::peer::{Answer, Peer};
use support::tokens::token_of;
use support::{Raise, TestGateway, eventually, id, raised};

/// A call that its worker has, and its peer.
struct Running {
    peer: Peer,
    call: Taken,
}

impl Running {
    fn begin(gateway: &TestGateway, request: &str) -> Self {
        let peer = Peer::ask(gateway.port(), request);
        Self { call: take(gateway), peer }
    }

    /// An event that this call raises, by its scope.
    fn event(&self, scope: &str) -> Raise {
        Raise { scope: Scope::parse(scope).unwrap(), ..raised(self.call.id, "x") }
    }

    fn end(&self, gateway: &TestGateway) {
        publish_end(gateway, self.call.id);
    }

    fn answer(&self, gateway: &TestGateway, end: EventsEnd) {
        gateway.desk().answer(self.call.id, done_with(self.call.id, "x", end));
    }

    fn answered(mut self) -> Answer {
        self.peer.answer(true)
    }
}

fn position(answer: &Answer) -> &str {
    answer.head.header("sse-position")
}

#[test]
fn the_position_is_that_of_the_last_event_for_the_caller_whichever_of_answer_and_end_comes_first() {
    let gateway = gateway();
    for end_first in [true, false] {
        let mut running = Running::begin(&gateway, &get("/api/get-all"));
        gateway.say("of somebody else");
        let first =
            gateway.publish(&[running.event("all"), running.event("all"), running.event("authorize")]);
        gateway.say("of somebody else");
        if end_first {
            running.end(&gateway);
            running.answer(&gateway, EventsEnd::Told);
        } else {
            running.answer(&gateway, EventsEnd::Told);
            assert!(!running.peer.has_answer(), "it waits for the end of the call");
            running.end(&gateway);
        }
        let answer = running.answered();
        assert_eq!((answer.head.status, position(&answer)), (200, &*id(first + 1)), "{end_first}");
    }
}

#[test]
fn the_scope_is_compared_with_who_calls() {
    let gateway = gateway();
    let token = format!("Authorization: Bearer {}\r\n", token_of("alice", &[]));
    let running = Running::begin(&gateway, &request("GET", "/api/get-all", &token, ""));
    let first = gateway.publish(&[running.event("authorize id:alice"), running.event("authorize id:bob")]);
    running.end(&gateway);
    running.answer(&gateway, EventsEnd::Told);
    assert_eq!(position(&running.answered()), id(first));
}

#[test]
fn what_published_nothing_waits_for_nothing() {
    let gateway = gateway();
    let running = Running::begin(&gateway, &get("/api/get-all"));
    running.answer(&gateway, EventsEnd::NoEvents);
    let began = Instant::now();
    assert_eq!(position(&running.answered()), "");
    assert!(began.elapsed() < Duration::from_millis(900));
    // For others, and nothing for the caller.
    let running = Running::begin(&gateway, &get("/api/get-all"));
    gateway.publish(&[running.event("authorize id:bob"), running.event("caller")]);
    running.end(&gateway);
    running.answer(&gateway, EventsEnd::Told);
    assert_eq!(position(&running.answered()), "");
}

// The ring was full when the call ended, its worker died after it had published, or its answer did not fit.
#[test]
fn an_end_that_no_worker_has_told_is_told_by_the_gateway_and_the_answer_has_its_position() {
    let gateway = gateway();
    for status in [200, 502, 503] {
        let mut running = Running::begin(&gateway, &get("/api/get-all"));
        match status {
            200 => running.answer(&gateway, EventsEnd::Untold),
            502 => gateway.desk().answer(running.call.id, CallResult::Lost),
            _ => gateway.desk().answer(running.call.id, CallResult::NoRoom),
        }
        // There is no room for the end.
        eventually("it is to be told", || !gateway.gateway.hand_over_endings(|_| Pushed::Full));
        let last = gateway.publish(&[running.event("all")]);
        assert!(!running.peer.has_answer(), "{status}: it waits for the end of the call");
        has_told_end(&gateway);
        let answer = running.answered();
        assert_eq!((answer.head.status, position(&answer)), (status, &*id(last)));
        assert!(hand_over(&gateway) == (0, 0), "{status}: it is told once");
    }
}

// Attack: calls whose ends cannot be told, by peers that go away: what is to be told of them would pile up.
#[test]
fn nothing_is_told_of_a_call_whose_peer_has_gone() {
    let gateway = gateway();
    let all: Vec<Running> = (0..20).map(|_| Running::begin(&gateway, &get("/api/get-all"))).collect();
    all.iter().for_each(|running| running.answer(&gateway, EventsEnd::Untold));
    eventually("they are to be told", || !gateway.gateway.hand_over_endings(|_| Pushed::Full));
    drop(all);
    eventually("they are forgotten", || gateway.gateway.hand_over_endings(|_| Pushed::Full));
}

// The end of a call never comes: a session was stopped in the middle of a record.
#[test]
fn an_answer_waits_ten_seconds_for_the_end_and_then_goes_without_a_position() {
    let gateway = gateway();
    let running = Running::begin(&gateway, &get("/api/get-all"));
    gateway.publish(&[running.event("all")]);
    let began = Instant::now();
    running.answer(&gateway, EventsEnd::Told);
    let answer = running.answered();
    assert_eq!((answer.head.status, position(&answer)), (200, ""));
    assert!(began.elapsed() >= Duration::from_secs(10));
}

// An end is no item: nobody's ids, gaps or counts change by it.
#[test]
fn the_end_of_a_call_takes_no_place_in_the_stream() {
    let gateway = gateway();
    let before = gateway.say("before");
    let running = Running::begin(&gateway, &get("/api/get-all"));
    running.end(&gateway);
    running.answer(&gateway, EventsEnd::NoEvents);
    running.answered();
    assert_eq!(gateway.say("after"), before + 1);
    let running = Running::begin(&gateway, &get("/api/get-all"));
    gateway.publish(&[running.event("all")]);
    running.end(&gateway);
    running.answer(&gateway, EventsEnd::Told);
    assert_eq!(position(&running.answered()), id(before + 2));
}
