//! Calls that go on without their callers (C7.9), against a stand-in for the workers.
//!
//! Not for what a routine raises: `pg_test/tests/call_async.rs`.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::Value;
use sse_gateway::{AuthSettings, CallResult, Pushed, Secret, Settings};
use sse_proto::call::{CallRequest, Shape};
use support::calls::{
    JSON, callable, calling, done, failed, hand_over, has_told_end, no_row, outdated, refused, request, row,
    serve, shape, take,
};
use support::peer::{Answer, Event, Peer, Stream, ask};
use support::tokens::{SECRET, token_of};
use support::{TestGateway, eventually, settings};

const PREFER: &str = "Prefer: respond-async\r\n";

fn with(settings: Settings) -> TestGateway {
    let auth = AuthSettings { jwt_secret: Some(Secret::try_new(SECRET).unwrap()), ..settings.auth };
    calling(
        // Calls that go on leave one worker free: enough that none of these tests meets that.
        Settings { auth, call_workers: 64, ..settings },
        &[
            callable("report", "HTTP POST\n@sse_subscribe", &["n?"], shape(Shape::Scalar)),
            callable("look", "HTTP GET\n@sse /progress/of-look", &[], shape(Shape::Scalar)),
            callable("quiet", "HTTP POST", &[], shape(Shape::Scalar)),
            callable("enter", "HTTP POST\n@login\n@sse", &[], row(&["user_id"])),
            callable("leave", "HTTP POST\n@logout\n@sse", &[], shape(Shape::Void)),
        ],
    )
}

fn gateway() -> TestGateway {
    with(settings())
}

fn post(target: &str, headers: &str) -> String {
    request("POST", target, &format!("{JSON}{headers}"), "")
}

/// Sends a call that goes on, and returns where it can be followed.
fn begin(gateway: &TestGateway, request: &str) -> String {
    let answer = ask(gateway.port(), request);
    accepted(&answer)
}

fn accepted(answer: &Answer) -> String {
    assert_eq!((answer.head.status, answer.body.len()), (202, 0), "{answer:?}");
    assert_eq!(answer.head.header("preference-applied"), "respond-async");
    assert_eq!(answer.head.header("cache-control"), "no-store");
    answer.head.header("location").to_owned()
}

fn has_ended(gateway: &TestGateway) {
    eventually("how a call ended is told", || hand_over(gateway).1 == 1);
}

fn follow(gateway: &TestGateway, location: &str, headers: &str) -> Stream {
    Stream::ready_at(gateway.port(), location, headers)
}

fn problem(event: &Event) -> Value {
    assert_eq!(event.name, "sse.error");
    serde_json::from_str(&event.data).unwrap()
}

#[test]
fn the_answer_says_where_the_call_can_be_followed() {
    let gateway = gateway();
    gateway.say("before");
    gateway.say("before");
    eventually("published", || {
        ask(gateway.port(), &request("HEAD", "/api/quiet", "", "")).head.status == 405
    });
    let location = begin(&gateway, &post("/api/report", PREFER));
    let (id, position) = location.strip_prefix("/api/report/info?id=").unwrap().split_once('&').unwrap();
    assert_eq!(position, "last_event_id=e-2");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let call = take(&gateway);
    assert_eq!(call.setting("sse.execution_id"), id);
    // Each call has another one.
    let again = begin(&gateway, &request("GET", "/api/look", PREFER, ""));
    assert!(again.starts_with("/api/look/progress/of-look?id=") && !again.contains(id), "{again}");
    take(&gateway);
}

// Attack: an anonymous caller chooses the id of somebody else's call, or one that others will choose.
#[test]
fn only_an_authenticated_callers_own_id_is_kept() {
    let gateway = gateway();
    let own = format!("{PREFER}X-Execution-Id: my job/1\u{e4}\r\n");
    let location = begin(&gateway, &post("/api/report", &own));
    assert!(!location.contains("job"), "{location}");
    let call = gateway.desk().take().unwrap();
    let caller = CallRequest::decode(&call.frame).unwrap().caller.unwrap();
    assert!(caller.has_made_id && !caller.is_authenticated);
    let token = format!("Authorization: Bearer {}\r\n", token_of("alice", &[]));
    let location = begin(&gateway, &post("/api/report", &format!("{own}{token}")));
    assert!(location.starts_with("/api/report/info?id=my%20job%2F1%C3%A4&last_event_id=e-"), "{location}");
    let call = gateway.desk().take().unwrap();
    let caller = CallRequest::decode(&call.frame).unwrap().caller.unwrap();
    assert_eq!((caller.has_made_id, caller.user_id), (false, Some("alice")));
    assert_eq!(caller.execution_id, Some("my job/1\u{e4}"));
    // Without one it gets one, too.
    begin(&gateway, &post("/api/report", &format!("{PREFER}{token}")));
    let call = gateway.desk().take().unwrap();
    assert!(CallRequest::decode(&call.frame).unwrap().caller.unwrap().has_made_id);
}

