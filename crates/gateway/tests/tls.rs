//! Requests and streams over TLS that the gateway speaks itself (C1.6).
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_gateway::{Settings, TlsSettings};
use support::peer::{GET, Peer, Stream};
use support::tls::{Ended, Site, TlsPeer, VERSIONS, make, secure};
use support::{DEADLINE, TestGateway, config, eventually, raise, settings, within};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn answers_and_streams_come_over_both_versions_and_end_with_a_notice() {
    let (site, gateway) = secure();
    let mut peers = Vec::new();
    for version in VERSIONS {
        let trust = site.trust(&[version]);
        let mut peer = TlsPeer::ask(gateway.port(), &trust, HEALTH);
        peer.read_to("{\"status\":\"pass\"}");
        peer.send(GET.as_bytes());
        let head = peer.read_to("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("text/event-stream"), "{head}");
        peer.read_to("event: sse.ready\ndata: {}\n\n");
        assert_eq!(peer.tls.protocol_version(), Some(version.version));
        peers.push(peer);
    }
    gateway.say("hello");
    peers.iter_mut().for_each(|peer| drop(peer.read_to("data: hello\n\n")));
    assert_eq!(gateway.subscribers(), 2);
    gateway.say("last");
    gateway.stop(DEADLINE);
    for peer in peers {
        let (text, ended) = peer.rest();
        assert!(text.contains("data: last\n\n") && text.ends_with("0\r\n\r\n"), "{text:?}");
        assert_eq!(ended, Ended::Closed);
    }
}

#[test]
fn an_answer_that_closes_the_connection_ends_with_a_notice() {
    let (site, gateway) = secure();
    let request = "GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let (text, ended) = TlsPeer::ask(gateway.port(), &site.trust(&VERSIONS), request).rest();
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");
    assert_eq!(ended, Ended::Closed);
    // What hyper cannot read is answered by its side of the socket.
    let (text, ended) = TlsPeer::ask(gateway.port(), &site.trust(&VERSIONS), "nonsense\r\n\r\n").rest();
    assert!(text.starts_with("HTTP/1.1 400") && text.contains("problem+json"), "{text}");
    assert_eq!(ended, Ended::Closed);
}

#[test]
fn what_is_not_tls_gets_one_plain_400_that_says_so() {
    let (_site, gateway) = secure();
    let detail = Peer::ask(gateway.port(), GET).answer(true).problem(400);
    assert!(detail.contains("TLS") && detail.contains("https"), "{detail}");
    for junk in ["\0", "\u{15}\u{3}\u{3}", "SSH-2.0-x\r\n"] {
        let rest = String::from_utf8(Peer::ask(gateway.port(), junk).rest()).unwrap();
        assert_eq!(rest.matches("HTTP/1.1 400").count(), 1, "{junk:?}: {rest}");
    }
    eventually("all sockets are given back", || gateway.count(|stats| &stats.connections) == 0);
}

// Slow handshakes: a byte now and then, to hold a socket for ever.
#[test]
fn a_handshake_has_ten_seconds_however_its_bytes_come() {
    let (site, gateway) = secure();
    let before = Instant::now();
    let mut silent = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
    let mut slow = TlsPeer::connect(gateway.port(), &site.trust(&VERSIONS));
    let mut hello = Vec::new();
    slow.tls.write_tls(&mut hello).unwrap();
    let mut sent = 0;
    eventually("both are let in", || gateway.count(|stats| &stats.connections) == 2);
    within(DEADLINE, "both are closed", || {
        if sent < hello.len() - 1 && before.elapsed() > Duration::from_millis(20) * sent as u32 {
            // It may be closed by now.
            let _ = slow.tcp.write_all(&hello[sent..=sent]);
            sent += 1;
        }
        gateway.count(|stats| &stats.connections) == 0
    });
    assert!(before.elapsed() >= Duration::from_secs(9), "{:?}", before.elapsed());
    let _ = silent.write_all(b"x");
    // The head after a handshake has what is left of the ten seconds.
    let before = Instant::now();
    let mut late = TlsPeer::connect(gateway.port(), &site.trust(&VERSIONS));
    std::thread::sleep(Duration::from_secs(4));
    late.send(b"GET / HTTP/1.1\r\n");
    let (text, ended) = late.rest();
    assert!(text.starts_with("HTTP/1.1 408") && ended == Ended::Closed, "{text} {ended:?}");
    assert!(before.elapsed() < Duration::from_secs(13), "{:?}", before.elapsed());
}

// A handshake without end: records that never make a whole message.
#[test]
fn what_is_kept_of_an_unfinished_handshake_is_bounded() {
    let (_site, gateway) = secure();
    let mut peer = Peer::connect(gateway.port());
    // A message of 16 MB begins, in whole records.
    let mut record = vec![22, 3, 1, 0x20, 0, 1, 0xff, 0xff, 0xff];
    record.resize(5 + 0x2000, 0);
    for _ in 0..8 {
        let mut socket = peer.socket();
        if socket.write_all(&record).is_err() {
            break;
        }
        record[5..9].fill(0);
    }
    assert!(peer.has_answer(), "closed long before the ten seconds");
    eventually("the socket is given back", || gateway.count(|stats| &stats.connections) == 0);
}

#[test]
fn a_renewed_certificate_is_for_new_connections_and_cuts_no_stream() {
    let (site, gateway) = secure();
    let mut stream = TlsPeer::listen(gateway.port(), &site.trust(&VERSIONS));
    // Without a ticket: whoever has one is not shown any certificate.
    let old = site.trust(&VERSIONS);
    site.renew();
    let new = site.trust(&VERSIONS);
    // Seen without a reload, too.
    within(2 * DEADLINE, "the new certificate is shown", || is_taken(&gateway, &new));
    assert!(!is_taken(&gateway, &old), "the old one is not shown any more");
    gateway.say("still here");
    stream.read_to("data: still here\n\n");
    // A key that does not fit, then the whole pair.
    let before = gateway.log().len();
    make(&site.certificate().with_extension("other"), &site.key());
    gateway.gateway.apply(Arc::new(site.settings()));
    eventually("it is said", || gateway.log().len() > before);
    assert!(is_taken(&gateway, &new), "the pair before stays in use");
    let said = gateway.log()[before..].to_vec();
    assert!(said.len() == 1 && said[0].contains("it is not the key of the first certificate"), "{said:?}");
    site.renew();
    gateway.gateway.apply(Arc::new(site.settings()));
    assert!(is_taken(&gateway, &site.trust(&VERSIONS)));
    gateway.say("and here");
    stream.read_to("data: and here\n\n");
}

/// Whether a client that trusts this certificate alone gets an answer.
fn is_taken(gateway: &TestGateway, trust: &Arc<rustls::ClientConfig>) -> bool {
    let mut peer = TlsPeer::connect(gateway.port(), trust);
    let is_taken = peer.try_shake();
    if is_taken {
        peer.send(HEALTH.as_bytes());
        peer.read_to("pass");
    }
    is_taken
}

#[test]
fn nothing_listens_before_the_first_pair_can_be_used_and_then_it_does_by_itself() {
    let site = Site::new();
    std::fs::rename(site.key(), site.certificate().with_extension("away")).unwrap();
    let gateway = TestGateway::start(config(), site.settings());
    gateway.gateway.set_routes(support::routes(&[("events", "@sse")]), 1);
    eventually("it is said", || gateway.log().iter().any(|line| line.contains("nothing listens until")));
    assert_eq!(gateway.port(), 0);
    std::fs::rename(site.certificate().with_extension("away"), site.key()).unwrap();
    within(2 * DEADLINE, "listening", || gateway.port() != 0);
    assert!(is_taken(&gateway, &site.trust(&VERSIONS)));
    eventually("it is said", || gateway.log().len() == 2);
}

#[test]
fn a_reload_leads_from_plain_http_to_tls_and_back_and_cuts_no_stream() {
    let site = Site::new();
    let gateway = TestGateway::new();
    let mut plain = Stream::ready(gateway.port());
    let only_one = TlsSettings { private_key_file: None, ..site.tls() };
    gateway.gateway.apply(Arc::new(Settings { tls: only_one, ..settings() }));
    Peer::ask(gateway.port(), HEALTH).head();
    eventually("it is said", || {
        gateway.log().iter().any(|line| line.contains("connections go on in plain HTTP"))
    });
    gateway.gateway.apply(Arc::new(site.settings()));
    let mut tls = TlsPeer::listen(gateway.port(), &site.trust(&VERSIONS));
    gateway.say("to both");
    assert_eq!(plain.take(1), ["to both"]);
    tls.read_to("data: to both\n\n");
    gateway.gateway.apply(Arc::new(settings()));
    Peer::ask(gateway.port(), HEALTH).head();
    gateway.say("again");
    assert_eq!(plain.take(1), ["again"]);
    tls.read_to("data: again\n\n");
}

#[test]
fn a_stream_goes_on_when_its_client_updates_its_keys() {
    let (site, gateway) = secure();
    let mut stream = TlsPeer::listen(gateway.port(), &site.trust(&VERSIONS));
    for n in 0..20 {
        stream.tls.refresh_traffic_keys().unwrap();
        stream.flush();
        gateway.say(&format!("event {n}"));
        stream.read_to(&format!("data: event {n}\n\n"));
    }
}

#[test]
fn a_stream_ends_when_its_client_says_its_end_or_just_hangs_up() {
    let (site, gateway) = secure();
    for says in [true, false] {
        let mut stream = TlsPeer::listen(gateway.port(), &site.trust(&VERSIONS));
        assert_eq!(gateway.subscribers(), 1);
        if says {
            stream.tls.send_close_notify();
            stream.flush();
        } else {
            stream.hang_up();
        }
        eventually("it is gone", || gateway.subscribers() == 0);
    }
}

// A subscriber that sends: bytes that make no whole record, records without end.
#[test]
fn a_stream_whose_client_keeps_sending_is_closed() {
    let (site, gateway) = secure();
    let mut stream = TlsPeer::listen(gateway.port(), &site.trust(&VERSIONS));
    stream.send(&[b'x'; 500]);
    gateway.say("some bytes do no harm");
    stream.read_to("do no harm\n\n");
    // Most of a record, and nothing more.
    let mut record = vec![23, 3, 3, 0x20, 0];
    record.resize(1500, 0);
    stream.tcp.write_all(&record).unwrap();
    eventually("it is gone", || gateway.subscribers() == 0);
    let mut stream = TlsPeer::listen(gateway.port(), &site.trust(&VERSIONS));
    while gateway.subscribers() > 0 {
        let _ = stream.tls.writer().write_all(&[b'x'; 900]);
        while stream.tls.wants_write() && stream.tls.write_tls(&mut stream.tcp).is_ok() {}
    }
    eventually("it is counted", || gateway.count(|stats| &stats.junk_total) == 1);
}

#[test]
fn who_comes_back_gets_what_it_has_missed() {
    let (site, gateway) = secure();
    let trust = site.trust(&VERSIONS);
    let mut stream = TlsPeer::listen(gateway.port(), &trust);
    gateway.say("one");
    let block = stream.read_to("data: one\n\n");
    let id = block.rsplit("id: ").next().unwrap().lines().next().unwrap().to_owned();
    drop(stream);
    gateway.say("two");
    let request = GET.replace("\r\n\r\n", &format!("\r\nLast-Event-ID: {id}\r\n\r\n"));
    let mut stream = TlsPeer::ask(gateway.port(), &trust, &request);
    let text = stream.read_to("data: two\n\n");
    assert!(!text.contains("data: one") && !text.contains("sse.gap"), "{text}");
    assert_eq!(stream.tls.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}

#[test]
fn large_events_are_whole_for_readers_of_any_pace() {
    let (site, gateway) = secure();
    for version in VERSIONS {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], gateway.port())).into()).unwrap();
        let mut slow = TlsPeer::over(socket.into(), &site.trust(&[version]));
        slow.send(GET.as_bytes());
        slow.read_to("sse.ready");
        let text = |n: usize| format!("{n}:{}", format!("{n:05}").repeat(30_000));
        for n in 0..6 {
            gateway.publish(&[raise(text(n)), raise(format!("after {n}"))]);
        }
        for n in 0..6 {
            let read = slow.read_to(&format!("data: after {n}\n\n"));
            // After the chunks' own bytes.
            assert!(read.contains(&format!("data: {}\n", text(n))), "{n}: {} bytes", read.len());
        }
    }
}

