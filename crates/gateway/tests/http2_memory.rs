//! What a stream over HTTP/2 costs beside one over HTTP/1.1: bytes while it is idle, alone on its connection
//! and with nine others, and while its reader stalls; time of the processor for each delivery. Alone in its
//! process, whose memory and time it measures.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpStream;
use std::time::Duration;

use sse_gateway::{Settings, TlsSettings};
use support::h2::H2Peer;
use support::peer::{GET, Peer};
use support::tls::{Site, TlsPeer, VERSIONS};
use support::{TestGateway, eventually, raise, settings, within};

/// Not more: they must all be open before the first has been silent for so long that it is given up.
const MANY: u64 = 300;

/// Streams of a connection that is shared.
const SHARING: u64 = 10;

/// Bytes of docs/limits.md for an idle stream with a connection of its own, and for one with a tenth of one.
const ALONE: u64 = 64 << 10;
const SHARED: u64 = 12 << 10;

/// And for one whose reader has stalled, beside that: three pieces, and what the allocator adds.
const STALLED: u64 = 60 << 10;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Tls,
    Http2,
    /// Ten on a connection.
    Shared,
}

impl Kind {
    /// Sockets of open streams: what the client's side keeps is dropped. It takes as much as is sent.
    fn open(self, gateway: &TestGateway, site: &Site, streams: u64) -> Vec<TcpStream> {
        let trust = site.trust(&VERSIONS);
        let share = if self == Self::Shared { SHARING } else { 1 };
        let open = |_| match self {
            Self::Plain => {
                let mut peer = Peer::ask(gateway.port(), GET);
                assert!(peer.has_answer());
                peer.socket().try_clone().unwrap()
            }
            Self::Tls => {
                let mut peer = TlsPeer::ask(gateway.port(), &trust, GET);
                peer.read_to("sse.ready");
                peer.tcp
            }
            Self::Http2 | Self::Shared => {
                let mut peer = H2Peer::with_window(gateway.port(), site, 1 << 30);
                for _ in 0..share {
                    peer.open_stream();
                }
                peer.peer.tcp
            }
        };
        (0..streams.div_ceil(share)).map(open).collect()
    }

    fn gateway(self, site: &Site) -> TestGateway {
        let is_http2 = matches!(self, Self::Http2 | Self::Shared);
        let tls = TlsSettings { http2: is_http2, ..site.tls() };
        let settings = if self == Self::Plain { settings() } else { Settings { tls, ..settings() } };
        TestGateway::with(settings)
    }
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
fn idle_streams_over_http2_and_stalled_ones_keep_little() {
    for (kind, limit) in [(Kind::Http2, ALONE), (Kind::Shared, SHARED)] {
        let site = Site::new();
        let settings =
            Settings { window_size: 1 << 20, write_timeout: Duration::from_secs(600), ..site.settings() };
        let gateway = TestGateway::with(settings);
        // So that what a thread needs once is there.
        drop(kind.open(&gateway, &site, 1));
        eventually("gone", || gateway.subscribers() == 0);
        let before = anonymous_memory();
        let streams = kind.open(&gateway, &site, MANY);
        eventually("all are open", || gateway.subscribers() == MANY);
        let idle = each(before);
        println!("idle, {kind:?}: {idle} bytes");
        assert!(idle < limit, "{kind:?}: {idle}");
        // Nobody reads: the sockets fill, then the buffers of the connection, then the pipes.
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
        println!("stalled, beside that, {kind:?}: {stalled} bytes");
        assert!(stalled < STALLED, "{kind:?}: {stalled}");
        drop(streams);
    }
}

// Run by hand: `cargo test --release -p sse-gateway --test http2_memory -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn by_hand_measure_memory_and_time_beside_http_1() {
    for round in 0..3 {
        for kind in [Kind::Plain, Kind::Tls, Kind::Http2, Kind::Shared] {
            let site = Site::new();
            let gateway = kind.gateway(&site);
            drop(kind.open(&gateway, &site, 1));
            eventually("gone", || gateway.subscribers() == 0);
            let before = anonymous_memory();
            let streams = kind.open(&gateway, &site, MANY);
            eventually("all are open", || gateway.subscribers() == MANY);
            let memory = each(before);
            let mut times = Vec::new();
            for (events, bytes) in [(1, 200), (20, 200), (1, 16_000)] {
                let (begin, sent) = (cpu_of_gateway(), gateway.count(|stats| &stats.deliveries_total));
                let rounds = 200 / events;
                for n in 0..rounds {
                    // Each has other bytes: what is the same in all of them is shared.
                    let text = format!("{n} {}", "x".repeat(bytes));
                    gateway.publish(&vec![raise(text); events as usize]);
                    let due = sent + (n + 1) * events * MANY;
                    eventually("delivered", || {
                        empty(&streams);
                        gateway.count(|stats| &stats.deliveries_total) >= due
                    });
                }
                let taken = (cpu_of_gateway() - begin) as f64 / 1000.0 / (rounds * events * MANY) as f64;
                times.push(format!("{taken:.2} us for {bytes} B, {events} at a time"));
            }
            println!("{round} {kind:?}: {memory} bytes; {}", times.join("; "));
        }
    }
}
