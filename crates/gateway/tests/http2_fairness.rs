//! Connections over HTTP/2 that take all that they may: others get their turn in between.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::TestGateway;
use support::h2::{H2Peer, WINDOW_UPDATE, frame};
use support::tls::{Site, secure};

const GREEDY: usize = 3;
const STREAMS: usize = 100;

/// This many does each connection send at once, when the parts of its streams have excused them.
const EXCUSED_FRAMES: usize = 80_000;

/// Connections that may send so many frames of no use each.
fn excused(gateway: &TestGateway, site: &Site) -> Vec<H2Peer> {
    let mut peers: Vec<H2Peer> =
        (0..GREEDY).map(|_| H2Peer::with_window(gateway.port(), site, 1 << 30)).collect();
    for peer in &mut peers {
        (0..STREAMS).for_each(|_| _ = peer.open_stream());
        peer.takes = false;
        peer.parts = 0;
    }
    for n in 1..=EXCUSED_FRAMES / 8 / STREAMS {
        gateway.say(&format!("{n}"));
        for peer in &mut peers {
            peer.until("each stream has it", |peer| peer.parts >= n * STREAMS);
        }
    }
    peers
}

// Everything at once that streams excuse, on several connections: read without a pause they would
// let one event through.
#[test]
fn events_come_between_the_frames_of_connections_that_send_without_a_pause() {
    let (site, gateway) = secure();
    let peers = excused(&gateway, &site);
    let mut honest = H2Peer::connect(gateway.port(), &site);
    let stream = honest.open_stream();
    let flood = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(EXCUSED_FRAMES);
    let busy = AtomicUsize::new(GREEDY);
    let mut events = 0;
    std::thread::scope(|scope| {
        for mut peer in peers {
            let (busy, flood) = (&busy, &flood);
            scope.spawn(move || {
                assert!(peer.try_send(flood));
                peer.settle();
                busy.fetch_sub(1, Ordering::Relaxed);
                assert_eq!((peer.goaway, peer.ended), (None, None));
            });
        }
        while busy.load(Ordering::Relaxed) == GREEDY {
            events += 1;
            let text = format!("event {events}.");
            gateway.say(&text);
            honest.until_text(stream, &format!("data: {text}\n\n"));
            honest.streams.values_mut().for_each(|got| got.data.clear());
        }
    });
    println!("{events} events until the first of {GREEDY} floods was read");
    assert!(events >= 4, "{events}");
}

// A hundred requests at a time, again and again, beside somebody who asks for one.
#[test]
fn a_connection_with_one_request_has_its_turn_beside_others_with_a_hundred() {
    let (site, gateway) = secure();
    let (is_over, greedy) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..GREEDY {
            scope.spawn(|| {
                let mut peer = H2Peer::connect(gateway.port(), &site);
                while !is_over.load(Ordering::Relaxed) {
                    let ids: Vec<u32> = (0..STREAMS).map(|_| peer.get("/healthz")).collect();
                    ids.iter().for_each(|id| assert_eq!(peer.answer(*id).0, 200));
                    greedy.fetch_add(STREAMS, Ordering::Relaxed);
                    peer.streams.clear();
                }
            });
        }
        let mut modest = H2Peer::connect(gateway.port(), &site);
        for _ in 0..30 {
            let id = modest.get("/healthz");
            assert_eq!(modest.answer(id).0, 200);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let of_others = greedy.load(Ordering::Relaxed);
    println!("30 answers beside {of_others}");
    // Two rounds of each of the others for one answer.
    assert!(of_others <= 30 * 2 * GREEDY * STREAMS, "{of_others}");
}
