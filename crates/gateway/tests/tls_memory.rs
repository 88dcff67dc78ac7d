//! What a stream over TLS costs beside a plain one: bytes while it is idle and while its reader stalls, and
//! time of the processor for each delivery. Alone in its process, whose memory and time it measures.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpStream;
use std::time::Duration;

use sse_gateway::Settings;
use support::footprint::{anonymous_memory, memory_of_each, stall, times_of_delivery};
use support::peer::{GET, Peer};
use support::tls::{Site, TlsPeer, VERSIONS};
use support::{TestGateway, eventually, settings};

const MANY: u64 = 600;

/// Bytes of docs/limits.md for a stream over TLS that is idle, beside one without.
const IDLE: u64 = 12 << 10;

/// And for one whose reader has stalled, beside that: one record, and what the allocator adds.
const STALLED: u64 = 24 << 10;

/// Sockets whose handshake and request are done: what the client's side keeps is dropped.
fn tls_streams(gateway: &TestGateway, site: &Site, many: u64) -> Vec<TcpStream> {
    let trust = site.trust(&VERSIONS);
    let open = |_| TlsPeer::listen(gateway.port(), &trust).tcp;
    (0..many).map(open).collect()
}

fn plain_streams(gateway: &TestGateway, many: u64) -> Vec<TcpStream> {
    let open = |_| {
        let mut peer = Peer::ask(gateway.port(), GET);
        assert!(peer.has_answer());
        peer.socket().try_clone().unwrap()
    };
    (0..many).map(open).collect()
}

#[test]
fn an_idle_stream_over_tls_and_a_stalled_one_keep_little() {
    let site = Site::new();
    let settings =
        Settings { window_size: 1 << 20, write_timeout: Duration::from_secs(600), ..site.settings() };
    let gateway = TestGateway::with(settings);
    // So that what a thread needs once is there.
    drop(tls_streams(&gateway, &site, 1));
    eventually("gone", || gateway.subscribers() == 0);
    let before = anonymous_memory();
    let streams = tls_streams(&gateway, &site, MANY);
    eventually("all are open", || gateway.subscribers() == MANY);
    let idle = memory_of_each(before, MANY);
    println!("idle over TLS: {idle} bytes");
    assert!(idle < IDLE, "{idle}");
    // Nobody reads: the sockets fill, then the records, then the window passes by.
    stall(&gateway);
    let stalled = memory_of_each(before, MANY).saturating_sub(idle);
    println!("stalled, beside that: {stalled} bytes");
    assert!(stalled < STALLED, "{stalled}");
    drop(streams);
}

// Run by hand: `cargo test --release -p sse-gateway --test tls_memory -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn by_hand_measure_memory_and_time_beside_plain_streams() {
    for round in 0..3 {
        for is_tls in [false, true] {
            let site = Site::new();
            let gateway = TestGateway::with(if is_tls { site.settings() } else { settings() });
            let open = |many| {
                if is_tls { tls_streams(&gateway, &site, many) } else { plain_streams(&gateway, many) }
            };
            drop(open(1));
            eventually("gone", || gateway.subscribers() == 0);
            let before = anonymous_memory();
            let streams = open(MANY);
            eventually("all are open", || gateway.subscribers() == MANY);
            let memory = memory_of_each(before, MANY);
            let times = times_of_delivery(&gateway, &streams, MANY);
            println!("{round} tls {is_tls}: {memory} bytes; {times}");
        }
    }
}
