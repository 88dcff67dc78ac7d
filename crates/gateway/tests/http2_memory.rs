//! What a stream over HTTP/2 costs beside one over HTTP/1.1: bytes while it is idle, alone on its connection
//! and with nine others, and while its reader stalls; time of the processor for each delivery. Alone in its
//! process, whose memory and time it measures.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpStream;
use std::time::Duration;

use sse_gateway::{Settings, TlsSettings};
use support::footprint::{anonymous_memory, memory_of_each, stall, times_of_delivery};
use support::h2::H2Peer;
use support::peer::{GET, Peer};
use support::tls::{Site, TlsPeer, VERSIONS};
use support::{TestGateway, eventually, settings};

/// Not more: they must all be open before the first has been silent for so long that it is given up.
const MANY: u64 = 300;

/// Streams of a connection that is shared.
const SHARING: u64 = 10;

/// Bytes of docs/limits.md for an idle stream with a connection of its own, and for one with a tenth of one.
const ALONE: u64 = 64 << 10;
const SHARED: u64 = 12 << 10;

/// And for one whose reader has stalled, beside that: three pieces, and what the allocator adds.
const STALLED: u64 = 60 << 10;

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
            Self::Tls => TlsPeer::listen(gateway.port(), &trust).tcp,
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
        let idle = memory_of_each(before, MANY);
        println!("idle, {kind:?}: {idle} bytes");
        assert!(idle < limit, "{kind:?}: {idle}");
        // Nobody reads: the sockets fill, then the buffers of the connection, then the pipes.
        stall(&gateway);
        let stalled = memory_of_each(before, MANY).saturating_sub(idle);
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
            let memory = memory_of_each(before, MANY);
            let times = times_of_delivery(&gateway, &streams, MANY);
            println!("{round} {kind:?}: {memory} bytes; {times}");
        }
    }
}
