//! Running out of descriptors. Alone in its process, because the limit is the process's.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use support::peer::Stream;
use support::{TestGateway, eventually};

#[test]
fn accepting_goes_on_when_descriptors_come_back() {
    let gateway = TestGateway::new();
    let mut open = Stream::ready(gateway.port());
    let address: SocketAddr = ([127, 0, 0, 1], gateway.port()).into();
    let sockets: Vec<Socket> =
        (0..10).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let before = getrlimit(Resource::Nofile);
    // The reader of this folder has a descriptor itself, which is free again by then: room for three more.
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    let mut tight = before;
    tight.current = Some(used + 3);
    setrlimit(Resource::Nofile, tight).unwrap();
    for socket in &sockets {
        socket.connect(&address.into()).unwrap();
    }
    eventually("said", || gateway.log().iter().any(|line| line.contains("cannot be accepted")));
    gateway.say("x");
    assert_eq!(open.next().data, "x", "streams that are open go on");
    setrlimit(Resource::Nofile, before).unwrap();
    // Silent ones had to make room for those that waited; the others are answered.
    let displaced = || gateway.count(|stats| &stats.displaced_total) as usize;
    let answered = sockets.into_iter().map(is_answered).filter(|is_answered| *is_answered).count();
    assert!(displaced() > 0 && answered >= 3 && answered + displaced() >= 10, "{answered} {}", displaced());
    assert!(is_answered(connected(&address)));
}

fn connected(address: &SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.connect(&(*address).into()).unwrap();
    socket
}

fn is_answered(mut socket: Socket) -> bool {
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = [0; 15];
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok()
        && socket.read_exact(&mut answer).is_ok()
        && &answer == b"HTTP/1.1 200 OK"
}
