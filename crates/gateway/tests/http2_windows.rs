//! Flow control over HTTP/2 (RFC 9113 §5.2, §6.9): not a byte more than a peer allows, whatever it does to
//! its windows, and nobody waits for what another's window keeps shut.
#![allow(clippy::unwrap_used)]

mod support;

use sse_proto::call::Shape;
use support::calls::{callable, calling, done, shape, take};
use support::h2::{DATA, END_STREAM, H2Peer, SETTINGS, WINDOW_UPDATE, frame};
use support::tls::Site;
use support::{TestGateway, eventually};

const MAX_WINDOW: u32 = 0x7fff_ffff;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;

fn gateway(site: &Site) -> TestGateway {
    let text = || shape(Shape::Scalar);
    calling(
        site.settings(),
        &[callable("look", "HTTP GET", &[], text()), callable("events", "@sse", &[], text())],
    )
}

fn has(peer: &H2Peer, id: u32) -> usize {
    peer.streams.get(&id).map_or(0, |got| got.data.len())
}

/// Exactly so many bytes of DATA come on this stream, and no more.
fn comes_to(peer: &mut H2Peer, id: u32, len: usize) {
    peer.until(&format!("{len} bytes"), |peer| has(peer, id) >= len);
    peer.settle();
    peer.settle();
    assert_eq!(has(peer, id), len);
}

/// Both kinds of bodies while their window is taken away below what is on its way, and given back.
fn goes_below_nothing_and_back(peer: &mut H2Peer, id: u32, whole: usize) {
    let had = has(peer, id);
    peer.set_window(0);
    comes_to(peer, id, had);
    // It is minus `had` now.
    peer.grant(id, had as u32 - 1);
    comes_to(peer, id, had);
    peer.grant(id, 1);
    comes_to(peer, id, had);
    peer.grant(id, 1);
    comes_to(peer, id, had + 1);
    peer.grant(id, 20_000);
    comes_to(peer, id, had + 20_001);
    // Down and up again while it is shut.
    peer.set_window(5_000);
    comes_to(peer, id, had + 25_001);
    peer.set_window(4_000);
    peer.grant(id, 999);
    comes_to(peer, id, had + 25_001);
    peer.grant(id, 2);
    comes_to(peer, id, had + 25_002);
    peer.set_window(MAX_WINDOW / 2);
    peer.until("the rest", |peer| has(peer, id) >= whole);
}

#[test]
fn a_window_that_becomes_negative_lets_nothing_through_until_it_is_positive_again() {
    let site = Site::new();
    let gateway = gateway(&site);
    let mut peer = H2Peer::with_window(gateway.port(), &site, 50_000);
    peer.takes = false;
    let answer = peer.get("/api/look");
    let call = take(&gateway);
    let text: String = (0..40_000).map(|n| format!("{n:04x} ")).collect();
    gateway.desk().answer(call.id, done(call.id, &text));
    comes_to(&mut peer, answer, 50_000);
    goes_below_nothing_and_back(&mut peer, answer, text.len());
    assert_eq!(peer.answer(answer), (200, text));
    // The same of a stream, which gets more to send while it is shut.
    let mut peer = H2Peer::with_window(gateway.port(), &site, 50_000);
    peer.takes = false;
    let stream = peer.open_stream();
    let text = |n: usize| format!("{n}.{}", "x".repeat(15_000));
    (0..10).for_each(|n| _ = gateway.say(&text(n)));
    comes_to(&mut peer, stream, 50_000);
    goes_below_nothing_and_back(&mut peer, stream, 150_000);
    peer.until_text(stream, "data: 9.");
    gateway.say("last");
    peer.until_text(stream, "data: last\n\n");
    let got = peer.got(stream).text();
    (0..10).for_each(|n| assert!(got.contains(&format!("data: {}\n\n", text(n))), "{n}"));
}

