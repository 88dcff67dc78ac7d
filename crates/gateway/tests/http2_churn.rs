//! Thousands of connections and streams over HTTP/2 that come and go: memory and descriptors come back. Alone
//! in its process, whose memory and descriptors it counts.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use support::footprint::anonymous_memory;
use support::h2::{CANCEL, END_HEADERS, END_STREAM, H2Peer, HEADERS, RST_STREAM, STREAM, frame, head};
use support::tls::{Site, secure};
use support::{TestGateway, all_gone, eventually};

/// What the allocator may keep of one round and another not, in bytes: a hundred for each stream that came
/// and went.
const SLACK: u64 = 2 << 20;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Connections with streams, all at once; each goes in one of four ways.
fn come_and_go(gateway: &TestGateway, site: &Site, connections: usize, streams: usize) {
    let mut peers: Vec<(H2Peer, Vec<u32>)> = (0..connections)
        .map(|_| {
            let mut peer = H2Peer::connect(gateway.port(), site);
            let ids: Vec<u32> = (0..streams).map(|_| peer.get(STREAM)).collect();
            (peer, ids)
        })
        .collect();
    for (peer, ids) in &mut peers {
        ids.iter().for_each(|id| peer.until_text(*id, "sse.ready"));
    }
    gateway.say(&"x".repeat(1_000));
    for (n, (mut peer, ids)) in peers.into_iter().enumerate() {
        match n % 4 {
            0 => {
                let resets = ids.iter().flat_map(|id| frame(RST_STREAM, 0, *id, &CANCEL.to_be_bytes()));
                peer.send(&resets.collect::<Vec<u8>>());
            }
            1 => peer.peer.hang_up(),
            // DATA on stream 0 is an error of the connection.
            2 => drop(peer.try_send(&frame(0, 0, 0, b"x"))),
            _ => {}
        }
    }
    all_gone(gateway);
    eventually("all are counted out", || gateway.subscribers() == 0);
}

/// One connection on which streams are opened and taken back one after the other, and requests answered.
fn come_and_go_on_one(gateway: &TestGateway, site: &Site, streams: usize) {
    let mut peer = H2Peer::connect(gateway.port(), site);
    for _ in 0..streams / 50 {
        let ids: Vec<u32> = (0..50).map(|_| peer.get(STREAM)).collect();
        ids.iter().for_each(|id| peer.until_text(*id, "sse.ready"));
        let health = peer.get("/healthz");
        peer.answer(health);
        for id in &ids {
            peer.send(&frame(RST_STREAM, 0, *id, &CANCEL.to_be_bytes()));
        }
        eventually("taken back", || gateway.subscribers() == 0);
        peer.streams.clear();
    }
    // And some that are taken back before anybody has looked at them.
    for _ in 0..10 {
        let id = peer.next_id();
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, id, &head("GET", STREAM, &[]));
        both.extend(frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
        peer.send(&both);
    }
    peer.settle();
    assert_eq!((peer.goaway, peer.ended), (None, None));
    drop(peer);
    all_gone(gateway);
}

#[test]
fn thousands_of_connections_and_streams_leave_nothing_behind() {
    let (site, gateway) = secure();
    let round = || {
        come_and_go(&gateway, &site, 12, 100);
        come_and_go(&gateway, &site, 200, 1);
        come_and_go_on_one(&gateway, &site, 500);
    };
    // What the process needs once, and what its allocator keeps.
    (0..3).for_each(|_| round());
    let (memory, open) = (anonymous_memory(), descriptors());
    (0..12).for_each(|_| round());
    let grown = anonymous_memory().saturating_sub(memory);
    println!("grown by {grown} bytes, {} descriptors before, {} after", open, descriptors());
    assert!(grown < SLACK, "{grown} bytes more");
    assert_eq!(descriptors(), open);
    let stats = [gateway.subscribers(), gateway.count(|stats| &stats.connections)];
    assert_eq!(stats, [0, 0]);
}