#[test]
fn the_end_is_an_event_for_those_who_present_the_id() {
    let gateway = gateway();
    let location = begin(&gateway, &post("/api/report", PREFER));
    let call = take(&gateway);
    let mut first = follow(&gateway, &location, "");
    let guess = location.replace("?id=", "?id=0");
    let mut stranger = follow(&gateway, &guess, "");
    let mut without = follow(&gateway, "/api/report/info", "");
    gateway.desk().answer(call.id, done(call.id, "a\nb"));
    has_ended(&gateway);
    let event = first.next();
    assert_eq!((event.name.as_str(), event.data.as_str()), ("sse.result", "a\nb"));
    // A second tab, or a reload, gets it too; also one with topics.
    assert_eq!(follow(&gateway, &location, "").next(), event);
    assert_eq!(follow(&gateway, &format!("{location}&topic=t"), "").next(), event);
    gateway.say("for all");
    assert_eq!(stranger.next().data, "for all");
    assert_eq!(without.next().data, "for all");
}

// Where a call begins is not known when it is queued. So the place before it may have left the window when it
// does, although all that it has raised is there.
#[test]
fn a_location_reaches_back_to_the_moment_of_queueing_and_a_stream_that_is_open_by_then_misses_nothing() {
    const WINDOW: usize = 4000;
    let gateway = with(Settings { window_size: WINDOW, ..settings() });
    let location = begin(&gateway, &post("/api/report", PREFER));
    let mut open = follow(&gateway, &location, "");
    for n in 0..100 {
        gateway.say(&format!("{n:0>200}"));
        open.next();
    }
    eventually("the window has turned", || gateway.count(|stats| &stats.window_bytes) <= WINDOW as u64);
    let call = take(&gateway);
    gateway.desk().answer(call.id, done(call.id, "made"));
    has_ended(&gateway);
    let result = open.next();
    assert_eq!((result.name.as_str(), result.data.as_str()), ("sse.result", "made"));
    let mut late = follow(&gateway, &location, "");
    let gap = late.next();
    assert_eq!(gap.name, "sse.gap");
    assert!(gap.data.contains("\"expired\""), "{}", gap.data);
    gateway.say("live");
    assert_eq!(late.next().data, "live");
}

// Attack: another user presents the id of somebody's call.
#[test]
fn the_end_of_an_authenticated_call_is_for_its_user_alone() {
    let gateway = gateway();
    let token = |user: &str| format!("Authorization: Bearer {}\r\n", token_of(user, &["admin"]));
    let location = begin(&gateway, &post("/api/report", &format!("{PREFER}{}", token("alice"))));
    let call = take(&gateway);
    gateway.desk().answer(call.id, done(call.id, "for alice"));
    has_ended(&gateway);
    gateway.say("for all");
    let next = |headers: &str| follow(&gateway, &location, headers).next().data;
    assert_eq!(next(&token("alice")), "for alice");
    assert_eq!(next(&token("bob")), "for all");
    assert_eq!(next(""), "for all");
}

#[test]
fn every_end_is_told() {
    let gateway = with(Settings { max_event_size: 10, ..settings() });
    let end = |result: fn(u64) -> CallResult| {
        let location = begin(&gateway, &post("/api/report", PREFER));
        let call = take(&gateway);
        gateway.desk().answer(call.id, result(call.id));
        has_ended(&gateway);
        follow(&gateway, &location, "").next()
    };
    for (result, expected) in [
        ((|id| done(id, "")) as fn(u64) -> CallResult, ""),
        (no_row, "null"),
        (|id| done(id, "0123456789"), "0123456789"),
    ] {
        let event = end(result);
        assert_eq!((event.name.as_str(), event.data.as_str()), ("sse.result", expected));
    }
    for (result, status) in [
        ((|id| done(id, "01234567890")) as fn(u64) -> CallResult, 500),
        // Errors are small, and told whatever the limit.
        (|id| failed(id, b"P0001", "my own", true), 400),
        (|_| CallResult::Lost, 502),
    ] {
        assert_eq!(problem(&end(result))["status"], status);
    }
}

#[test]
fn errors_are_told_with_their_problem() {
    let gateway = gateway();
    let end = |result: fn(u64) -> CallResult| {
        let location = begin(&gateway, &post("/api/report", PREFER));
        let call = take(&gateway);
        gateway.desk().answer(call.id, result(call.id));
        has_ended(&gateway);
        problem(&follow(&gateway, &location, "").next())
    };
    let raised = end(|id| failed(id, b"P0001", "my own words", true));
    assert_eq!((&raised["status"], &raised["detail"]), (&400.into(), &"my own words".into()));
    assert_eq!(end(|_| CallResult::Lost)["status"], 502);
    assert_eq!(end(|_| CallResult::NotRun)["status"], 503);
    assert_eq!(end(|_| CallResult::NoRoom)["status"], 503);
    assert_eq!(end(|id| failed(id, b"57014", "", false))["status"], 504);
    assert_eq!(end(outdated)["status"], 409);
}

#[test]
fn a_call_that_never_begins_is_told_when_its_time_is_over() {
    let gateway = with(Settings { call_timeout: Duration::from_millis(200), ..settings() });
    let location = begin(&gateway, &post("/api/report", PREFER));
    has_ended(&gateway);
    assert_eq!(problem(&follow(&gateway, &location, "").next())["status"], 503);
    assert!(gateway.desk().take().is_none());
}

