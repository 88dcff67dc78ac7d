//! What an idle stream keeps on the heap, counted where memory is asked for: neither the clock nor what the
//! kernel says of the process has a part in it. Alone in its process, whose allocations it counts.
//!
//! Not for what the allocator makes of that: that is `memory`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::System;
use std::net::TcpStream;
use std::time::Duration;

use sse_gateway::Settings;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::footprint::{anonymous_memory, memory_of_each};
use support::peer::{GET, Peer};
use support::tokens::{bearer, token_of};
use support::{TestGateway, auth, eventually, settings};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is held: bytes, and pieces.
fn held() -> (usize, usize) {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated - stats.bytes_deallocated, stats.allocations - stats.deallocations)
}

fn gateway() -> TestGateway {
    TestGateway::with(Settings { auth: auth(), max_connections: 20_000, ..settings() })
}

fn open(gateway: &TestGateway, many: usize, request: impl Fn(usize) -> String) -> Vec<TcpStream> {
    let mut sockets = Vec::with_capacity(many);
    for n in 0..many {
        let mut peer = Peer::ask(gateway.port(), &request(n));
        assert!(peer.has_answer());
        sockets.push(peer.socket().try_clone().unwrap());
    }
    sockets
}

fn signed_in(n: usize) -> String {
    let token = token_of(&format!("user-{n}"), &["reader"]);
    format!("GET /api/events/info?topic=orders HTTP/1.1\r\nHost: localhost\r\n{}\r\n", bearer(&token))
}

#[test]
fn by_hand_measure() {
    let many = std::env::var("MANY").map_or(1000, |many| many.parse().unwrap());
    let gateway = gateway();
    drop(open(&gateway, 10, |_| GET.to_owned()));
    eventually("gone", || gateway.subscribers() == 0);
    let rss = anonymous_memory();
    let before = held();
    let streams =
        open(&gateway, many, |n| if std::env::var("SIGNED").is_ok() { signed_in(n) } else { GET.to_owned() });
    eventually("all are open", || gateway.subscribers() == many as u64);
    std::thread::sleep(Duration::from_secs(2));
    let after = held();
    println!(
        "rss {} bytes {} pieces {}",
        memory_of_each(rss, many as u64),
        (after.0 - before.0) as f64 / many as f64,
        (after.1 - before.1) as f64 / many as f64
    );
    drop(streams);
}
