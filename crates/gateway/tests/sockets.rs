//! Whose socket is closed when all are taken, how long a connection is kept, and who is taken for gone (C1.3,
//! C7.2).
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use sse_gateway::{Config, Settings};
use sse_proto::call::Shape;
use support::calls::{JSON, callable, calling, calling_with, done, request, serve, shape, take};
use support::peer::{Peer, get};
use support::{TestGateway, config, eventually, settings};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn ask_from(last: u8, gateway: &TestGateway, request: &str) -> Peer {
    let mut peer = Peer::connect_from([127, 0, 0, last], gateway.port());
    peer.send(request.as_bytes());
    peer
}

fn gateway(settings: Settings) -> TestGateway {
    let callables = [
        callable("f", "HTTP GET", &[], shape(Shape::Scalar)),
        callable("g", "HTTP POST", &["a?"], shape(Shape::Scalar)),
    ];
    calling(settings, &callables)
}

fn connections(gateway: &TestGateway) -> u64 {
    gateway.count(|stats| &stats.connections)
}

/// Closed by the other side.
fn is_closed(peer: &Peer) -> bool {
    let mut byte = [0];
    match peer.socket().read(&mut byte) {
        Ok(0) => true,
        Ok(_) => panic!("it was answered"),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

// Silent sockets, and heads that are never finished: whoever opens as many as there are, and renews them,
// locks the others out.
#[test]
fn silent_sockets_of_an_address_lock_nobody_out() {
    let gateway = gateway(Settings { max_connections: 100, ..settings() });
    let most = Settings { max_connections: 100, ..settings() }.max_sockets();
    let mut kept = ask_from(9, &gateway, HEALTH);
    assert_eq!(kept.answer(true).head.status, 200);
    let mut silent: Vec<Peer> = Vec::new();
    for n in 0..2 * most {
        let mut peer = Peer::connect(gateway.port());
        if n % 2 == 0 {
            peer.send(b"GET /healthz HTTP/1.1\r\nHo");
        }
        silent.push(peer);
    }
    eventually("displaced", || gateway.count(|stats| &stats.displaced_total) > most as u64 / 2);
    let began = Instant::now();
    for last in [1, 2, 3] {
        assert_eq!(ask_from(last, &gateway, HEALTH).answer(true).head.status, 200);
    }
    kept.send(HEALTH.as_bytes());
    assert_eq!(kept.answer(true).head.status, 200, "one that others keep is not the one that goes");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    eventually("as many as may be", || connections(&gateway) <= most as u64);
    assert!(is_closed(&silent[0]));
    assert_eq!(gateway.count(|stats| &stats.refused_total), 0);
}

// Requests that take long: all sockets busy for one address.
#[test]
fn an_address_has_half_of_the_sockets_busy_and_those_with_a_request_are_not_displaced() {
    let few = Settings { max_connections: 1, ..settings() };
    let (gateway, most) = (gateway(few.clone()), few.max_sockets());
    let call = request("GET", "/api/f", "", "");
    let waiting =
        |n: usize| eventually("calls wait", || gateway.count(|stats| &stats.calls_waiting) == n as u64);
    let mut busy: Vec<Peer> = (0..most / 2).map(|_| ask_from(1, &gateway, &call)).collect();
    waiting(most / 2);
    ask_from(1, &gateway, &call).answer(true).problem(503);
    // Nobody is to raise sse.max_connections for that.
    eventually("the reason is logged", || !gateway.log().is_empty());
    assert!(gateway.log().iter().all(|line| line.contains("half of all sockets")), "{:?}", gateway.log());
    busy.extend((0..most - most / 2 - 1).map(|_| ask_from(2, &gateway, &call)));
    waiting(most - 1);
    busy.push(ask_from(3, &gateway, &call));
    waiting(most);
    // Nobody is idle: whoever comes now is told without its request being read.
    ask_from(4, &gateway, &call).answer(true).problem(503);
    assert_eq!(connections(&gateway), most as u64);
    // By turns of their addresses, not in the order in which they came.
    for _ in &busy {
        serve(&gateway, "x");
    }
    for peer in &mut busy {
        assert_eq!(peer.answer(true).text(), "x");
    }
    // Now they are idle, and make room.
    assert_eq!(ask_from(4, &gateway, HEALTH).answer(true).head.status, 200);
}

// A flood when all sockets have a request: telling each of it that there is no room takes a socket, too.
#[test]
fn sixty_four_at_a_time_are_told_that_there_is_no_room_and_further_ones_are_closed_without_a_word() {
    const TOLD: usize = 64;
    let few = Settings { max_connections: 1, ..settings() };
    let most = few.max_sockets();
    // It is one number for all threads.
    let callables = [callable("f", "HTTP GET", &[], shape(Shape::Scalar))];
    let gateway = calling_with(Config { threads: 2, ..config() }, few, &callables);
    let call = request("GET", "/api/f", "", "");
    let _busy: Vec<Peer> = (0..most).map(|n| ask_from(1 + (n % 3) as u8, &gateway, &call)).collect();
    eventually("all are busy", || gateway.count(|stats| &stats.calls_waiting) == most as u64);
    let mut refused = 0;
    let came =
        |refused: u64| eventually("it came", || gateway.count(|stats| &stats.refused_total) == refused);
    loop {
        let began = Instant::now();
        // Each is waited for, a second for its request and another one for its end.
        let silent: Vec<Peer> =
            (0..TOLD - 2).map(|_| Peer::connect_from([127, 0, 0, 4], gateway.port())).collect();
        refused += silent.len() as u64;
        came(refused);
        let mut told = [ask_from(5, &gateway, HEALTH), ask_from(5, &gateway, HEALTH)];
        for peer in &mut told {
            peer.answer(true).problem(503);
        }
        let further = Peer::connect_from([127, 0, 0, 6], gateway.port());
        let _ = further.socket().write_all(HEALTH.as_bytes());
        let heard = further.rest();
        refused += 3;
        came(refused);
        // On a machine that was too slow the first one had gone before the last one came.
        if began.elapsed() < Duration::from_secs(1) {
            assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
            break;
        }
    }
    // They have gone, and others are told.
    eventually("told again", || {
        let peer = Peer::connect_from([127, 0, 0, 6], gateway.port());
        peer.socket().write_all(HEALTH.as_bytes()).is_ok() && peer.rest().starts_with(b"HTTP/1.1 503")
    });
}

#[test]
fn a_kept_connection_is_closed_idle_timeout_after_its_last_answer() {
    let idle_timeout = Duration::from_secs(3);
    let gateway = gateway(Settings { idle_timeout, ..settings() });
    let mut peer = Peer::ask(gateway.port(), HEALTH);
    for _ in 0..2 {
        assert_eq!(peer.answer(true).head.status, 200);
        let answered = Instant::now();
        eventually("a pause", || answered.elapsed() > idle_timeout / 2);
        peer.send(HEALTH.as_bytes());
    }
    assert_eq!(peer.answer(true).head.status, 200);
    let answered = Instant::now();
    eventually("closed", || is_closed(&peer));
    let took = answered.elapsed();
    assert!((idle_timeout..idle_timeout * 3).contains(&took), "{took:?}");
}

// A call that takes longer is no pause.
#[test]
fn a_call_may_take_longer_than_idle_timeout() {
    let gateway = gateway(Settings { idle_timeout: Duration::from_secs(1), ..settings() });
    let mut peer = Peer::ask(gateway.port(), &request("GET", "/api/f", "", ""));
    let call = take(&gateway);
    let began = Instant::now();
    eventually("a long call", || began.elapsed() > Duration::from_millis(2500));
    gateway.desk().answer(call.id, done(call.id, "late"));
    assert_eq!(peer.answer(true).text(), "late");
}

#[test]
fn a_peer_that_closes_its_sending_side_gets_its_answer() {
    let gateway = gateway(settings());
    let half = |request: &str| {
        let peer = Peer::ask(gateway.port(), request);
        peer.socket().shutdown(Shutdown::Write).unwrap();
        peer
    };
    assert_eq!(half(HEALTH).answer(true).head.status, 200);
    assert_eq!(half(&request("GET", "/api/nothing", "", "")).answer(true).head.status, 404);
    let requests = [request("GET", "/api/f", "", ""), request("POST", "/api/g", JSON, "{\"a\": \"b\"}")];
    for request in requests {
        let mut peer = half(&request);
        serve(&gateway, "x");
        assert_eq!(peer.answer(true).text(), "x");
        assert!(peer.rest().is_empty());
    }
    // One whose call takes longer is asked whether it is still there.
    for (version, interim) in [("1.1", true), ("1.0", false)] {
        let mut peer = half(&format!("GET /api/f HTTP/{version}\r\nHost: localhost\r\n\r\n"));
        let call = take(&gateway);
        let began = Instant::now();
        eventually("a long call", || began.elapsed() > Duration::from_millis(2500));
        gateway.desk().answer(call.id, done(call.id, "late"));
        if interim {
            assert_eq!(peer.head().status, 100);
        }
        assert_eq!(peer.answer(true).text(), "late", "{version}");
    }
    assert_eq!(gateway.count(|stats| &stats.calls_cancelled_total), 0);
}

#[test]
fn a_peer_that_has_gone_has_its_call_cancelled_in_whatever_way_it_went() {
    let gateway = gateway(settings());
    for (n, way) in ["close", "reset", "half, then close", "bytes, then close"].into_iter().enumerate() {
        let mut peer = Peer::ask(gateway.port(), &request("GET", "/api/f", "", ""));
        let call = take(&gateway);
        match way {
            "reset" => {
                socket2::SockRef::from(peer.socket()).set_linger(Some(Duration::ZERO)).unwrap();
            }
            "half, then close" => {
                peer.socket().shutdown(Shutdown::Write).unwrap();
                assert_eq!(peer.head().status, 100, "it is asked, and there");
            }
            "bytes, then close" => peer.send(HEALTH.as_bytes()),
            _ => {}
        }
        drop(peer);
        eventually(way, || gateway.gateway.poll_cancelled() == Some(call.id));
        assert_eq!(gateway.count(|stats| &stats.calls_cancelled_total), n as u64 + 1);
    }
    assert_eq!(get(gateway.port(), "/healthz").head.status, 200);
}
