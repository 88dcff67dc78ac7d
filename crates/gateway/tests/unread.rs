//! Answers that are not read, or hardly: what they hold has a bound, and a time (C7.2).
#![allow(clippy::unwrap_used)]

mod support;

use socket2::SockRef;
use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use sse_gateway::{CallResult, QueuedCall, Settings, TrustedProxies};
use sse_proto::call::{CallAnswer, EventsEnd, Outcome, Shape};
use support::calls::{callable, calling, has_told_end, request, shape};
use support::peer::Peer;
use support::{DEADLINE, TestGateway, eventually, settings};

/// The largest answer that a worker gives.
const LARGEST: usize = 64 << 20;

fn gateway(settings: Settings) -> TestGateway {
    calling(settings, &[callable("big", "HTTP GET", &[], shape(Shape::Scalar))])
}

fn with_proxy() -> TestGateway {
    gateway(Settings { trusted_proxies: TrustedProxies::parse("127.0.0.1").unwrap(), ..settings() })
}

/// With a small buffer, so that hardly anything of an answer that is not read is in the kernel.
fn ask(gateway: &TestGateway, address: &str) -> Peer {
    let mut peer = Peer::connect(gateway.port());
    SockRef::from(peer.socket()).set_recv_buffer_size(4096).unwrap();
    peer.send(request("GET", "/api/big", &format!("X-Forwarded-For: {address}\r\n"), "").as_bytes());
    peer
}

fn take(gateway: &TestGateway) -> QueuedCall {
    let mut call = None;
    eventually("a call", || {
        call = call.take().or_else(|| gateway.desk().take());
        call.is_some()
    });
    call.unwrap()
}

/// Answers a call as a worker does, part by part.
fn answer(gateway: &TestGateway, mut call: QueuedCall, body: usize) {
    let outcome = Outcome::Done { rows: 1, body: vec![b'x'; body], is_null: false };
    let frame = CallAnswer { id: call.id, end: EventsEnd::NoEvents, cut: None, outcome }.encode().unwrap();
    frame.chunks(32 << 10).for_each(|part| call.reply.push(part));
    let result = call.reply.finish().unwrap().map_or(CallResult::NoRoom, CallResult::Answer);
    let is_untold = matches!(result, CallResult::NoRoom);
    gateway.desk().answer(call.id, result);
    if is_untold {
        has_told_end(gateway);
    }
}

/// A peer whose answer is on its way, and who does not read it.
fn unread(gateway: &TestGateway, address: &str, body: usize) -> Peer {
    let mut peer = ask(gateway, address);
    answer(gateway, take(gateway), body);
    assert_eq!(peer.head().status, 200);
    peer
}

// Answers that are not read: a worker is free as soon as it has given its answer, so two of them and one
// address fill any memory.
#[test]
fn unread_answers_of_an_address_have_half_of_the_room_and_others_the_rest() {
    let gateway = with_proxy();
    let small = |address: &str| {
        let mut peer = ask(&gateway, address);
        answer(&gateway, take(&gateway), 1000);
        peer.answer(true).head.status
    };
    let mut greedy: Vec<Peer> =
        (0..2).map(|_| unread(&gateway, "203.0.113.9", LARGEST / 2 - 250_000)).collect();
    // There is room for a small one still, and for no other: it has run when that is known.
    assert_eq!(small("203.0.113.9"), 200);
    let mut late = ask(&gateway, "203.0.113.9");
    answer(&gateway, take(&gateway), 1 << 20);
    let refused = late.answer(true);
    assert!(refused.problem(503).contains("has run"), "{refused:?}");
    assert_eq!(refused.head.header("retry-after"), "5");
    // Nothing is left for it: its calls are not even begun.
    greedy.push(unread(&gateway, "203.0.113.9", 450_000));
    let refused = ask(&gateway, "203.0.113.9").answer(true);
    assert!(refused.problem(503).contains("was not run"), "{refused:?}");
    assert_eq!(refused.head.header("retry-after"), "5");
    assert!(gateway.desk().take().is_none());
    // Another address has the largest answer there is, and then everything is taken.
    let other = unread(&gateway, "203.0.113.10", LARGEST);
    ask(&gateway, "203.0.113.11").answer(true).problem(503);
    drop((other, greedy));
    eventually("room again", || {
        let mut peer =
            Peer::ask(gateway.port(), &request("GET", "/api/big", "X-Forwarded-For: 203.0.113.9\r\n", ""));
        let mut call = None;
        eventually("a call or a refusal", || {
            call = call.take().or_else(|| gateway.desk().take());
            call.is_some() || peer.has_answer()
        });
        call.is_some_and(|call| {
            answer(&gateway, call, LARGEST);
            peer.answer(true).body.len() == LARGEST
        })
    });
}

// Slow readers: any progress at all was enough to hold an answer.
#[test]
fn an_answer_that_is_taken_too_slowly_is_cut_and_its_room_is_free() {
    // How long a peer may take nothing at all; in this test it is not what cuts.
    let write_timeout = Duration::from_secs(3600);
    let trusted_proxies = TrustedProxies::parse("127.0.0.1").unwrap();
    let gateway = gateway(Settings { write_timeout, trusted_proxies, ..settings() });
    let peer = ask(&gateway, "203.0.113.9");
    let began = Instant::now();
    answer(&gateway, take(&gateway), LARGEST);
    let mut space = [0; 512];
    // A few bytes a second, until the other side gives up: not when ten seconds are over, and soon after.
    while began.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(500));
        match peer.socket().read(&mut space) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            _ => {}
        }
        if gateway.count(|stats| &stats.connections) == 0 {
            break;
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    eventually("cut", || gateway.count(|stats| &stats.connections) == 0);
    let _whole = unread(&gateway, "203.0.113.9", LARGEST);
}

// Files: each socket that does not read its file holds pieces of it.
#[test]
fn files_that_are_sent_are_counted_as_answers_are() {
    let (_guard, root) = support::folder();
    std::fs::write(root.join("page"), "hello").unwrap();
    let trusted_proxies = TrustedProxies::parse("127.0.0.1").unwrap();
    let gateway = gateway(Settings { trusted_proxies, static_root: Some(root), ..settings() });
    let file = |address: &str| {
        let headers = format!("X-Forwarded-For: {address}\r\n");
        Peer::ask(gateway.port(), &request("GET", "/page", &headers, "")).answer(true)
    };
    assert_eq!(file("203.0.113.9").text(), "hello");
    let greedy: Vec<Peer> =
        [LARGEST / 2, LARGEST / 2 - 30_000].map(|body| unread(&gateway, "203.0.113.9", body)).into();
    file("203.0.113.9").problem(503);
    assert_eq!(file("203.0.113.10").text(), "hello");
    drop(greedy);
    eventually("room again", || file("203.0.113.9").head.status == 200);
}

// An error's message is the routine's own, and as long as it likes.
#[test]
fn a_long_message_is_cut() {
    let gateway = gateway(settings());
    let mut peer = ask(&gateway, "203.0.113.9");
    let call = take(&gateway);
    let message = format!("{}é{}", "a".repeat((16 << 10) - 1), "\u{1}".repeat(1 << 20));
    gateway.desk().answer(call.id, support::calls::failed(call.id, b"P0001", &message, true));
    assert_eq!(peer.answer(true).problem(400), format!("{}…", "a".repeat((16 << 10) - 1)));
}
