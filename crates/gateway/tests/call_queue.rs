//! Calls that wait, that are given up, that nobody answers (C7.4), and the end of the gateway in the middle
//! of them.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use sse_gateway::{Settings, TrustedProxies};
use sse_proto::call::Shape;
use support::calls::{JSON, callable, calling, done, request, serve, shape, take};
use support::peer::{End, Peer, Stream};
use support::{TestGateway, eventually, settings};

fn gateway(settings: Settings) -> TestGateway {
    let callables = [
        callable("f", "HTTP GET", &[], shape(Shape::Scalar)),
        callable("g", "HTTP POST", &["a?"], shape(Shape::Scalar)),
        callable("events", "@sse", &[], shape(Shape::Scalar)),
    ];
    calling(settings, &callables)
}

fn get() -> String {
    request("GET", "/api/f", "", "")
}

fn waiting(gateway: &TestGateway) -> u64 {
    gateway.count(|stats| &stats.calls_waiting)
}

fn waits(gateway: &TestGateway, n: u64) {
    eventually("calls wait", || waiting(gateway) == n);
}

#[test]
fn calls_are_taken_in_the_order_they_came_and_answered_in_any() {
    let gateway = gateway(settings());
    let mut peers = Vec::new();
    for n in 0..4 {
        peers.push(Peer::ask(gateway.port(), &get()));
        waits(&gateway, n + 1);
    }
    let calls: Vec<_> = (0..4).map(|_| take(&gateway)).collect();
    assert!(calls.is_sorted_by_key(|call| call.id));
    for (call, peer) in calls.iter().zip(&mut peers).rev() {
        gateway.desk().answer(call.id, done(call.id, &call.id.to_string()));
        assert_eq!(peer.answer(true).text(), call.id.to_string());
    }
}

#[test]
fn a_connection_serves_one_call_after_the_other() {
    let gateway = gateway(settings());
    let mut peer = Peer::connect(gateway.port());
    for n in 0..20 {
        let body = format!("{{\"a\": \"{n}\"}}");
        peer.send(request("POST", "/api/g", JSON, &body).as_bytes());
        assert_eq!(serve(&gateway, "x").parameters, [Some(n.to_string())]);
        let answer = peer.answer(true);
        assert_eq!((answer.head.status, answer.head.header("connection")), (200, ""));
    }
    // A mistake with a body that is there already does not cost the connection.
    peer.send(request("POST", "/api/g", "Content-Type: text/plain\r\n", "{\"a\": \"1\"}").as_bytes());
    assert_eq!(peer.answer(true).head.status, 415);
    peer.send(get().as_bytes());
    serve(&gateway, "x");
    assert_eq!(peer.answer(true).head.status, 200);
}

#[test]
fn pipelined_calls_are_run_one_after_the_other_and_answered_in_order() {
    let gateway = gateway(settings());
    let first = request("POST", "/api/g", JSON, "{\"a\":\"1\"}");
    let mut peer = Peer::ask(gateway.port(), &format!("{first}{}{first}", get()));
    let call = take(&gateway);
    // The second would be in the queue before the call of somebody who comes only now.
    let mut other = Peer::ask(gateway.port(), &request("POST", "/api/g", JSON, "{\"a\":\"other\"}"));
    assert_eq!(serve(&gateway, "other").parameters, [Some("other".to_owned())]);
    assert_eq!((other.answer(true).text(), waiting(&gateway)), ("other", 0));
    gateway.desk().answer(call.id, done(call.id, "first"));
    assert_eq!(peer.answer(true).text(), "first");
    assert_eq!(serve(&gateway, "second").label, "public.f");
    assert_eq!(peer.answer(true).text(), "second");
    serve(&gateway, "third");
    assert_eq!(peer.answer(true).text(), "third");
}

