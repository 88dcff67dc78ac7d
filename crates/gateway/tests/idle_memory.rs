//! What an idle stream keeps on the heap, counted where memory is asked for: neither the clock nor what the
//! kernel says of the process has a part in it. Alone in its process, whose allocations it counts.
//!
//! Not for what the allocator makes of that under attack: that is `memory`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::System;
use std::net::TcpStream;

use sse_gateway::Settings;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::footprint::{anonymous_memory, memory_of_each};
use support::peer::{GET, Peer};
use support::tokens::{bearer, token_of};
use support::{TestGateway, auth, eventually, settings};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Streams that are there before the others are counted, and those: together as many as fill the slab.
const FEW: usize = 24;
const MANY: usize = 1000;

/// Bytes and allocations of one that is nobody's, both a tenth above what was counted.
const OF_NOBODY: Held = Held { bytes: 353, pieces: 1.1 };

/// The same for one with a topic and a token, which names a user id, a name and a role.
const OF_SOMEBODY: Held = Held { bytes: 1310, pieces: 14.1 };

struct Held {
    bytes: usize,
    pieces: f64,
}

fn gateway() -> TestGateway {
    TestGateway::with(Settings { auth: auth(), max_connections: 20_000, ..settings() })
}

fn of_nobody(_: usize) -> String {
    GET.to_owned()
}

fn of_somebody(n: usize) -> String {
    let token = token_of(&format!("user-{n}"), &["reader"]);
    format!("GET /api/events/info?topic=orders HTTP/1.1\r\nHost: localhost\r\n{}\r\n", bearer(&token))
}

/// Opens streams that keep nothing on the client's side but their sockets.
fn open(
    gateway: &TestGateway,
    numbers: std::ops::Range<usize>,
    request: fn(usize) -> String,
) -> Vec<TcpStream> {
    let all = gateway.subscribers() + numbers.len() as u64;
    let mut sockets = Vec::with_capacity(numbers.len());
    for n in numbers {
        let mut peer = Peer::ask(gateway.port(), &request(n));
        assert!(peer.has_answer());
        sockets.push(peer.socket().try_clone().unwrap());
    }
    eventually("all are open", || gateway.subscribers() == all);
    sockets
}

/// What each of [`MANY`] streams holds.
fn held_by_each(request: fn(usize) -> String) -> Held {
    let gateway = gateway();
    let few = open(&gateway, 0..FEW, request);
    let before = ALLOCATOR.stats();
    let many = open(&gateway, FEW..FEW + MANY, request);
    let mut held = Held { bytes: usize::MAX, pieces: 0.0 };
    // What their connections had goes when their tasks end.
    let mut last = 0;
    eventually("nothing moves", || {
        let stats = ALLOCATOR.stats() - before;
        let bytes = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
        let pieces = stats.allocations.saturating_sub(stats.deallocations);
        held = Held { bytes: bytes / MANY, pieces: pieces as f64 / MANY as f64 };
        std::mem::replace(&mut last, bytes) == bytes
    });
    println!("{} bytes in {} pieces", held.bytes, held.pieces);
    drop((few, many));
    held
}

// One test, because each counts the allocations of all.
#[test]
fn an_idle_stream_holds_little_and_in_few_pieces() {
    for (request, most) in [(of_nobody as fn(usize) -> String, OF_NOBODY), (of_somebody, OF_SOMEBODY)] {
        let held = held_by_each(request);
        assert!(held.bytes <= most.bytes, "{} bytes", held.bytes);
        assert!(held.pieces <= most.pieces, "{} pieces", held.pieces);
    }
}

fn measure(request: fn(usize) -> String) {
    const THOUSANDS: usize = 9000;
    let gateway = gateway();
    drop(open(&gateway, 0..1, request));
    eventually("gone", || gateway.subscribers() == 0);
    let before = anonymous_memory();
    let streams = open(&gateway, 1..THOUSANDS + 1, request);
    println!("{} bytes of the process each", memory_of_each(before, THOUSANDS as u64));
    drop(streams);
}

// Run by hand, one at a time, because a process uses again what it has given back: `cargo test --release
// -p sse-gateway --test idle_memory -- --ignored --nocapture nobody`. Both ends of a stream are descriptors
// of this process.
#[test]
#[ignore = "a measurement"]
fn by_hand_measure_idle_streams_of_nobody() {
    measure(of_nobody);
}

#[test]
#[ignore = "a measurement"]
fn by_hand_measure_idle_streams_of_somebody() {
    measure(of_somebody);
}
