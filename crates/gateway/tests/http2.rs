//! Requests and streams over HTTP/2, many on one connection (C1.3 `http2`, C1.6).
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_gateway::{Settings, TlsSettings};
use support::h2::{
    CANCEL, DATA, END_HEADERS, END_STREAM, H2Peer, HEADERS, RST_STREAM, SETTINGS, STREAM, fields, frame,
};
use support::peer::GET;
use support::tls::{Ended, Site, TlsPeer, VERSIONS, secure};
use support::{DEADLINE, TestGateway, all_gone, eventually, raise, within};

const REFUSED_STREAM: u32 = 7;

#[test]
fn many_streams_share_a_connection_and_end_cleanly_with_their_last_bytes() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let ids: Vec<u32> = (0..12).map(|_| peer.open_stream()).collect();
    assert_eq!((gateway.subscribers(), gateway.count(|stats| &stats.connections)), (12, 1));
    assert_eq!(peer.got(ids[0]).status, Some(200));
    gateway.say("one");
    ids.iter().for_each(|id| peer.until_text(*id, "data: one\n\n"));
    // The certificate is renewed: nothing is cut.
    site.renew();
    gateway.gateway.apply(Arc::new(site.settings()));
    gateway.say("two");
    ids.iter().for_each(|id| peer.until_text(*id, "data: two\n\n"));
    // One is left by its reader.
    peer.send(&frame(RST_STREAM, 0, ids[3], &CANCEL.to_be_bytes()));
    eventually("it is given back", || gateway.subscribers() == 11);
    let others: Vec<u32> = ids.iter().copied().filter(|id| *id != ids[3]).collect();
    gateway.say(&"x".repeat(100_000));
    gateway.say("last");
    let stopping = std::thread::spawn(move || gateway.stop(DEADLINE));
    peer.until("all have ended", |peer| others.iter().all(|id| peer.streams[id].has_ended));
    for id in others {
        let text = peer.got(id).text();
        assert!(text.ends_with("data: last\n\n\n") && text.contains(&"x".repeat(100_000)), "{}", text.len());
        assert!(!text.contains("\r\n"), "no chunks");
    }
    // After the ends: to some clients everything is over at that word.
    peer.until("the end", |peer| peer.ended.is_some());
    assert_eq!((peer.goaway, peer.ended), (Some(0), Some(Ended::Closed)));
    assert!(stopping.join().unwrap() < DEADLINE / 2, "long before the deadline");
}

#[test]
fn http2_is_offered_while_it_is_on_and_streams_outlive_the_change() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let id = peer.open_stream();
    let off = Settings { tls: TlsSettings { http2: false, ..site.tls() }, ..site.settings() };
    gateway.gateway.apply(Arc::new(off));
    let chosen = |offered: &[&[u8]]| {
        let mut config = (*site.trust(&VERSIONS)).clone();
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let mut peer = TlsPeer::connect(gateway.port(), &Arc::new(config));
        peer.try_shake().then(|| peer.tls.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(chosen(&[b"h2", b"http/1.1"]), Some(Some(b"http/1.1".to_vec())));
    assert_eq!(chosen(&[b"h2"]), None, "an alert: nothing in common");
    assert!(!gateway.log().iter().any(|line| line.contains("certificate")), "{:?}", gateway.log());
    gateway.gateway.apply(Arc::new(site.settings()));
    assert_eq!(chosen(&[b"http/1.1", b"h2"]), Some(Some(b"h2".to_vec())));
    assert_eq!(chosen(&[b"http/1.1"]), Some(Some(b"http/1.1".to_vec())));
    assert_eq!(chosen(&[]), Some(None));
    gateway.say("still here");
    peer.until_text(id, "data: still here\n\n");
}

#[test]
fn ordinary_answers_come_beside_streams_in_any_order() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let stream = peer.open_stream();
    let health = peer.get("/healthz");
    let nothing = peer.get("/nothing");
    let posted = peer.begin("POST", "/nothing", &[], 0);
    peer.send(&frame(DATA, END_STREAM, posted, b"{}"));
    let wrong = peer.begin("DELETE", STREAM, &[], END_STREAM);
    assert_eq!(peer.answer(health), (200, "{\"status\":\"pass\"}".to_owned()));
    for (id, status) in [(nothing, 404), (posted, 404), (wrong, 405)] {
        let (found, text) = peer.answer(id);
        assert!(found == status && text.contains("\"type\":\"about:blank\""), "{found} {text}");
    }
    let options = peer.begin("OPTIONS", STREAM, &[], END_STREAM);
    assert_eq!(peer.answer(options), (204, String::new()));
    let head = peer.begin("HEAD", STREAM, &[], END_STREAM);
    assert_eq!(peer.answer(head), (200, String::new()));
    gateway.say("here");
    peer.until_text(stream, "data: here\n\n");
    // A request for a stream has no body, said or not.
    let long = peer.begin("GET", STREAM, &[], 0);
    peer.send(&frame(DATA, END_STREAM, long, b"x"));
    peer.until("refused", |peer| peer.status(long) == Some(400));
    assert_eq!(gateway.subscribers(), 1);
}

