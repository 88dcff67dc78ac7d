//! Bounds of requests over HTTP/2 are those of requests over HTTP/1.1, stream by stream: calls, bodies,
//! answers.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use sse_gateway::Settings;
use sse_proto::call::Shape;
use support::calls::{callable, calling, done, shape, take, try_take};
use support::h2::{CANCEL, DATA, END_STREAM, H2Peer, NO_ERROR, RST_STREAM, frame};
use support::streamed::{self, begun_over_http2};
use support::tls::Site;
use support::{DEADLINE, TestGateway, eventually, within};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn gateway(site: &Site, change: impl FnOnce(&mut Settings)) -> TestGateway {
    let mut settings = site.settings();
    change(&mut settings);
    let routines = [
        callable("work", "HTTP POST", &["n?"], shape(Shape::Scalar)),
        callable("look", "HTTP GET", &["n?"], shape(Shape::Scalar)),
        callable("events", "@sse", &[], shape(Shape::Scalar)),
    ];
    calling(settings, &routines)
}

fn post(peer: &mut H2Peer, body: &[u8], flags: u8) -> u32 {
    let id = peer.begin("POST", "/api/work", &JSON, 0);
    peer.body(id, body, flags);
    id
}

#[test]
fn calls_are_answered_in_any_order_and_cancelled_with_their_streams() {
    let site = Site::new();
    let gateway = gateway(&site, |_| {});
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let ids: Vec<u32> =
        (0..3).map(|n| post(&mut peer, format!("{{\"n\":\"{n}\"}}").as_bytes(), END_STREAM)).collect();
    let mut calls: Vec<_> = (0..3).map(|_| take(&gateway)).collect();
    calls.sort_by_key(|call| call.parameters.clone());
    for n in [2, 0] {
        gateway.desk().answer(calls[n].id, done(calls[n].id, &format!("answer {n}")));
        assert_eq!(peer.answer(ids[n]), (200, format!("answer {n}")));
    }
    peer.send(&frame(RST_STREAM, 0, ids[1], &CANCEL.to_be_bytes()));
    eventually("the call is cancelled", || gateway.gateway.poll_cancelled() == Some(calls[1].id));
    // All of a connection that goes.
    for _ in 0..5 {
        peer.get("/api/look");
    }
    let calls: Vec<u64> = (0..5).map(|_| take(&gateway).id).collect();
    drop(peer);
    let mut cancelled = Vec::new();
    eventually("all are cancelled", || {
        cancelled.extend(gateway.gateway.poll_cancelled());
        cancelled.len() == calls.len()
    });
    eventually("all is given back", || gateway.count(|stats| &stats.connections) == 0);
}

#[test]
fn a_body_has_its_limit_to_the_byte() {
    let site = Site::new();
    let gateway = gateway(&site, |settings| settings.max_body_size = 100_000);
    let mut peer = H2Peer::connect(gateway.port(), &site);
    for len in [99_999, 100_000, 100_001] {
        let body = format!("{{\"n\":\"{}\"}}", "x".repeat(len - 8));
        let id = post(&mut peer, body.as_bytes(), END_STREAM);
        if len > 100_000 {
            peer.until("too large", |peer| peer.status(id) == Some(413));
        } else {
            let call = take(&gateway);
            gateway.desk().answer(call.id, done(call.id, "ok"));
            assert_eq!(peer.answer(id).0, 200, "{len}");
        }
    }
    // Refused on its word alone, with what has come of it: a whole answer, and no error after it.
    let id = peer.begin("POST", "/api/work", &[JSON[0], ("content-length", "300000")], 0);
    for _ in 0..4 {
        peer.send(&frame(DATA, 0, id, &[b'x'; 16_000]));
    }
    peer.until("reset", |peer| peer.reset(id).is_some());
    let got = peer.got(id);
    assert!(got.has_ended && got.status == Some(413) && got.reset == Some(NO_ERROR), "{got:?}");
    let id = peer.begin("POST", "/api/work", &[JSON[0], ("content-length", "100001")], 0);
    peer.until("too large", |peer| peer.status(id) == Some(413));
    assert!(try_take(&gateway.gateway).is_none());
}

// Slow bodies: a byte now and then on each of many streams of one connection.
#[test]
fn bodies_that_trickle_have_their_ten_seconds_and_delay_nobody() {
    let site = Site::new();
    let gateway = gateway(&site, |_| {});
    let mut attacker = H2Peer::connect(gateway.port(), &site);
    let mut honest = H2Peer::connect(gateway.port(), &site);
    let stream = honest.open_stream();
    let began = Instant::now();
    let ids: Vec<u32> = (0..100).map(|_| post(&mut attacker, b"{", 0)).collect();
    let mut slowest = Duration::ZERO;
    let mut round = 0;
    within(2 * DEADLINE, "all are given up", || {
        round += 1;
        if round % 7 == 1 && began.elapsed() < Duration::from_secs(9) {
            for id in &ids {
                attacker.try_send(&frame(DATA, 0, *id, b" "));
            }
        }
        let before = Instant::now();
        let text = format!("round {round}.");
        gateway.say(&text);
        honest.until_text(stream, &format!("data: {text}\n\n"));
        slowest = slowest.max(before.elapsed());
        std::thread::sleep(Duration::from_millis(300));
        attacker.pump();
        ids.iter().all(|id| attacker.status(*id) == Some(408))
    });
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(try_take(&gateway.gateway).is_none());
}

