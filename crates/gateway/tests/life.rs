//! Binding, limits of connections, peers that behave badly, and the end.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_gateway::{Batch, Config, Settings};
use support::peer::{End, GET, Peer, Stream, get};
use support::{TestGateway, config, eventually, folder, raise, routes, settings};

#[test]
fn every_kind_of_address_is_listened_on_at_one_port() {
    let addresses = vec![" 127.0.0.1".to_owned(), "::1".to_owned(), "localhost ".to_owned(), String::new()];
    let gateway = TestGateway::configured(Config { listen_addresses: addresses, ..config() }, settings());
    for address in ["127.0.0.1", "::1"] {
        let mut socket = std::net::TcpStream::connect((address, gateway.port())).unwrap();
        socket.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 OK") || answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
}

// SO_REUSEPORT would let a second process of the same user take over a share of our connections.
#[test]
fn nobody_else_can_listen_on_the_same_port() {
    let gateway = TestGateway::configured(Config { threads: 2, ..config() }, settings());
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], gateway.port()).into();
    assert!(socket.bind(&address.into()).is_err());
}

#[test]
fn streams_beyond_the_limit_get_503_and_room_comes_back() {
    let gateway = TestGateway::with(Settings { max_connections: 3, ..settings() });
    let mut streams: Vec<Stream> = (0..3).map(|_| Stream::ready(gateway.port())).collect();
    let refused = get(gateway.port(), "/api/events/info");
    refused.problem(503);
    assert!(!refused.head.header("retry-after").is_empty());
    assert_eq!(get(gateway.port(), "/healthz").head.status, 200);
    streams.pop();
    eventually("room", || gateway.subscribers() == 2);
    Stream::ready(gateway.port());
    assert_eq!(gateway.count(|stats| &stats.refused_total), 1);
    eventually("said", || gateway.log().iter().any(|line| line.contains("sse.max_connections = 3")));
}

#[test]
fn a_hang_up_is_noticed_at_once_in_every_form() {
    let gateway = TestGateway::new();
    for form in ["close", "half", "reset", "junk then close"] {
        let stream = Stream::ready(gateway.port());
        assert_eq!(gateway.subscribers(), 1);
        let began = Instant::now();
        match form {
            "half" => stream.socket().shutdown(Shutdown::Write).unwrap(),
            "reset" => {
                socket2::SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO)).unwrap();
                drop(stream);
            }
            "junk then close" => {
                stream.send(b"GET /again HTTP/1.1\r\n\r\n");
                drop(stream);
            }
            _ => drop(stream),
        }
        eventually(form, || gateway.subscribers() == 0);
        assert!(began.elapsed() < Duration::from_millis(500), "{form}: {:?}", began.elapsed());
    }
}

// A hyper body does not notice the end of such a peer: a cheap way to pin connections.
#[test]
fn bytes_pipelined_behind_the_head_are_dropped_and_the_hang_up_is_noticed() {
    let gateway = TestGateway::new();
    let mut stream = Peer::ask(gateway.port(), &format!("{GET}{GET}junk")).into_stream();
    assert_eq!(stream.next().name, "sse.ready");
    gateway.say("x");
    assert_eq!(stream.next().data, "x");
    assert_eq!(gateway.count(|stats| &stats.subscribers_total), 1);
    drop(stream);
    eventually("gone", || gateway.subscribers() == 0);
}

#[test]
fn sixty_four_kilobytes_of_junk_are_thrown_away_and_more_ends_the_stream() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    stream.send(&vec![b'x'; 64 << 10]);
    for n in 0..20 {
        gateway.say(&n.to_string());
        assert_eq!(stream.next().data, n.to_string());
    }
    assert_eq!(gateway.count(|stats| &stats.junk_total), 0);
    stream.send(b"y");
    eventually("ended", || gateway.count(|stats| &stats.junk_total) == 1 && gateway.subscribers() == 0);
}