#[test]
fn a_peer_that_goes_takes_its_waiting_call_along() {
    let gateway = gateway(settings());
    for reset in [false, true] {
        let peer = Peer::ask(gateway.port(), &get());
        waits(&gateway, 1);
        if reset {
            socket2::SockRef::from(peer.socket()).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(peer);
        waits(&gateway, 0);
        assert!(gateway.desk().take().is_none());
        assert_eq!(gateway.gateway.poll_cancelled(), None);
    }
}

#[test]
fn a_peer_that_goes_cancels_its_running_call_and_no_other() {
    let gateway = gateway(settings());
    let mut stays = Peer::ask(gateway.port(), &get());
    let stays_call = take(&gateway);
    let goes = Peer::ask(gateway.port(), &request("POST", "/api/g", JSON, "{}"));
    let call = take(&gateway);
    assert_eq!(gateway.gateway.poll_cancelled(), None);
    drop(goes);
    let mut cancelled = None;
    eventually("cancelled", || {
        cancelled = cancelled.or_else(|| gateway.gateway.poll_cancelled());
        cancelled.is_some()
    });
    assert_eq!(cancelled, Some(call.id));
    // The worker's answer comes all the same, and is for nobody.
    gateway.desk().answer(call.id, done(call.id, "late"));
    gateway.desk().answer(stays_call.id, done(stays_call.id, "x"));
    assert_eq!(stays.answer(true).text(), "x");
    assert_eq!(gateway.gateway.poll_cancelled(), None);
    assert_eq!(gateway.count(|stats| &stats.calls_cancelled_total), 1);
}

// Attack: what was sent after the request is not read meanwhile, and who looks at the unread bytes alone does
// not see that nobody is there any more. HTTP/1.0 has no interim answers that would find out.
#[test]
fn a_peer_that_resets_cancels_its_call_although_bytes_of_it_are_unread() {
    let gateway = gateway(settings());
    for version in ["1.0", "1.1"] {
        let mut peer =
            Peer::ask(gateway.port(), &format!("GET /api/f HTTP/{version}\r\nHost: localhost\r\n\r\n"));
        let call = take(&gateway);
        peer.send(get().as_bytes());
        socket2::SockRef::from(peer.socket()).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        let mut cancelled = None;
        eventually("cancelled", || {
            cancelled = cancelled.or_else(|| gateway.gateway.poll_cancelled());
            cancelled.is_some()
        });
        assert_eq!(cancelled, Some(call.id), "{version}");
        gateway.desk().answer(call.id, done(call.id, "late"));
    }
}

#[test]
fn a_full_queue_is_503_and_a_place_that_becomes_free_is_taken() {
    let trusted_proxies = TrustedProxies::parse("127.0.0.1").unwrap();
    let gateway = gateway(Settings { call_queue_size: 4, trusted_proxies, ..settings() });
    let of = |address: &str| request("GET", "/api/f", &format!("X-Forwarded-For: {address}\r\n"), "");
    let mut peers = Vec::new();
    // One address has half of it.
    for n in 0..2 {
        peers.push(Peer::ask(gateway.port(), &of("203.0.113.1")));
        waits(&gateway, n + 1);
    }
    let refuse = |address: &str| {
        let mut peer = Peer::ask(gateway.port(), &of(address));
        let answer = peer.answer(true);
        assert_eq!(answer.problem(503), "Too many calls are waiting.");
        assert_eq!(answer.head.header("retry-after"), "5");
    };
    refuse("203.0.113.1");
    for n in 2..4 {
        peers.push(Peer::ask(gateway.port(), &of("203.0.113.2")));
        waits(&gateway, n + 1);
    }
    refuse("203.0.113.3");
    assert_eq!(gateway.count(|stats| &stats.calls_refused_total), 2);
    // Those that run are not in the queue.
    let call = take(&gateway);
    peers.push(Peer::ask(gateway.port(), &of("203.0.113.3")));
    waits(&gateway, 4);
    gateway.desk().answer(call.id, done(call.id, "x"));
    (0..4).for_each(|_| drop(serve(&gateway, "x")));
    for peer in &mut peers {
        assert_eq!(peer.answer(true).text(), "x");
    }
    // One line for each reason, whoever meets it.
    for reason in
        ["an address has half of sse.call_queue_size = 4", "sse.call_queue_size = 4 calls are waiting"]
    {
        eventually(reason, || gateway.log().iter().filter(|line| line.starts_with(reason)).count() == 1);
    }
    assert_eq!(gateway.log().len(), 2, "{:?}", gateway.log());
}

// A call whose arguments never come keeps no place.
#[test]
fn a_body_that_is_being_received_is_not_in_the_queue() {
    let gateway = gateway(Settings { call_queue_size: 1, ..settings() });
    let head = format!("POST /api/g HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 2\r\n\r\n{{");
    let mut slow: Vec<_> = (0..3).map(|_| Peer::ask(gateway.port(), &head)).collect();
    let mut quick = Peer::ask(gateway.port(), &get());
    serve(&gateway, "x");
    assert_eq!(quick.answer(true).text(), "x");
    slow[0].send(b"}");
    serve(&gateway, "y");
    assert_eq!(slow[0].answer(true).text(), "y");
}

#[test]
fn a_call_that_nobody_takes_in_time_is_503_and_was_not_run() {
    let gateway = gateway(Settings { call_timeout: Duration::from_millis(150), ..settings() });
    let mut peer = Peer::ask(gateway.port(), &get());
    waits(&gateway, 1);
    peer.answer(true).problem(503);
    assert_eq!(waiting(&gateway), 0);
    assert!(gateway.desk().take().is_none());
    assert_eq!(gateway.gateway.poll_cancelled(), None);
    assert_eq!(gateway.count(|stats| &stats.calls_failed_total), 1);
    // With one that was taken in time its worker's time begins.
    let mut peer = Peer::ask(gateway.port(), &get());
    let call = take(&gateway);
    assert_eq!(call.timeout_ms, 150);
    let until = Instant::now() + Duration::from_millis(300);
    eventually("waited", || Instant::now() > until);
    gateway.desk().answer(call.id, done(call.id, "late"));
    assert_eq!(peer.answer(true).text(), "late");
}

#[test]
fn without_a_call_timeout_a_call_waits_for_a_worker_and_for_its_answer() {
    let gateway = gateway(Settings { call_timeout: Duration::ZERO, ..settings() });
    let mut peer = Peer::ask(gateway.port(), &get());
    waits(&gateway, 1);
    let call = take(&gateway);
    assert_eq!(call.timeout_ms, 0, "nor does the worker limit it");
    assert!(call.deadline > Instant::now() + Duration::from_secs(24 * 3600));
    let until = Instant::now() + Duration::from_millis(300);
    eventually("waited", || Instant::now() > until);
    assert_eq!(gateway.gateway.poll_cancelled(), None);
    gateway.desk().answer(call.id, done(call.id, "late"));
    assert_eq!(peer.answer(true).text(), "late");
}

#[test]
fn a_worker_that_does_not_let_go_is_not_waited_for() {
    let gateway = gateway(Settings { call_timeout: Duration::from_millis(100), ..settings() });
    let mut peer = Peer::ask(gateway.port(), &get());
    let call = take(&gateway);
    peer.answer(true).problem(504);
    assert_eq!(gateway.gateway.poll_cancelled(), Some(call.id));
}

#[test]
fn a_stop_answers_the_calls_that_wait_and_run_before_it_goes() {
    let gateway = gateway(settings());
    let mut waits_on = Vec::new();
    let mut running = Peer::ask(gateway.port(), &get());
    take(&gateway);
    for n in 0..3 {
        waits_on.push(Peer::ask(gateway.port(), &request("POST", "/api/g", JSON, "{}")));
        waits(&gateway, n + 1);
    }
    let stream = Stream::ready(gateway.port());
    let took = gateway.stop(Duration::from_secs(5));
    assert!(took < Duration::from_secs(3), "{took:?}");
    for peer in waits_on.iter_mut().chain([&mut running]) {
        let answer = peer.answer(true);
        answer.problem(503);
        assert_eq!(answer.head.header("connection"), "close");
    }
    assert_eq!(stream.end().0, End::Clean);
}