#[test]
fn the_call_goes_on_when_its_caller_has_gone() {
    let gateway = gateway();
    let peer = Peer::ask(gateway.port(), &post("/api/report", PREFER));
    let call = take(&gateway);
    drop(peer);
    eventually("the connection is closed", || gateway.count(|stats| &stats.connections) == 0);
    assert_eq!(gateway.gateway.poll_cancelled(), None);
    gateway.desk().answer(call.id, done(call.id, "x"));
    has_ended(&gateway);
}

// Its worker dies after it has published: what it has sent comes before the news.
#[test]
fn how_a_call_ended_comes_behind_its_events_whoever_tells_their_end() {
    let gateway = gateway();
    let location = begin(&gateway, &post("/api/report", PREFER));
    let call = take(&gateway);
    gateway.desk().answer(call.id, CallResult::Lost);
    eventually("its end is to be told", || !gateway.gateway.hand_over_endings(|_| Pushed::Full));
    gateway.say("before the end");
    has_told_end(&gateway);
    has_ended(&gateway);
    let mut stream = follow(&gateway, &location, "");
    assert_eq!(stream.next().data, "before the end");
    assert_eq!(problem(&stream.next())["status"], 502);
}

// Attack: a HEAD, which mail scanners and link previews send by themselves, of a link that makes something.
#[test]
fn a_head_says_what_a_get_would_runs_read_only_and_never_goes_on_by_itself() {
    let gateway = gateway();
    // Its comment says GET itself, so a GET may write.
    let mut peer = Peer::ask(gateway.port(), &request("GET", "/api/look", "", ""));
    assert!(!serve(&gateway, "x").read_only);
    let of_get = peer.answer(true).head;
    let mut peer = Peer::ask(gateway.port(), &request("HEAD", "/api/look", PREFER, ""));
    assert!(serve(&gateway, "x").read_only);
    let answer = peer.answer(false);
    assert_eq!(
        (answer.head.status, answer.head.header("content-type")),
        (200, of_get.header("content-type"))
    );
    assert_eq!(answer.head.header("location"), "");
    // A POST has no HEAD, whatever it prefers.
    refused(&gateway, &request("HEAD", "/api/report", PREFER, ""));
}

#[test]
fn the_preference_goes_before_accept_and_is_ignored_where_nobody_could_follow() {
    let gateway = gateway();
    begin(
        &gateway,
        &post("/api/report", &format!("{PREFER}Accept: text/event-stream\r\nLast-Event-ID: 1\r\n")),
    );
    take(&gateway);
    let mut peer = Peer::ask(gateway.port(), &post("/api/quiet", PREFER));
    serve(&gateway, "x");
    let answer = peer.answer(true);
    assert_eq!((answer.head.status, answer.text()), (200, "x"));
    assert_eq!(answer.head.header("preference-applied"), "");
    let mut peer = Peer::ask(gateway.port(), &post("/api/leave", PREFER));
    serve(&gateway, "");
    assert_eq!(peer.answer(true).head.status, 204);
    let mut peer = Peer::ask(gateway.port(), &post("/api/enter", PREFER));
    serve(&gateway, "{\"user_id\": 1}");
    assert_eq!(peer.answer(true).head.status, 200);
    refused(&gateway, &post("/api/enter", &format!("{PREFER}Accept: text/event-stream\r\n"))).problem(406);
}

#[test]
fn what_is_refused_is_refused_at_once() {
    let gateway = with(Settings { call_queue_size: 2, ..settings() });
    refused(&gateway, &request("POST", "/api/report", &format!("{JSON}{PREFER}"), "{\"m\": 1}")).problem(400);
    refused(&gateway, &post("/api/report", &format!("{PREFER}Authorization: Bearer x\r\n"))).problem(401);
    begin(&gateway, &post("/api/report", PREFER));
    // That was the address' half of the queue.
    let answer = ask(gateway.port(), &post("/api/report", PREFER));
    assert_eq!(answer.head.header("retry-after"), "5");
    answer.problem(503);
}

// Two reports, and nobody can log in.
#[test]
fn calls_that_go_on_leave_a_worker_to_calls_that_somebody_waits_for() {
    let gateway = gateway();
    gateway.gateway.apply(std::sync::Arc::new(Settings { call_workers: 2, ..settings() }));
    let first = begin(&gateway, &post("/api/report", PREFER));
    let second = begin(&gateway, &post("/api/report", PREFER));
    assert_ne!(first, second);
    let report = take(&gateway);
    assert!(gateway.desk().take().is_none(), "both workers have one");
    let mut peer = Peer::ask(gateway.port(), &post("/api/quiet", ""));
    let quiet = serve(&gateway, "x");
    assert_eq!((quiet.label.as_str(), peer.answer(true).head.status), ("public.quiet", 200));
    gateway.desk().answer(report.id, done(report.id, "x"));
    assert_eq!(take(&gateway).label, "public.report");
}