// A reader that asks for much, lets it be made ready, and shuts its window: what was set aside of the
// connection's own is not kept from its neighbours.
#[test]
fn what_a_shut_stream_was_about_to_send_takes_nothing_from_others_of_its_connection() {
    let site = Site::new();
    let gateway = gateway(&site);
    let mut peer = H2Peer::shaken(gateway.port(), &site);
    let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // The connection's window is what it begins with: 65,535 bytes for all.
    first.extend(frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 4, 0, 0, 0x40, 0]));
    peer.send(&first);
    peer.takes = false;
    let mut sent = 0;
    let mut answers = Vec::new();
    for n in 0..3 {
        let id = peer.get("/api/look");
        let call = take(&gateway);
        gateway.desk().answer(call.id, done(call.id, &format!("{n}").repeat(100_000)));
        comes_to(&mut peer, id, 16_384);
        sent += 16_384;
        answers.push(id);
    }
    let last = peer.get("/api/look");
    let call = take(&gateway);
    gateway.desk().answer(call.id, done(call.id, &"y".repeat(100_000)));
    comes_to(&mut peer, last, 0xffff - sent);
    // Nothing is left of the connection's. These three wait for some of it, and then may not have it.
    answers.iter().for_each(|id| peer.grant(*id, 10_000));
    peer.settle();
    peer.set_window(0);
    peer.grant(last, 200_000);
    peer.grant(0, 20_000);
    comes_to(&mut peer, last, 0xffff - sent + 20_000);
    answers.iter().for_each(|id| assert_eq!(has(&peer, *id), 16_384));
    peer.grant(0, 1 << 20);
    assert_eq!(peer.answer(last), (200, "y".repeat(100_000)));
    for id in answers {
        peer.grant(id, 200_000);
        assert_eq!(peer.answer(id).1.len(), 100_000);
    }
}

#[test]
fn a_window_beyond_what_there_can_be_ends_its_stream_or_its_connection_and_no_other() {
    let site = Site::new();
    let gateway = gateway(&site);
    let mut honest = H2Peer::connect(gateway.port(), &site);
    let stream = honest.open_stream();
    let update = |id: u32| frame(WINDOW_UPDATE, 0, id, &MAX_WINDOW.to_be_bytes());
    let setting = |id: u8, value: u32| frame(SETTINGS, 0, 0, &[&[0, id][..], &value.to_be_bytes()].concat());
    // One stream of the connection.
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let [beyond, beside] = [peer.open_stream(), peer.open_stream()];
    peer.send(&update(beyond));
    peer.until("reset", |peer| peer.streams[&beyond].reset == Some(FLOW_CONTROL_ERROR));
    gateway.say("one");
    peer.until_text(beside, "data: one\n\n");
    // All of it. (For values that no setting has the code of either error is in use.)
    for (bytes, codes) in [
        (update(0), &[FLOW_CONTROL_ERROR][..]),
        (setting(4, MAX_WINDOW + 1), &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        (setting(4, u32::MAX), &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        // With what it was granted beside it.
        (
            [frame(WINDOW_UPDATE, 0, 1, &1_000_u32.to_be_bytes()), setting(4, MAX_WINDOW)].concat(),
            &[FLOW_CONTROL_ERROR],
        ),
        (setting(5, (16 << 10) - 1), &[PROTOCOL_ERROR]),
        (setting(5, 1 << 24), &[PROTOCOL_ERROR]),
        (setting(2, 2), &[PROTOCOL_ERROR]),
        (frame(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes()), &[PROTOCOL_ERROR]),
    ] {
        let mut peer = H2Peer::with_window(gateway.port(), &site, 0xffff);
        peer.takes = false;
        peer.open_stream();
        peer.send(&bytes);
        peer.until("told to go", |peer| peer.goaway.is_some());
        assert!(codes.contains(&peer.goaway.unwrap()), "{bytes:?}: {:?}", peer.goaway);
        assert!(peer.ends_within(support::DEADLINE));
    }
    gateway.say("two");
    honest.until_text(stream, "data: two\n\n");
    peer.until_text(beside, "data: two\n\n");
    eventually("theirs are given back", || gateway.subscribers() == 2);
}

// A body that is longer than we allowed, before we allow more.
#[test]
fn a_peer_that_sends_more_than_our_windows_allow_loses_its_connection_and_others_do_not() {
    let site = Site::new();
    let gateway = gateway(&site);
    let mut honest = H2Peer::connect(gateway.port(), &site);
    let stream = honest.open_stream();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    // Nobody reads these bodies, so no window is raised.
    let ids: Vec<u32> = (0..3).map(|_| peer.begin("POST", "/api/events/info", &[], 0)).collect();
    let mut is_open = true;
    for _ in 0..20 {
        for id in &ids {
            is_open = is_open && peer.try_send(&frame(DATA, 0, *id, &[b'x'; 16_000]));
        }
    }
    is_open = is_open && peer.try_send(&frame(DATA, END_STREAM, ids[0], b""));
    peer.until("refused", |peer| {
        !is_open
            || peer.ended.is_some()
            || peer.goaway == Some(FLOW_CONTROL_ERROR)
            || ids.iter().all(|id| peer.reset(*id).is_some())
    });
    gateway.say("on");
    honest.until_text(stream, "data: on\n\n");
}
