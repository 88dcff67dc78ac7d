//! Clients that are honest and simple, over HTTP/2: they acknowledge every frame by itself, or late.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use support::h2::{END_HEADERS, END_STREAM, H2Peer, HEADERS, PING, WINDOW_UPDATE, fields, frame};
use support::tls::secure;
use support::{TestGateway, eventually};

const STREAMS: usize = 100;

/// Each event is a frame on each stream.
fn say_to_all(gateway: &TestGateway, peer: &mut H2Peer, events: usize) {
    for n in 0..events {
        let before = peer.parts;
        gateway.say(&format!("{n}"));
        peer.until("each stream has it", |peer| peer.parts >= before + STREAMS);
        // Nobody asks for it.
        peer.streams.values_mut().for_each(|got| got.data.clear());
    }
}

#[test]
fn who_acknowledges_each_of_a_hundred_thousand_frames_in_a_record_of_its_own_stays() {
    for (version, frames) in [(&TLS13, 70_000), (&TLS12, 30_000)] {
        let (site, gateway) = secure();
        let mut peer = H2Peer::shaken_by(gateway.port(), &site.trust(&[version]));
        peer.say_hello(1 << 20);
        peer.takes_apart = true;
        for _ in 0..STREAMS {
            peer.open_stream();
        }
        let before = Instant::now();
        say_to_all(&gateway, &mut peer, frames / STREAMS);
        println!("{frames} frames, acknowledged twice each: {:?}", before.elapsed());
        assert_eq!((peer.goaway, peer.ended, gateway.subscribers()), (None, None, STREAMS as u64));
    }
}

#[test]
fn who_acknowledges_late_and_everything_at_once_stays() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let ids: Vec<u32> = (0..STREAMS).map(|_| peer.open_stream()).collect();
    peer.takes = false;
    say_to_all(&gateway, &mut peer, 50);
    let mut taken = Vec::new();
    for _ in 0..50 {
        for id in &ids {
            taken.extend(frame(WINDOW_UPDATE, 0, 0, &20_u32.to_be_bytes()));
            taken.extend(frame(WINDOW_UPDATE, 0, *id, &20_u32.to_be_bytes()));
        }
    }
    peer.send(&taken);
    peer.takes = true;
    say_to_all(&gateway, &mut peer, 3);
    assert_eq!((peer.goaway, peer.ended, gateway.subscribers()), (None, None, STREAMS as u64));
}

// A flood after a busy stream: what the stream excuses runs out.
#[test]
fn a_flood_in_records_of_its_own_is_cut_off_beside_a_busy_stream_too() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    peer.open_stream();
    for n in 0..100 {
        gateway.say(&format!("{n}."));
        peer.pump();
    }
    let until = Instant::now() + Duration::from_secs(60);
    while gateway.subscribers() > 0 && Instant::now() < until {
        if !peer.try_send(&frame(PING, 0, 0, &[0; 8])) {
            break;
        }
    }
    eventually("it is cut off", || gateway.subscribers() == 0);
}

// Targets and names that HTTP/1.1 cannot have: a path without a slash, by which a file might be looked up.
#[test]
fn targets_that_are_no_paths_open_nothing() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let stream = peer.open_stream();
    let odd =
        ["", "healthz", "..", "../../etc/passwd", "//healthz", "https://localhost/healthz", "?x", "api"];
    for target in odd {
        let id = peer.get(target);
        peer.until("an answer", |peer| peer.is_over(id));
        let got = peer.got(id);
        assert!(got.status.is_none_or(|status| status >= 400), "{target:?}: {got:?}");
    }
    let id = peer.begin("OPTIONS", "*", &[], END_STREAM);
    assert_eq!(peer.answer(id).0, 204);
    for authority in
        ["", "evil@localhost", "localhost:x", "localhost, localhost", "[::1", "evil.example#@localhost"]
    {
        let id = peer.next_id();
        let pseudo =
            [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", "/healthz")];
        peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, id, &fields(pseudo)));
        peer.until("an answer", |peer| peer.is_over(id));
        let got = peer.got(id);
        assert!(got.status.is_none_or(|status| status >= 400), "{authority:?}: {got:?}");
    }
    // Fields that HTTP/2 does not have: the stream is in fault, or the connection.
    for more in [("connection", "close"), ("te", "chunked"), ("transfer-encoding", "chunked"), ("Upper", "x")]
    {
        let mut peer = H2Peer::connect(gateway.port(), &site);
        let id = peer.begin("GET", "/healthz", &[more], END_STREAM);
        peer.until("refused", |peer| peer.goaway.is_some() || peer.reset(id).is_some());
        assert_eq!(peer.status(id), None, "{more:?}");
    }
    gateway.say("still here");
    peer.until_text(stream, "data: still here\n\n");
}
