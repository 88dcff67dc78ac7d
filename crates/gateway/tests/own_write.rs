//! `SSE-Position` (C7.9): when the answer of a call says it, and how long it waits for it.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use sse_gateway::CallResult;
use sse_proto::call::{CallAnswer, Outcome};
use sse_proto::caller::Caller;
use sse_proto::record::{Record, encode_into};
use sse_proto::scope::Scope;
use support::calls::{Taken, gateway, get, request, take};
use support::peer::{Answer, Peer};
use support::tokens::token_of;
use support::{EPOCH, Raise, TestGateway, raise};

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
        let caller = Caller {
            call: self.call.id,
            is_authenticated: false,
            user_id: None,
            execution_id: None,
            has_made_id: false,
        };
        Raise { scope: Scope::parse(scope).unwrap(), caller: Some(caller), ..raise("x") }
    }

    fn end(&self, gateway: &TestGateway) {
        let mut record = Vec::new();
        encode_into(&Record::CallEnd { call: self.call.id }, &mut record).unwrap();
        gateway.publish_batch(|batch| batch.push_record(&record));
    }

    fn answer(&self, gateway: &TestGateway, has_end: bool) {
        let outcome = Outcome::Done { rows: 1, body: b"x".to_vec(), is_null: false };
        let answer = CallAnswer { id: self.call.id, has_end, cut: None, outcome };
        gateway.gateway.answer_call(self.call.id, CallResult::Answer(answer.into()));
    }

    fn answered(mut self) -> Answer {
        self.peer.answer(true)
    }
}

fn position(answer: &Answer) -> &str {
    answer.head.header("sse-position")
}

fn id(sequence: u64) -> String {
    format!("{EPOCH:x}-{sequence:x}")
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
            running.answer(&gateway, true);
        } else {
            running.answer(&gateway, true);
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
    running.answer(&gateway, true);
    assert_eq!(position(&running.answered()), id(first));
}

#[test]
fn what_published_nothing_waits_for_nothing() {
    let gateway = gateway();
    let running = Running::begin(&gateway, &get("/api/get-all"));
    running.answer(&gateway, false);
    let began = Instant::now();
    assert_eq!(position(&running.answered()), "");
    assert!(began.elapsed() < Duration::from_millis(900));
    // For others, and nothing for the caller.
    let running = Running::begin(&gateway, &get("/api/get-all"));
    gateway.publish(&[running.event("authorize id:bob"), running.event("caller")]);
    running.end(&gateway);
    running.answer(&gateway, true);
    assert_eq!(position(&running.answered()), "");
}

// The end of a call never comes: its backend's ring was full, or another transaction holds everything up.
#[test]
fn an_answer_waits_a_second_for_the_end_and_then_goes_without_a_position() {
    let gateway = gateway();
    let running = Running::begin(&gateway, &get("/api/get-all"));
    gateway.publish(&[running.event("all")]);
    let began = Instant::now();
    running.answer(&gateway, true);
    let answer = running.answered();
    assert_eq!((answer.head.status, position(&answer)), (200, ""));
    assert!(began.elapsed() >= Duration::from_secs(1));
}

// An end is no item: nobody's ids, gaps or counts change by it.
#[test]
fn the_end_of_a_call_takes_no_place_in_the_stream() {
    let gateway = gateway();
    let before = gateway.say("before");
    let running = Running::begin(&gateway, &get("/api/get-all"));
    running.end(&gateway);
    running.answer(&gateway, false);
    running.answered();
    assert_eq!(gateway.say("after"), before + 1);
    let running = Running::begin(&gateway, &get("/api/get-all"));
    gateway.publish(&[running.event("all")]);
    running.end(&gateway);
    running.answer(&gateway, true);
    assert_eq!(position(&running.answered()), id(before + 2));
}
