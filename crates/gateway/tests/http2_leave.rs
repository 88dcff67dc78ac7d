//! How a connection over HTTP/2 is left: when the gateway stops, when nothing is asked of it any more, when
//! its peer is not there.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use sse_gateway::Settings;
use sse_proto::call::Shape;
use support::calls::{callable, calling, serve, shape};
use support::h2::{END_HEADERS, END_STREAM, H2Peer, HEADERS, NO_ERROR, PING, STREAM, frame, head};
use support::tls::{Ended, Site, VERSIONS, secure};
use support::{DEADLINE, TestGateway, all_gone, eventually, within};

/// A peer whose system takes a few kilobytes beyond what it reads.
fn narrow(gateway: &TestGateway, site: &Site) -> H2Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], gateway.port())).into()).unwrap();
    let mut peer = H2Peer::over(TcpStream::from(socket), &site.trust(&VERSIONS));
    peer.say_hello(1 << 30);
    peer
}

/// Large enough to be on its way for long, small enough that the gateway's system takes all of it.
const ANSWER_BYTES: usize = 50_000;

/// Its head has come, and the gateway has written all of it.
fn is_half_taken(gateway: &TestGateway, peer: &mut H2Peer) -> u32 {
    let id = peer.get("/api/look");
    serve(gateway, &"x".repeat(ANSWER_BYTES));
    peer.until("its head", |peer| peer.streams.contains_key(&id));
    assert!(peer.got(id).data.len() < ANSWER_BYTES / 2);
    id
}

/// The rest comes, and then the end. Each look takes a record.
fn is_whole(peer: &mut H2Peer, id: u32, between_looks: Duration) {
    let until = Instant::now() + DEADLINE;
    while !peer.got(id).is_over() {
        let looked = Instant::now();
        peer.pump();
        assert!(
            Instant::now() < until && peer.ended.is_none(),
            "{:?} {}",
            peer.ended,
            peer.got(id).data.len()
        );
        within(DEADLINE, "time for another look", || looked.elapsed() >= between_looks);
    }
    assert_eq!(peer.answer(id).1.len(), ANSWER_BYTES);
    assert!(peer.ends_within(DEADLINE));
    assert_eq!((peer.goaway, peer.ended), (Some(NO_ERROR), Some(Ended::Closed)));
}

fn looking(site: &Site, idle_timeout: Duration) -> TestGateway {
    let routines = [
        callable("look", "HTTP GET", &[], shape(Shape::Scalar)),
        callable("events", "@sse", &[], shape(Shape::Scalar)),
    ];
    calling(Settings { idle_timeout, ..site.settings() }, &routines)
}

// A reader on a slow line: what it was sent before it was told to go is its own.
#[test]
fn an_answer_that_is_still_on_its_way_survives_that_its_connection_is_not_needed_any_more() {
    let site = Site::new();
    let gateway = looking(&site, Duration::from_secs(1));
    let mut acknowledging = narrow(&gateway, &site);
    let mut silent = narrow(&gateway, &site);
    silent.takes = false;
    let [slow, late] = [&mut acknowledging, &mut silent].map(|peer| is_half_taken(&gateway, peer));
    // One looks each time before a second is over, says that it did, and needs three of them.
    is_whole(&mut acknowledging, slow, Duration::from_millis(700));
    // The other looks when the gateway has long closed, and says nothing.
    all_gone(&gateway);
    is_whole(&mut silent, late, Duration::ZERO);
}

#[test]
fn an_answer_that_is_still_on_its_way_survives_a_stop() {
    let site = Site::new();
    let gateway = looking(&site, Duration::from_secs(60));
    let mut peer = narrow(&gateway, &site);
    peer.takes = false;
    let id = is_half_taken(&gateway, &mut peer);
    let took = gateway.stop(DEADLINE);
    assert!(took < DEADLINE / 2, "{took:?}");
    is_whole(&mut peer, id, Duration::ZERO);
}