// Many requests on few sockets: each counts as a busy socket does.
#[test]
fn an_address_has_as_many_requests_as_it_could_keep_sockets_busy() {
    let site = Site::new();
    // 64 + 64 sockets, of which one address keeps 64 busy.
    let gateway = gateway(&site, |settings| settings.max_connections = 64);
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let ids: Vec<u32> = (0..64).map(|_| peer.get("/api/look")).collect();
    let calls: Vec<_> = {
        let mut calls = Vec::new();
        eventually("all wait or are refused", || {
            calls.extend(try_take(&gateway.gateway));
            peer.pump();
            calls.len() + ids.iter().filter(|id| peer.streams.contains_key(id)).count() == 64
        });
        calls
    };
    assert_eq!(calls.len(), 64, "{:?}", peer.streams);
    let beyond = peer.get("/healthz");
    assert_eq!(peer.answer(beyond).0, 503);
    let mut other = H2Peer::connect(gateway.port(), &site);
    let beyond = other.get("/healthz");
    assert_eq!(other.answer(beyond).0, 503, "of the address, not of the connection");
    gateway.desk().answer(calls[0].id, done(calls[0].id, "ok"));
    eventually("room", || {
        let id = peer.get("/healthz");
        peer.answer(id).0 == 200
    });
}

// A reader that asks for answers and does not take them.
#[test]
fn an_answer_that_is_not_taken_is_reset_and_its_memory_given_back() {
    let site = Site::new();
    let gateway = gateway(&site, |settings| settings.write_timeout = Duration::from_secs(2));
    // 30 MB each: two fit into the half of one address, and no third.
    let body = "x".repeat(30 << 20);
    let mut peer = H2Peer::with_window(gateway.port(), &site, 100_000);
    peer.takes = false;
    for round in 0..2 {
        let ids: Vec<u32> = (0..2).map(|_| peer.get("/api/look")).collect();
        for _ in 0..2 {
            let call = take(&gateway);
            gateway.desk().answer(call.id, done(call.id, &body));
        }
        peer.until("both are reset", |peer| ids.iter().all(|id| peer.reset(*id) == Some(CANCEL)));
        for id in ids {
            let got = peer.got(id);
            assert!(
                got.status == Some(200) && got.data.len() == 100_000,
                "{round}: {got:?}",
                got = got.data.len()
            );
        }
    }
    // One that is taken comes whole, in parts.
    peer.takes = true;
    peer.send(&frame(8, 0, 0, &(32_u32 << 20).to_be_bytes()));
    let id = peer.get("/api/look");
    let call = take(&gateway);
    gateway.desk().answer(call.id, done(call.id, &body));
    peer.until("the whole answer", |peer| peer.is_over(id));
    assert!(peer.got(id).has_ended && peer.got(id).data.len() == body.len());
}

// A reader that opens its window by one byte too few: the last part of its answer would wait for ever, with
// the memory of the whole answer, while another stream keeps the connection.
#[test]
fn an_end_that_is_not_taken_has_the_write_timeout_as_every_part_has() {
    const WINDOW: usize = 20_000;
    let site = Site::new();
    let gateway = gateway(&site, |settings| settings.write_timeout = Duration::from_secs(2));
    let mut peer = H2Peer::with_window(gateway.port(), &site, WINDOW as u32);
    let stays = peer.open_stream();
    peer.takes = false;
    for len in [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW] {
        let id = peer.get("/api/look");
        let call = take(&gateway);
        gateway.desk().answer(call.id, done(call.id, &"x".repeat(len)));
        if len <= WINDOW {
            assert_eq!(peer.answer(id).1.len(), len);
        } else {
            peer.until("it is reset", |peer| peer.reset(id) == Some(CANCEL));
            assert_eq!(peer.got(id).data.len(), WINDOW, "{len}");
        }
    }
    // And the end of a stream.
    let (id, call) = begun_over_http2(&gateway, &mut peer);
    streamed::end(&gateway, call, &"x".repeat(WINDOW));
    peer.until("it is reset", |peer| peer.reset(id) == Some(CANCEL));
    assert!(!peer.got(stays).is_over());
}

#[test]
fn an_answer_to_head_has_no_body_whatever_it_is() {
    let site = Site::new();
    let gateway = gateway(&site, |_| {});
    let mut peer = H2Peer::connect(gateway.port(), &site);
    for (path, status) in [("/healthz", 200), ("/nothing", 404), ("/api/work", 405)] {
        let id = peer.begin("HEAD", path, &[], END_STREAM);
        assert_eq!(peer.answer(id), (status, String::new()), "{path}");
    }
    let id = peer.begin("HEAD", "/api/look", &[], END_STREAM);
    let call = take(&gateway);
    gateway.desk().answer(call.id, done(call.id, "whole"));
    assert_eq!(peer.answer(id), (200, String::new()));
}
