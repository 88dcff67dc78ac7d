//! What many connects over TLS cost those who listen, and what attackers cost the thread that serves. Alone
//! in its process, whose threads it measures.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use support::footprint::cpu_of_gateway;
use support::peer::{GET, Peer};
use support::tls::{Site, TlsPeer, VERSIONS, secure};
use support::{TestGateway, eventually};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Ten thousand a minute.
const PAUSE: Duration = Duration::from_millis(6);

/// Who connects beside the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guests {
    None,
    Plain,
    /// The first makes a full handshake, the others resume.
    WithTickets,
    WithoutTickets,
}

/// What a stream noticed of so many connects: the median and the 99th percentile of the delays of its events;
/// and how many connects there were, and the time of the gateway's thread for each.
struct Noticed {
    median: Duration,
    late: Duration,
    connects: u32,
    each: Duration,
}

fn beside(guests: Guests, time: Duration) -> Noticed {
    let site = Site::new();
    let is_tls = guests != Guests::Plain;
    let gateway = TestGateway::with(if is_tls { site.settings() } else { support::settings() });
    let port = gateway.port();
    let mut config = (*site.trust(&VERSIONS)).clone();
    if guests == Guests::WithoutTickets {
        config.resumption = Resumption::disabled();
    }
    let trust = Arc::new(config);
    let stop = AtomicBool::new(false);
    let (mut delays, mut connects) = (Vec::new(), 0);
    let noticed = std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            let (began, mut made) = (Instant::now(), 0);
            while !stop.load(Ordering::Relaxed) && guests != Guests::None {
                std::thread::sleep((began + PAUSE * made).saturating_duration_since(Instant::now()));
                if is_tls {
                    let (text, _) = TlsPeer::ask(port, &trust, HEALTH).rest();
                    assert!(text.contains("pass"), "{text}");
                } else {
                    Peer::ask(port, HEALTH).answer(true);
                }
                made += 1;
            }
            made
        });
        let mut read_one: Box<dyn FnMut(&str)> = if is_tls {
            let mut stream = TlsPeer::listen(port, &site.trust(&VERSIONS));
            Box::new(move |text| drop(stream.read_to(text)))
        } else {
            let mut stream = support::peer::Stream::ready(port);
            Box::new(move |_| drop(stream.next()))
        };
        let (began, before) = (Instant::now(), cpu_of_gateway());
        let mut number = 0;
        while began.elapsed() < time {
            let sent = Instant::now();
            gateway.say(&format!("event {number}"));
            read_one(&format!("data: event {number}\n\n"));
            delays.push(sent.elapsed());
            number += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        connects = connecting.join().unwrap();
        delays.sort_unstable();
        let each = (cpu_of_gateway() - before) / connects.max(1);
        let (median, late) = (delays[delays.len() / 2], delays[delays.len() * 99 / 100]);
        Noticed { median, late, connects, each }
    });
    // The next one's thread has the same name.
    gateway.stop(Duration::from_secs(1));
    noticed
}

#[test]
fn a_stream_gets_its_events_while_others_connect_over_tls() {
    for guests in [Guests::WithTickets, Guests::WithoutTickets] {
        let Noticed { late, connects, .. } = beside(guests, Duration::from_secs(2));
        assert!(connects > 10, "{guests:?}: {connects}");
        // On a busy machine, in a build without optimisation.
        assert!(late < Duration::from_secs(2), "{guests:?}: {late:?}");
    }
}

// Run by hand: `cargo test --release -p sse-gateway --test tls_load -- --ignored --nocapture --test-threads
// 1`
#[test]
#[ignore = "a measurement"]
fn by_hand_measure_events_beside_ten_thousand_connects_a_minute() {
    for round in 0..3 {
        for guests in [Guests::None, Guests::Plain, Guests::WithTickets, Guests::WithoutTickets] {
            let Noticed { median, late, connects, each } = beside(guests, Duration::from_secs(10));
            println!(
                "{round} {guests:?}: {connects} connects, {each:?} each; events {median:?}, p99 {late:?}"
            );
        }
    }
}

/// A record of one byte each, of a client that has only this to say.
fn byte_by_byte(peer: &mut TlsPeer, head: &str) {
    for byte in head.bytes() {
        // It may be closed by now.
        let _ = peer.tls.writer().write_all(&[byte]);
        while peer.tls.wants_write() && peer.tls.write_tls(&mut peer.tcp).is_ok() {}
    }
}

#[test]
#[ignore = "a measurement"]
fn by_hand_measure_what_attackers_cost_the_thread_that_serves() {
    type Attack = fn(&TestGateway, &Site);
    let (site, gateway) = secure();
    let attacks: [(&str, u32, Attack); 7] = [
        ("plain HTTP at the port", 200, |gateway, _| drop(Peer::ask(gateway.port(), GET).answer(true))),
        ("a handshake and its answer", 200, |gateway, site| {
            drop(TlsPeer::ask(gateway.port(), &site.trust(&VERSIONS), HEALTH).rest());
        }),
        ("a handshake aborted behind the hello", 200, |gateway, site| {
            let mut peer = TlsPeer::connect(gateway.port(), &site.trust(&VERSIONS));
            peer.flush();
            let _ = peer.tcp.read(&mut [0; 4096]);
        }),
        ("a hello byte by byte", 20, |gateway, site| {
            let mut peer = TlsPeer::connect(gateway.port(), &site.trust(&VERSIONS));
            let mut hello = Vec::new();
            peer.tls.write_tls(&mut hello).unwrap();
            hello.iter().for_each(|byte| peer.tcp.write_all(&[*byte]).unwrap());
        }),
        ("a head of 16,000 records", 20, |gateway, site| {
            let mut peer = TlsPeer::connect(gateway.port(), &site.trust(&VERSIONS));
            peer.shake();
            byte_by_byte(&mut peer, &format!("{}\r\nX: {}", GET.trim_end(), "x".repeat(16_000)));
        }),
        ("20,000 changes of keys", 20, |gateway, site| {
            let mut peer = TlsPeer::listen(gateway.port(), &site.trust(&[&rustls::version::TLS13]));
            for _ in 0..20_000 {
                let failed = peer.tls.refresh_traffic_keys().is_err();
                if failed || peer.tls.write_tls(&mut peer.tcp).is_err() {
                    break;
                }
            }
        }),
        ("a connection without a word", 200, |gateway, _| {
            drop(TcpStream::connect(("127.0.0.1", gateway.port())).unwrap());
        }),
    ];
    for (name, times, attack) in attacks {
        let before = cpu_of_gateway();
        (0..times).for_each(|_| attack(&gateway, &site));
        eventually("all are gone", || gateway.count(|stats| &stats.connections) == 0);
        println!("{name}: {:?} each", (cpu_of_gateway() - before) / times);
    }
}