// It is told to go and says something now and then, to keep its socket.
#[test]
fn a_peer_that_goes_on_talking_and_does_not_go_is_left_after_the_write_timeout() {
    let site = Site::new();
    let settings = Settings {
        idle_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(3),
        ..site.settings()
    };
    let gateway = TestGateway::with(settings);
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let health = peer.get("/healthz");
    peer.answer(health);
    let mut last = Instant::now();
    // It reads nothing any more, so it does not answer the question whether it has heard.
    within(DEADLINE, "it is left", || {
        if last.elapsed() > Duration::from_millis(500) {
            peer.try_send(&frame(PING, 0, 0, &[0; 8]));
            last = Instant::now();
        }
        gateway.count(|stats| &stats.connections) == 0
    });
}

#[test]
fn a_stop_that_hurries_ends_streams_that_are_read_and_waits_for_no_other() {
    const HURRY: Duration = Duration::from_secs(3);
    let (site, gateway) = secure();
    let mut stalled = H2Peer::with_window(gateway.port(), &site, 10_000);
    stalled.takes = false;
    (0..20).for_each(|_| _ = stalled.open_stream());
    let mut silent = narrow(&gateway, &site);
    let unread = silent.open_stream();
    let mut honest = H2Peer::connect(gateway.port(), &site);
    let ids: Vec<u32> = (0..50).map(|_| honest.open_stream()).collect();
    let mut idle = H2Peer::connect(gateway.port(), &site);
    let health = idle.get("/healthz");
    idle.answer(health);
    (0..40).for_each(|n| _ = gateway.say(&format!("{n} {}", "x".repeat(100_000))));
    gateway.say("last");
    let stopping = std::thread::spawn(move || gateway.stop(HURRY));
    honest.until("all have ended", |peer| ids.iter().all(|id| peer.streams[id].has_ended));
    for id in ids {
        assert!(honest.got(id).text().ends_with("data: last\n\n\n"));
    }
    for peer in [&mut honest, &mut idle] {
        assert!(peer.ends_within(DEADLINE));
        assert_eq!((peer.goaway, peer.ended), (Some(NO_ERROR), Some(Ended::Closed)));
    }
    let took = stopping.join().unwrap();
    assert!(took < HURRY + Duration::from_secs(2), "{took:?}");
    for peer in [&mut stalled, &mut silent] {
        assert!(peer.ends_within(DEADLINE));
    }
    assert!(!silent.got(unread).has_ended);
}

// A request that crosses the word to go: it was not served, and its sender knows that.
#[test]
fn a_request_behind_the_word_to_go_is_not_answered_and_one_before_it_is() {
    let site = Site::new();
    let gateway = looking(&site, Duration::from_secs(1));
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let health = peer.get("/healthz");
    peer.answer(health);
    peer.until("told to go", |peer| peer.goaway == Some(NO_ERROR));
    if peer.ended.is_none() {
        let request = head("GET", STREAM, &[]);
        peer.try_send(&frame(HEADERS, END_HEADERS | END_STREAM, 101, &request));
    }
    assert!(peer.ends_within(DEADLINE));
    assert!(peer.status(101).is_none());
    assert_eq!(gateway.count(|stats| &stats.subscribers_total), 0);
    all_gone(&gateway);
}

// A laptop that sleeps, behind a proxy or system that still acknowledges: its streams are silent, and nothing
// that is sent to it fails.
#[test]
#[ignore = "slow"]
fn a_peer_that_does_not_answer_when_it_is_asked_is_given_up_and_one_that_does_stays() {
    let (site, gateway) = secure();
    let mut deaf = H2Peer::connect(gateway.port(), &site);
    (0..10).for_each(|_| _ = deaf.open_stream());
    let mut honest = H2Peer::connect(gateway.port(), &site);
    let id = honest.open_stream();
    let began = Instant::now();
    within(Duration::from_secs(90), "given up", || {
        honest.pump();
        gateway.subscribers() == 1
    });
    let took = began.elapsed();
    assert!((Duration::from_secs(45)..Duration::from_secs(70)).contains(&took), "{took:?}");
    assert!(honest.pings > 0 && deaf.pings == 0, "it was not even read");
    gateway.say("still");
    honest.until_text(id, "data: still\n\n");
    eventually("its socket is given back", || gateway.count(|stats| &stats.connections) == 1);
}
