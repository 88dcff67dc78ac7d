//! What sockets and streams cost, against the formula of docs/limits.md. Alone in its process, whose memory
//! it measures.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use sse_gateway::Settings;
use support::footprint::{anonymous_memory, memory_of_each};
use support::peer::{Peer, Stream};
use support::tokens::{bearer, token_of};
use support::{TestGateway, auth, eventually, settings};

const MANY: u64 = 800;

/// Bytes of docs/limits.md, for one of each.
const SOCKET: u64 = 80 << 10;
const STREAM: u64 = 80 << 10;

/// Bytes by which each of [`MANY`] has grown since the beginning: what is free by now is used again.
fn each(what: &str, before: u64) -> u64 {
    let each = memory_of_each(before, MANY);
    println!("{what}: {each} bytes");
    each
}

// Floods of heads that are never finished, and of streams with all that a request can ask for.
#[test]
fn sockets_and_streams_take_no_more_than_the_formula_says() {
    let gateway = TestGateway::with(Settings { auth: auth(), ..settings() });
    let connections = |n: u64| eventually("connections", || gateway.count(|stats| &stats.connections) == n);

    let before = anonymous_memory();
    let silent: Vec<Peer> = (0..MANY).map(|_| Peer::connect(gateway.port())).collect();
    connections(MANY);
    assert!(each("silent", before) < SOCKET / 2);
    drop(silent);
    connections(0);

    // Nearly all that hyper takes before it gives up, in pieces.
    let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}", "x-a: b\r\n".repeat(90));
    let mut unfinished: Vec<Peer> = (0..MANY).map(|_| Peer::ask(gateway.port(), &head)).collect();
    for peer in &mut unfinished {
        peer.send(format!("x-long: {}", "y".repeat(30_000)).as_bytes());
    }
    connections(MANY);
    assert!(each("unfinished heads", before) < SOCKET);
    drop(unfinished);
    connections(0);

    let topics: Vec<String> = (0..30).map(|n| format!("topic={n:0>199}t")).collect();
    let roles: Vec<String> = (0..200).map(|n| format!("role-{n:0>20}")).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    let target = format!("/api/events/info?id={}&{}", "i".repeat(200), topics.join("&"));
    let streams: Vec<Stream> = (0..MANY)
        .map(|n| {
            let token = token_of(&format!("user-{n}"), &roles);
            Stream::get(gateway.port(), &target, &bearer(&token))
        })
        .collect();
    assert_eq!(gateway.subscribers(), MANY);
    assert!(each("streams", before) < STREAM);
    drop(streams);
}
