//! Floods over HTTP/2: the worst that comes of one is the end of its own connection.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::h2::{
    CANCEL, CONTINUATION, END_HEADERS, END_STREAM, H2Peer, HEADERS, PING, RST_STREAM, SETTINGS, STREAM,
    WINDOW_UPDATE, fields, frame, head,
};
use support::tls::secure;
use support::{DEADLINE, TestGateway, eventually};

/// How long the slowest of some events took to an honest stream on another connection.
fn slowest_event(gateway: &TestGateway, honest: &mut H2Peer, id: u32, tag: &str) -> Duration {
    (0..20)
        .map(|n| {
            let before = Instant::now();
            let text = format!("{tag} {n}.");
            gateway.say(&text);
            honest.until_text(id, &format!("data: {text}\n\n"));
            std::thread::sleep(Duration::from_millis(5));
            before.elapsed()
        })
        .max()
        .unwrap()
}

type Flood = (&'static str, fn(&mut H2Peer) -> Vec<u8>);

// Floods: rapid reset, PING, SETTINGS, empty DATA, CONTINUATION without end, resets, bombs of HPACK.
// Long because it is one list of floods.
#[test]
fn a_flood_ends_its_own_connection_and_delays_no_event_of_others() {
    let floods: [Flood; 9] = [
        ("made you reset", |peer| {
            let mut bytes = Vec::new();
            for _ in 0..100 {
                let id = peer.next_id();
                bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &head("GET", STREAM, &[])));
                // Windows are not raised by nothing: an error of the stream, which we reset.
                bytes.extend(frame(8, 0, id, &0_u32.to_be_bytes()));
            }
            bytes
        }),
        ("rapid reset", |peer| {
            let mut bytes = Vec::new();
            for _ in 0..200 {
                let id = peer.next_id();
                bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &head("GET", STREAM, &[])));
                bytes.extend(frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
            }
            bytes
        }),
        ("streams without end", |peer| {
            let head = head("POST", "/nothing", &[]);
            (0..200).flat_map(|_| frame(HEADERS, END_HEADERS, peer.next_id(), &head)).collect()
        }),
        ("ping", |_| frame(PING, 0, 0, &[0; 8]).repeat(500)),
        ("settings", |_| frame(SETTINGS, 0, 0, &[]).repeat(500)),
        ("window updates", |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(500)),
        ("unknown frames", |_| frame(99, 0, 0, &[]).repeat(500)),
        ("continuation", |peer| {
            let mut bytes = frame(HEADERS, 0, peer.next_id(), &head("GET", STREAM, &[]));
            bytes.extend(frame(CONTINUATION, 0, 1, &fields([("x", "y")])).repeat(1500));
            bytes
        }),
        ("an HPACK bomb", |peer| {
            // One field of 4 kB into the table, then references to it: one byte each.
            let mut block = head("GET", STREAM, &[]);
            block.extend([0x40, 1, b'x', 0x7f, 0x80 + (3900 - 127) as u8 % 128, ((3900 - 127) / 128) as u8]);
            block.extend([b'y'; 3900]);
            block.extend([0x80 + 62; 4000]);
            let id = peer.next_id();
            frame(HEADERS, END_HEADERS | END_STREAM, id, &block)
        }),
    ];
    let (site, gateway) = secure();
    let mut honest = H2Peer::connect(gateway.port(), &site);
    let id = honest.open_stream();
    for (name, make) in floods {
        let mut attacker = H2Peer::connect(gateway.port(), &site);
        attacker.peer.tcp.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let until = Instant::now() + DEADLINE;
        let mut slowest = Duration::ZERO;
        let mut refused = false;
        let mut rounds = 0;
        while Instant::now() < until && !refused {
            rounds += 1;
            let bytes = make(&mut attacker);
            let sent = attacker.try_send(&bytes);
            slowest = slowest.max(slowest_event(&gateway, &mut honest, id, name));
            attacker.pump();
            // The bomb may be answered, each time with the same refusal.
            let answered = attacker.streams.values().any(|got| got.status == Some(431));
            refused = !sent || attacker.goaway.is_some() || attacker.ended.is_some() || answered;
        }
        println!("{name}: goaway {:?}, slowest event {slowest:?}", attacker.goaway);
        // A thousand frames at once, and what a slow machine's seconds allow.
        assert!(refused && rounds <= 10, "{name}: {rounds} rounds");
        assert!(slowest < Duration::from_secs(1), "{name}: {slowest:?}");
        drop(attacker);
    }
    eventually("one is left", || gateway.count(|stats| &stats.connections) == 1);
    assert_eq!(gateway.subscribers(), 1);
}