// DNS rebinding: a page of evil.example, which resolves to 127.0.0.1.
#[test]
fn the_authority_is_checked_as_a_host_is() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let ask = |peer: &mut H2Peer, authority: &[(&str, &str)]| {
        let id = peer.next_id();
        let pseudo = [(":method", "GET"), (":scheme", "https"), (":path", "/healthz")];
        let of_request = authority.iter().filter(|(name, _)| name.starts_with(':'));
        let others = authority.iter().filter(|(name, _)| !name.starts_with(':'));
        let block = fields(pseudo.iter().chain(of_request).chain(others).copied());
        peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, id, &block));
        peer.answer(id).0
    };
    for (authority, status) in [
        (&[(":authority", "localhost")][..], 200),
        (&[(":authority", "127.0.0.1:1")], 200),
        (&[("host", "localhost")], 200),
        (&[(":authority", "localhost"), ("host", "localhost")], 200),
        (&[(":authority", "evil.example")], 421),
        (&[("host", "evil.example")], 421),
        (&[(":authority", "localhost"), ("host", "evil.example")], 400),
        (&[(":authority", "evil.example"), ("host", "localhost")], 400),
        (&[], 400),
    ] {
        assert_eq!(ask(&mut peer, authority), status, "{authority:?}");
    }
}

#[test]
fn a_head_and_a_target_have_their_limits_to_the_byte() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    // "GET /healthz HTTP/1.1\r\n", "host: localhost\r\n", "x: …\r\n", "\r\n"
    let rest = (16 << 10) - (23 + 17 + 5 + 2);
    for (len, status) in [(rest - 1, 200), (rest, 200), (rest + 1, 431)] {
        let value = "y".repeat(len);
        let id = peer.begin("GET", "/healthz", &[("x", &value)], END_STREAM);
        assert_eq!(peer.answer(id).0, status, "{len}");
    }
    // With the host.
    for (more, status) in [(98, 200), (99, 200), (100, 431)] {
        let id = peer.begin("GET", "/healthz", &vec![("x", "y"); more], END_STREAM);
        assert_eq!(peer.answer(id).0, status, "{more}");
    }
    // Browsers cut a cookie in pieces, which are one field.
    let id = peer.begin("GET", "/healthz", &[("cookie", "a=b"); 200], END_STREAM);
    assert_eq!(peer.answer(id).0, 200);
    for (len, status) in [((8 << 10) - 1, 404), (8 << 10, 404), ((8 << 10) + 1, 414)] {
        let id = peer.get(&format!("/{}", "y".repeat(len - 1)));
        assert_eq!(peer.answer(id).0, status, "{len}");
    }
}

#[test]
fn a_connection_has_a_hundred_streams_and_an_address_as_many_as_over_http_1() {
    let site = Site::new();
    let gateway = TestGateway::with(Settings { max_connections_per_address: 101, ..site.settings() });
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let ids: Vec<u32> = (0..100).map(|_| peer.open_stream()).collect();
    let more = peer.get(STREAM);
    peer.until("refused", |peer| peer.reset(more).is_some());
    assert_eq!(peer.reset(more), Some(REFUSED_STREAM));
    let mut second = H2Peer::connect(gateway.port(), &site);
    let last = second.open_stream();
    let beyond = second.get(STREAM);
    assert_eq!(second.answer(beyond).0, 429, "one more than the address may have");
    // Place is made by an end.
    peer.send(&frame(RST_STREAM, 0, ids[0], &CANCEL.to_be_bytes()));
    eventually("given back", || gateway.subscribers() == 100);
    peer.open_stream();
    gateway.say("all");
    second.until_text(last, "data: all\n\n");
    ids[1..].iter().for_each(|id| peer.until_text(*id, "data: all\n\n"));
}

