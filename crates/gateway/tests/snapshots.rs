//! Snapshots between streams and workers (C7.6): how many run at a time, who shares one, who is left alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use sse_gateway::{CallAvailability, CallResult, Settings};
use sse_proto::call::{CallAnswer, Cut, EventsEnd, Outcome, Shape};
use support::calls::{Callable, JSON, callable, calling, request, routes, shape, take};
use support::peer::{End, Peer, Stream};
use support::{TestGateway, eventually, settings};

fn gateway(settings: Settings) -> TestGateway {
    calling(settings, &callables(&[], &["_user_id", "_ip_address"]))
}

/// With these parameters of the functions of the two streams.
fn callables(state: &'static [&'static str], mine: &'static [&'static str]) -> [Callable; 5] {
    let text = || shape(Shape::Scalar);
    [
        callable("state", "", state, text()),
        callable("mine", "", mine, text()),
        callable("all", "@sse\n@sse_snapshot state", &[], text()),
        callable("own", "@sse\n@sse_snapshot mine as own", &[], text()),
        callable("send", "HTTP POST", &[], text()),
    ]
}

fn open(gateway: &TestGateway, target: &str) -> Stream {
    Stream::get(gateway.port(), target, "")
}

/// Read up to where it waits for its snapshot.
fn waits(stream: &mut Stream) -> bool {
    stream.take(1) == ["{}"]
}

/// A run that has seen all of the first `xmax` transactions.
fn state(id: u64, body: &str) -> CallResult {
    let outcome = Outcome::Done { rows: 1, body: body.as_bytes().to_vec(), is_null: false };
    CallResult::Answer(
        CallAnswer { id, end: EventsEnd::NoEvents, cut: Some(Cut::new(10, 10, Vec::new())), outcome }.into(),
    )
}

// Attack: thousands come back at once, and calls of others wait behind their snapshots.
#[test]
fn snapshots_take_half_of_the_workers_and_leave_the_queue_to_calls() {
    let gateway = gateway(Settings { call_workers: 4, call_queue_size: 4, ..settings() });
    let mut streams: Vec<Stream> = (0..8).map(|_| open(&gateway, "/api/own/info")).collect();
    let mut first = take(&gateway);
    let second = take(&gateway);
    assert!(streams.iter_mut().all(waits));
    let mut peer = Peer::ask(gateway.port(), &request("POST", "/api/send", JSON, "{}"));
    // The third that runs.
    assert_eq!(take(&gateway).label, "public.send");
    for _ in 0..6 {
        gateway.desk().answer(first.id, state(first.id, "x"));
        first = take(&gateway);
        assert_eq!((first.label.as_str(), first.read_only), ("public.mine", true));
    }
    assert_ne!(first.id, second.id);
    assert!(!peer.has_answer());
    drop(streams);
}

#[test]
fn all_who_wait_for_the_same_share_a_run_that_is_nobodys() {
    let gateway = gateway(settings());
    let mut first = open(&gateway, "/api/all/info");
    let run = take(&gateway);
    assert!(run.settings.values().all(String::is_empty), "{run:?}");
    // These come while it runs: nothing was published since it began, so it is theirs, too.
    let mut streams: Vec<Stream> = (0..20).map(|_| open(&gateway, "/api/all/info")).collect();
    assert!(streams.iter_mut().chain([&mut first]).all(waits));
    gateway.desk().answer(run.id, state(run.id, "the state"));
    for stream in streams.iter_mut().chain([&mut first]) {
        assert_eq!(stream.take(1), ["the state"]);
    }
    // This one has to be told what came after the run had begun.
    let mut next = open(&gateway, "/api/all/info");
    let run = take(&gateway);
    gateway.say("in between");
    let mut later = open(&gateway, "/api/all/info");
    assert!(waits(&mut later));
    gateway.desk().answer(run.id, state(run.id, "older"));
    assert_eq!(next.take(3), ["{}", "older", "in between"]);
    let run = take(&gateway);
    gateway.desk().answer(run.id, state(run.id, "newer"));
    assert_eq!(later.take(1), ["newer"]);
    assert_eq!(gateway.count(|stats| &stats.snapshots_total), 3);
}

#[test]
fn a_run_for_which_nobody_waits_any_more_is_cancelled() {
    // With two workers one snapshot runs at a time.
    let gateway = gateway(Settings { call_workers: 2, ..settings() });
    let stream = open(&gateway, "/api/own/info");
    let run = take(&gateway);
    assert_eq!(run.setting("request.path"), "/api/own/info");
    assert_eq!(run.parameters, [None, Some("127.0.0.1".to_owned())]);
    drop(stream);
    eventually("it is cancelled", || gateway.gateway.poll_cancelled() == Some(run.id));
    // And one that has not begun does not begin.
    gateway.gateway.set_calls(CallAvailability::Unavailable);
    let mut stream = open(&gateway, "/api/own/info");
    assert!(waits(&mut stream));
    drop(stream);
    eventually("it has gone", || gateway.subscribers() == 0);
    gateway.gateway.set_calls(CallAvailability::Ready);
    let _stream = open(&gateway, "/api/all/info");
    assert_eq!(take(&gateway).label, "public.state");
}

