//! Peers that vanish without a word: a cable that is pulled, a laptop that sleeps, a NAT that forgets.
//!
//! A filter on the peer's own socket drops every segment that reaches it, before TCP sees it: nothing is
//! acknowledged, nothing refused. That is what the other end sees of a peer that is gone, and it needs no
//! privilege.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{SockFilter, SockRef};
use sse_gateway::Settings;
use support::peer::Stream;
use support::{TestGateway, eventually, settings};

/// `write_timeout` of the tests; TCP looks at its timer a few times in it.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// BPF: return 0, that is, keep no byte of the segment.
const DROP_ALL: SockFilter = SockFilter::new(0x06, 0, 0, 0);

fn vanish(stream: &Stream) {
    SockRef::from(stream.socket()).attach_filter(&[DROP_ALL]).unwrap();
}

fn come_back(stream: &Stream) {
    SockRef::from(stream.socket()).detach_filter().unwrap();
}

// The event fits into the socket's buffer, so writing to it never fails: only TCP can know.
#[test]
fn a_peer_that_has_vanished_is_given_up_after_write_timeout_though_its_socket_takes_everything() {
    let gateway = TestGateway::with(Settings { write_timeout: TIMEOUT, ..settings() });
    let mut good = Stream::ready(gateway.port());
    let vanished = Stream::ready(gateway.port());
    vanish(&vanished);
    let began = Instant::now();
    gateway.say("into the void");
    assert_eq!(good.next().data, "into the void");
    assert_eq!(gateway.subscribers(), 2, "it cannot be known at once");
    eventually("given up", || gateway.subscribers() == 1);
    let took = began.elapsed();
    assert!((TIMEOUT / 2..TIMEOUT * 5).contains(&took), "{took:?}");
    assert_eq!(gateway.count(|stats| &stats.write_timeouts_total), 0, "it was TCP that gave up");
    gateway.say("still there");
    assert_eq!(good.next().data, "still there");
}

#[test]
fn heartbeats_find_out_that_the_peer_of_an_idle_stream_has_vanished() {
    let gateway = TestGateway::with(Settings {
        write_timeout: TIMEOUT,
        heartbeat_interval: Duration::from_millis(100),
        ..settings()
    });
    let vanished = Stream::ready(gateway.port());
    vanish(&vanished);
    eventually("given up", || gateway.subscribers() == 0);
}

#[test]
fn a_peer_that_was_away_for_less_than_write_timeout_misses_nothing() {
    let gateway = TestGateway::with(Settings { write_timeout: Duration::from_secs(30), ..settings() });
    let mut stream = Stream::ready(gateway.port());
    vanish(&stream);
    for n in 0..100 {
        gateway.say(&n.to_string());
    }
    // TCP has tried in vain at least once.
    let until = Instant::now() + Duration::from_millis(500);
    eventually("away", || Instant::now() > until);
    come_back(&stream);
    for n in 0..100 {
        assert_eq!(stream.next().data, n.to_string());
    }
}

/// The gateway's end of a connection. It is a socket of this process, so it can be had by its descriptor.
fn other_end(client: &TcpStream) -> TcpStream {
    let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let process = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = descriptors.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let sockets = numbers.filter_map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok());
    let mut streams = sockets.map(TcpStream::from);
    let is_it = |stream: &TcpStream| {
        stream.local_addr().is_ok_and(|address| address == peer)
            && stream.peer_addr().is_ok_and(|address| address == local)
    };
    streams.find(is_it).expect("the gateway's end")
}

// What a test cannot wait for: an idle stream without heartbeats is probed by TCP after a minute.
#[test]
fn the_sockets_of_streams_have_user_timeout_keep_alive_and_a_small_buffer() {
    let gateway = TestGateway::with(Settings { write_timeout: Duration::from_secs(17), ..settings() });
    let options = |stream: &Stream| {
        let socket = other_end(stream.socket());
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        // The kernel counts its own overhead and doubles what it is asked for.
        assert_eq!(socket.send_buffer_size().unwrap(), 128 << 10);
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        socket.tcp_user_timeout().unwrap()
    };
    assert_eq!(options(&Stream::ready(gateway.port())), Some(Duration::from_secs(17)));
    let settings = Settings { write_timeout: Duration::from_secs(19), ..settings() };
    gateway.gateway.apply(std::sync::Arc::new(settings));
    eventually("streams that begin after a reload have the new timeout", || {
        options(&Stream::ready(gateway.port())) == Some(Duration::from_secs(19))
    });
}