#[test]
fn a_connection_without_a_stream_is_told_to_go_and_closed_and_one_with_a_stream_stays() {
    let site = Site::new();
    let settings = Settings { idle_timeout: Duration::from_secs(1), ..site.settings() };
    let gateway = TestGateway::with(settings);
    let before = Instant::now();
    let mut silent = H2Peer::shaken(gateway.port(), &site);
    let mut idle = H2Peer::connect(gateway.port(), &site);
    let mut answered = H2Peer::connect(gateway.port(), &site);
    let mut streaming = H2Peer::connect(gateway.port(), &site);
    let id = streaming.open_stream();
    let health = answered.get("/healthz");
    answered.answer(health);
    // Ten seconds from the beginning, and the setting after an answer.
    answered.until("told", |peer| peer.goaway == Some(0));
    assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
    assert!(answered.ends_within(DEADLINE));
    assert_eq!(answered.ended, Some(Ended::Closed));
    idle.until("told", |peer| peer.goaway == Some(0));
    assert!(before.elapsed() > Duration::from_secs(9), "{:?}", before.elapsed());
    assert!(idle.ends_within(DEADLINE) && silent.ends_within(DEADLINE));
    gateway.say("still");
    streaming.until_text(id, "data: still\n\n");
}

// A reader that grants no window, or stops granting it: its stream must not hold memory for ever.
#[test]
fn a_stream_whose_window_stays_shut_is_reset_after_the_write_timeout_and_no_other() {
    let site = Site::new();
    let settings = Settings { write_timeout: Duration::from_secs(2), ..site.settings() };
    let gateway = TestGateway::with(settings);
    let mut shut = H2Peer::with_window(gateway.port(), &site, 0);
    let stalled = shut.get(STREAM);
    let health = shut.get("/healthz");
    shut.until("its head", |peer| peer.status(stalled).is_some());
    let mut honest = H2Peer::connect(gateway.port(), &site);
    let id = honest.open_stream();
    for n in 0..40 {
        gateway.say(&format!("{n} {}", "x".repeat(10_000)));
    }
    honest.until_text(id, "data: 39 ");
    shut.until("both are reset", |peer| [stalled, health].iter().all(|id| peer.reset(*id) == Some(CANCEL)));
    eventually("one is left", || gateway.subscribers() == 1);
    assert_eq!(gateway.count(|stats| &stats.write_timeouts_total), 1, "the answer is none");
    // The connection is as good as before.
    shut.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
    let again = shut.open_stream();
    gateway.say("both");
    shut.until_text(again, "data: both\n\n");
    honest.until_text(id, "data: both\n\n");
}

// A reader that does not read its socket: everything of the connection stands.
#[test]
fn a_connection_that_takes_nothing_is_cut_after_the_write_timeout() {
    let site = Site::new();
    let settings = Settings { write_timeout: Duration::from_secs(2), ..site.settings() };
    let gateway = TestGateway::with(settings);
    let mut peer = H2Peer::with_window(gateway.port(), &site, 0x7fff_ffff);
    for _ in 0..20 {
        peer.open_stream();
    }
    let text = "x".repeat(100_000);
    within(DEADLINE, "all are gone", || {
        gateway.publish(&[raise(text.clone())]);
        std::thread::sleep(Duration::from_millis(50));
        gateway.subscribers() == 0
    });
    all_gone(&gateway);
}

#[test]
fn an_end_by_either_side_gives_everything_back() {
    let (site, gateway) = secure();
    for round in 0..3 {
        let mut peer = H2Peer::connect(gateway.port(), &site);
        for _ in 0..20 {
            peer.open_stream();
        }
        assert_eq!(gateway.subscribers(), 20);
        match round {
            0 => peer.peer.hang_up(),
            1 => drop(peer),
            _ => {
                // Broken on purpose: DATA on stream 0.
                peer.send(&frame(DATA, 0, 0, b"x"));
                peer.until("told", |peer| peer.goaway.is_some());
            }
        }
        eventually("streams are given back", || gateway.subscribers() == 0);
        all_gone(&gateway);
    }
}

// Slow bodies on a hundred streams of a connection.
#[test]
fn bodies_that_trickle_are_given_up_stream_by_stream() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let stream = peer.open_stream();
    let ids: Vec<u32> =
        (0..99).map(|_| peer.begin("POST", "/nothing", &[("content-type", "application/json")], 0)).collect();
    for id in &ids {
        peer.send(&frame(DATA, 0, *id, b" "));
    }
    // Nobody wants them: an answer, and the rest is not waited for.
    peer.until("all are answered", |peer| ids.iter().all(|id| peer.status(*id) == Some(404)));
    gateway.say("on");
    peer.until_text(stream, "data: on\n\n");
}

#[test]
fn a_head_over_http_1_is_no_stream_of_http2_and_the_other_way_round() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::shaken(gateway.port(), &site);
    peer.send(GET.as_bytes());
    assert!(peer.ends_within(DEADLINE), "an HTTP/1.1 request where HTTP/2 was agreed on");
    // And the preface without the agreement: HTTP/2 by prior knowledge is not spoken.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let (text, _) = TlsPeer::ask(gateway.port(), &site.trust(&VERSIONS), preface).rest();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    all_gone(&gateway);
}