#[test]
fn a_client_that_has_said_its_end_still_gets_its_answer() {
    let (site, gateway) = secure();
    for hangs_up in [false, true] {
        let mut peer = TlsPeer::connect(gateway.port(), &site.trust(&VERSIONS));
        peer.shake();
        peer.send(HEALTH.as_bytes());
        peer.tls.send_close_notify();
        peer.flush();
        if hangs_up {
            peer.hang_up();
        }
        let (text, ended) = peer.rest();
        assert!(text.ends_with("{\"status\":\"pass\"}") && ended == Ended::Closed, "{text} {ended:?}");
    }
}

/// A gateway with a file of 8 MB, and what is in it.
fn with_file(site: &Site, write_timeout: Duration) -> (TestGateway, tempfile::TempDir, String) {
    let (keep, root) = support::folder();
    let content: String = (0..1_000_000).map(|n| format!("{n:07} ")).collect();
    std::fs::write(root.join("large.txt"), &content).unwrap();
    let settings = Settings { static_root: Some(root), write_timeout, ..site.settings() };
    (TestGateway::with(settings), keep, content)
}

const LARGE: &str = "GET /large.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_large_answer_comes_whole() {
    let site = Site::new();
    let (gateway, _keep, content) = with_file(&site, 2 * DEADLINE);
    for version in VERSIONS {
        let mut peer = TlsPeer::ask(gateway.port(), &site.trust(&[version]), LARGE);
        peer.read_to("\r\n\r\n");
        assert!(peer.read_to("0999999 ") == content);
        peer.send(HEALTH.as_bytes());
        peer.read_to("pass");
    }
}

// Slow readers: an answer, and a stream, of which nothing is taken.
#[test]
fn what_a_client_does_not_take_is_cut_off() {
    let site = Site::new();
    let (gateway, _keep, _) = with_file(&site, Duration::from_secs(1));
    let trust = site.trust(&VERSIONS);
    let mut answer = TlsPeer::ask(gateway.port(), &trust, LARGE);
    answer.read_to("\r\n\r\n");
    let _stream = TlsPeer::listen(gateway.port(), &trust);
    assert_eq!(gateway.subscribers(), 1);
    for _ in 0..100 {
        gateway.publish(&[raise("x".repeat(100_000))]);
    }
    eventually("the stream is given up", || gateway.subscribers() == 0);
    eventually("it is counted", || gateway.count(|stats| &stats.write_timeouts_total) == 1);
    eventually("and the answer", || gateway.count(|stats| &stats.connections) == 0);
}
