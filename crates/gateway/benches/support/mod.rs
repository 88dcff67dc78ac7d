//! A gateway without Postgres in this process, and its streams in a second one, because one has not enough
//! descriptors for both ends.
//!
//! Not for what is measured.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use sse_gateway::{Batch, Config, Gateway, Publisher, Settings};
use sse_proto::route::{RouteTable, Routine};
use sse_proto::word::Level;

/// The gateway's one thread that serves.
pub(crate) const RUNTIME_THREAD: &str = "sse-gateway-0";

/// For the second process: the port, and how many streams.
const OF_PORT: &str = "STREAMS_OF_PORT";
const STREAMS: &str = "STREAMS";

/// A gateway that listens and has the stream `/api/events/info`, and what is published there.
pub(crate) struct Feed {
    pub(crate) gateway: Gateway,
    pub(crate) port: u16,
    publisher: Publisher,
    next: u64,
}

impl Feed {
    pub(crate) fn start(settings: Settings) -> Self {
        let settings = Settings { max_connections: 100_000, ..settings };
        let (gateway, publisher) = Gateway::start(Config::default(), Arc::new(settings)).unwrap();
        let routine = Routine::new(1, "public", "events", "@sse");
        gateway.set_routes(Arc::new(RouteTable::build(&[routine], "/api", Level::Info)), 1);
        while !gateway.stats().listening.load(Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        let port = gateway.stats().port.load(Relaxed);
        Self { gateway, port, publisher, next: 1 }
    }

    /// This event so many times, in one batch.
    pub(crate) fn publish(&mut self, record: &[u8], events: usize) {
        let mut batch = Batch::new(self.next);
        (0..events).for_each(|_| batch.push_record(record));
        self.next = batch.next_sequence();
        while let Err(back) = self.publisher.try_publish(batch) {
            batch = back;
            thread::sleep(Duration::from_micros(100));
        }
    }
}

/// The port and the number of streams, if this is the second process.
pub(crate) fn as_second_process() -> Option<(u16, usize)> {
    let port = std::env::var(OF_PORT).ok()?;
    Some((port.parse().unwrap(), std::env::var(STREAMS).unwrap().parse().unwrap()))
}

/// The second process, when it has said that its streams are open. It is to end when its input does.
pub(crate) fn second_process(port: u16, streams: usize) -> (Child, BufReader<ChildStdout>) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .env(OF_PORT, port.to_string())
        .env(STREAMS, streams.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (process, told)
}

pub(crate) fn ask(port: u16, query: &str, headers: &str) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET /api/events/info{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// Reads up to the first event.
pub(crate) fn await_ready(socket: &mut TcpStream) {
    let mut got = Vec::new();
    let mut space = [0; 4096];
    while !got.windows(8).any(|window| window == b"data: {}") {
        let n = socket.read(&mut space).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&space[..n]);
    }
}

/// CPU time of the thread with this name.
pub(crate) fn cpu_time(thread: &str) -> Duration {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim() == thread {
            let schedstat = std::fs::read_to_string(path.join("schedstat")).unwrap();
            return Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap());
        }
    }
    panic!("no such thread");
}