// Attack: one address opens a thousand streams with snapshots of their own.
#[test]
fn the_snapshots_of_one_address_keep_others_waiting_for_one_of_them_at_most() {
    let gateway = gateway(Settings { call_workers: 2, ..settings() });
    let from = |address: [u8; 4], target: &str| {
        let mut peer = Peer::connect_from(address, gateway.port());
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        peer.into_stream()
    };
    let many: Vec<Stream> = (0..300).map(|_| from([127, 0, 0, 2], "/api/own/info")).collect();
    let first = take(&gateway);
    eventually("all are there", || gateway.subscribers() == 300);
    let mut other = from([127, 0, 0, 3], "/api/own/info");
    let mut of_all = from([127, 0, 0, 2], "/api/all/info");
    assert!(waits(&mut other) && waits(&mut of_all));
    gateway.desk().answer(first.id, state(first.id, "many"));
    for _ in 0..3 {
        let run = take(&gateway);
        let who = format!("{} {:?}", run.label, run.parameters.get(1));
        gateway.desk().answer(run.id, state(run.id, &who));
    }
    assert_eq!(other.take(1), ["public.mine Some(Some(\"127.0.0.3\"))"]);
    assert_eq!(of_all.take(1), ["public.state None"]);
    drop(many);
}

// What was run for nobody is not given to somebody who is to have a state of his own.
#[test]
fn a_function_that_becomes_personal_while_it_runs_or_the_reverse_is_run_again() {
    let gateway = gateway(settings());
    let (mut all, mut own) = (open(&gateway, "/api/all/info"), open(&gateway, "/api/own/info"));
    assert!(waits(&mut all) && waits(&mut own));
    let of_all = take(&gateway);
    gateway.gateway.set_routes(routes(&callables(&["_user_id"], &[])), 3);
    gateway.desk().answer(of_all.id, state(of_all.id, "of nobody"));
    // Both begin anew.
    let (all, own) = (all.end(), own.end());
    for ((end, rest), target, function, body) in [
        (all, "/api/all/info", ("public.state", 1), "of one"),
        (own, "/api/own/info", ("public.mine", 0), "of all"),
    ] {
        assert_eq!((end, rest.len(), rest[0].name.as_str()), (End::Clean, 1, "sse.ready"));
        let mut stream = Stream::get(gateway.port(), target, &format!("Last-Event-ID: {}\r\n", rest[0].id));
        assert!(waits(&mut stream));
        let run = take(&gateway);
        assert_eq!((run.label.as_str(), run.parameters.len()), function);
        gateway.desk().answer(run.id, state(run.id, body));
        assert_eq!(stream.take(1), [body]);
    }
}

// Attack: an address whose calls fill its half of the queue opens a stream with a snapshot, which takes the
// place of everybody's snapshots until it has had its turn after all of these calls.
#[test]
fn a_snapshot_does_not_wait_behind_the_calls_of_its_address() {
    let gateway = gateway(Settings { call_workers: 2, call_queue_size: 20, ..settings() });
    let mut calls = Vec::new();
    let mut call = || {
        let mut peer = Peer::connect_from([127, 0, 0, 2], gateway.port());
        peer.send(request("POST", "/api/send", JSON, "{}").as_bytes());
        calls.push(peer);
    };
    call();
    take(&gateway);
    (0..10).for_each(|_| call());
    eventually("its half is full", || gateway.count(|stats| &stats.calls_waiting) == 10);
    for address in [[127, 0, 0, 2], [127, 0, 0, 3]] {
        let mut peer = Peer::connect_from(address, gateway.port());
        peer.send(b"GET /api/own/info HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut stream = peer.into_stream();
        assert!(waits(&mut stream));
        eventually("its run is queued", || gateway.count(|stats| &stats.calls_waiting) == 11);
        let run = take(&gateway);
        assert_eq!(run.label, "public.mine");
        gateway.desk().answer(run.id, state(run.id, "its own"));
        assert_eq!(stream.take(1), ["its own"]);
    }
}

#[test]
fn whatever_goes_wrong_is_a_gap_and_the_stream_goes_on() {
    let gateway =
        gateway(Settings { call_timeout: Duration::from_millis(300), max_event_size: 10, ..settings() });
    let stats = |gateway: &TestGateway| gateway.count(|stats| &stats.snapshots_failed_total);
    type Fault = (&'static str, fn(u64) -> Option<CallResult>);
    let faults: [Fault; 5] = [
        ("it is lost", |_| Some(CallResult::Lost)),
        ("there is no room", |_| Some(CallResult::NoRoom)),
        ("it is too large", |id| Some(state(id, "12345678901"))),
        ("it does not say what it saw", |id| Some(support::calls::done(id, "x"))),
        ("nobody begins with it", |_| None),
    ];
    for (number, (what, answer)) in faults.into_iter().enumerate() {
        let mut stream = open(&gateway, "/api/all/info");
        if what != "nobody begins with it" {
            let run = take(&gateway);
            gateway.desk().answer(run.id, answer(run.id).unwrap());
        }
        assert_eq!(stream.take(2), ["{}", "{\"reason\": \"snapshot\", \"missed\": null}"], "{what}");
        gateway.say("live");
        assert_eq!(stream.take(1), ["live"], "{what}");
        assert_eq!(stats(&gateway), number as u64 + 1, "{what}");
    }
    let mut stream = open(&gateway, "/api/all/info");
    let run = take(&gateway);
    gateway.desk().answer(run.id, state(run.id, "1234567890"));
    assert_eq!(stream.take(2), ["{}", "1234567890"]);
    gateway.gateway.set_calls(CallAvailability::Off);
    let mut stream = open(&gateway, "/api/all/info");
    assert_eq!(stream.take(2)[1], "{\"reason\": \"snapshot\", \"missed\": null}");
    assert_eq!(gateway.stats().gaps_total.load(Ordering::Relaxed), 6);
}