#[test]
fn a_request_before_the_stream_is_answered_whole_even_by_a_sleeping_reader() {
    let (_guard, root) = folder();
    let large: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
    std::fs::write(root.join("big"), &large).unwrap();
    let gateway = TestGateway::with(Settings { static_root: Some(root), ..settings() });
    let mut peer = Peer::ask(gateway.port(), &format!("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n{GET}"));
    for n in 0..10 {
        gateway.say(&n.to_string());
    }
    let answer = peer.answer(true);
    assert!(answer.body == large);
    let mut stream = peer.into_stream();
    assert_eq!(stream.next().name, "sse.ready");
    gateway.say("live");
    loop {
        if stream.next().data == "live" {
            break;
        }
    }
}

#[test]
fn a_stream_that_lags_behind_gets_everything_before_the_end() {
    let gateway = TestGateway::new();
    let stream = Stream::ready(gateway.port());
    let payload = "x".repeat(1000);
    for _ in 0..5000 {
        gateway.say(&payload);
    }
    let reader = std::thread::spawn(move || stream.end());
    let took = gateway.stop(Duration::from_secs(10));
    assert!(took < Duration::from_secs(8), "it waits no longer than its streams: {took:?}");
    let (end, events) = reader.join().unwrap();
    assert_eq!((end, events.len()), (End::Clean, 5000));
}

#[test]
fn a_peer_that_takes_nothing_does_not_hold_up_the_end() {
    let gateway = TestGateway::new();
    let stalled = Stream::ready(gateway.port());
    let half_head = Peer::ask(gateway.port(), "GET /healthz HT");
    for _ in 0..100 {
        gateway.say(&"x".repeat(100_000));
    }
    let took = gateway.stop(Duration::from_millis(700));
    assert!(took < Duration::from_millis(1500), "{took:?}");
    drop((stalled, half_head));
}

#[test]
fn the_port_is_free_again_after_the_end() {
    let first = TestGateway::new();
    let port = first.port();
    let stream = Stream::ready(port);
    first.stop(Duration::from_secs(2));
    let second = TestGateway::configured(Config { port, ..config() }, settings());
    Stream::ready(port);
    assert_eq!(stream.end().0, End::Clean);
    drop(second);
}

#[test]
fn a_full_channel_gives_the_batch_back_and_loses_nothing() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    let mut given_back = 0;
    for n in 1..=5000 {
        let mut batch = Batch::new(n);
        batch.push_record(&raise(n.to_string()).record());
        while let Err(back) = gateway.publisher.lock().unwrap().try_publish(batch) {
            assert_eq!(back.first_sequence, n);
            given_back += 1;
            batch = back;
        }
    }
    for n in 1..=5000 {
        assert_eq!(stream.next().data, n.to_string());
    }
    assert!(given_back > 0, "the channel was never full");
}

#[test]
fn before_the_first_routes_a_stream_waits_and_then_begins() {
    let gateway = TestGateway::start(config(), settings());
    eventually("bound", || gateway.port() != 0);
    let peer = Peer::ask(gateway.port(), GET);
    assert_eq!(get(gateway.port(), "/healthz").head.status, 503);
    eventually("asked", || gateway.refreshes() > 0);
    gateway.gateway.set_routes(routes(&[("events", "@sse")]), 1);
    assert_eq!(peer.into_stream().next().name, "sse.ready");
}

#[test]
fn connections_and_streams_are_counted_down_however_they_end() {
    let gateway = Arc::new(TestGateway::new());
    let peers: Vec<_> = (0..8)
        .map(|n| {
            let port = gateway.port();
            std::thread::spawn(move || {
                for round in 0..30 {
                    match (n + round) % 4 {
                        0 => drop(Stream::ready(port)),
                        1 => drop(Stream::open(port)),
                        2 => drop(get(port, "/healthz")),
                        _ => drop(Peer::ask(port, "GET /half")),
                    }
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join().unwrap());
    eventually("all gone", || gateway.count(|stats| &stats.connections) == 0 && gateway.subscribers() == 0);
}
