//! What a stream over TLS costs beside a plain one: bytes while it is idle and while its reader stalls, and
//! time of the processor for each delivery. Alone in its process, whose memory and time it measures.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpStream;
use std::time::Duration;

use sse_gateway::Settings;
use support::peer::{GET, Peer};
use support::tls::{Site, TlsPeer, VERSIONS};
use support::{TestGateway, eventually, raise, settings, within};

const MANY: u64 = 600;

/// Bytes of docs/limits.md for a stream over TLS that is idle, beside one without.
const IDLE: u64 = 12 << 10;

/// And for one whose reader has stalled, beside that: one record, and what the allocator adds.
const STALLED: u64 = 24 << 10;

fn anonymous_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Of the thread that serves, in nanoseconds.
fn cpu_of_gateway() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let serves = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("sse-gateway-0"))
    };
    let task = tasks.into_iter().find(serves).unwrap();
    let schedule = std::fs::read_to_string(task.join("schedstat")).unwrap();
    schedule.split_whitespace().next().unwrap().parse().unwrap()
}

/// Sockets whose handshake and request are done: what the client's side keeps is dropped.
fn tls_streams(gateway: &TestGateway, site: &Site, many: u64) -> Vec<TcpStream> {
    let trust = site.trust(&VERSIONS);
    let open = |_| {
        let mut peer = TlsPeer::ask(gateway.port(), &trust, GET);
        peer.read_to("sse.ready");
        peer.tcp
    };
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

fn empty(sockets: &[TcpStream]) {
    let mut space = [0; 64 << 10];
    for socket in sockets {
        socket.set_nonblocking(true).unwrap();
        while std::io::Read::read(&mut &*socket, &mut space).is_ok_and(|n| n > 0) {}
    }
}

fn each(before: u64) -> u64 {
    anonymous_memory().saturating_sub(before) / MANY
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
    let idle = each(before);
    println!("idle over TLS: {idle} bytes");
    assert!(idle < IDLE, "{idle}");
    // Nobody reads: the sockets fill, then the records, then the window passes by.
    let text = "x".repeat(100_000);
    for _ in 0..40 {
        gateway.publish(&[raise(text.clone())]);
    }
    let delivered = || gateway.count(|stats| &stats.bytes_total);
    let mut last = 0;
    within(Duration::from_secs(60), "all have stalled", || {
        std::thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut last, delivered()) == delivered()
    });
    let stalled = each(before).saturating_sub(idle);
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
            let memory = each(before);
            let mut times = Vec::new();
            for (events, bytes) in [(1, 200), (20, 200), (1, 16_000)] {
                let (begin, sent) = (cpu_of_gateway(), gateway.count(|stats| &stats.deliveries_total));
                let rounds = 200 / events;
                for n in 0..rounds {
                    gateway.publish(&vec![raise("x".repeat(bytes)); events as usize]);
                    let due = sent + (n + 1) * events * MANY;
                    eventually("delivered", || gateway.count(|stats| &stats.deliveries_total) >= due);
                    empty(&streams);
                }
                let taken = (cpu_of_gateway() - begin) as f64 / 1000.0 / (rounds * events * MANY) as f64;
                times.push(format!("{taken:.2} us for {bytes} B, {events} at a time"));
            }
            println!("{round} tls {is_tls}: {memory} bytes; {}", times.join("; "));
        }
    }
}
