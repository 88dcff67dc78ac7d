//! The client of all tests, `test-http`, in the words of these: what is not as it should be is a panic, and a
//! header that is missing is empty.
//!
//! Not for reading bytes: sockets, heads, bodies and events are the client's.

use std::io::Write as _;
use std::net::TcpStream;
use std::ops::Deref;
use std::time::Duration;

use test_http::{Connection, EventStream, Oddities, StreamError};

use super::DEADLINE;

pub const GET: &str = "GET /api/events/info HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How long one look at a socket takes, also for a test that reads it itself.
const A_LOOK: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct Head(test_http::Head);

impl Head {
    pub fn header(&self, name: &str) -> &str {
        let values = self.0.header_values(name);
        assert!(values.len() <= 1, "{name} comes more than once: {values:?}");
        values.first().copied().unwrap_or("")
    }
}

impl Deref for Head {
    type Target = test_http::Head;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

#[derive(Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks that it is a complete RFC 9457 answer with this status, and returns its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.head.status, status, "{self:?}");
        assert_eq!(self.head.header("content-type"), "application/problem+json");
        assert_eq!(self.head.header("x-content-type-options"), "nosniff");
        assert_eq!(self.head.header("content-length"), self.body.len().to_string());
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], "about:blank");
        assert!(!body["title"].as_str().unwrap().is_empty());
        body["detail"].as_str().unwrap().to_owned()
    }
}

/// A connection.
pub struct Peer(Connection);

impl Peer {
    pub fn connect(port: u16) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// From another address of this machine, which counts as another peer's.
    pub fn connect_from(address: [u8; 4], port: u16) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from((address, 0)).into()).unwrap();
        socket.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        Self::over(socket.into())
    }

    fn over(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(A_LOOK)).unwrap();
        Self(Connection::over(socket, DEADLINE).unwrap())
    }

    pub fn ask(port: u16, request: &str) -> Self {
        let mut peer = Self::connect(port);
        peer.send(request.as_bytes());
        peer
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.send_bytes(bytes).unwrap();
    }

    pub fn socket(&self) -> &TcpStream {
        self.0.socket()
    }

    /// Whether something has come, or the end of the connection.
    pub fn has_answer(&mut self) -> bool {
        self.0.has_more(A_LOOK).unwrap()
    }

    /// Waits for the end of the connection and returns everything before it.
    pub fn rest(mut self) -> Vec<u8> {
        self.0.read_to_close().unwrap()
    }

    pub fn head(&mut self) -> Head {
        Head(self.0.head().unwrap())
    }

    /// One answer; that to a HEAD has no body.
    pub fn answer(&mut self, has_body: bool) -> Answer {
        let answer = self.0.response(if has_body { "GET" } else { "HEAD" }).unwrap();
        Answer { head: Head(answer.head), body: answer.body }
    }

    pub fn into_stream(mut self) -> Stream {
        let head = self.head();
        assert_eq!(head.status, 200, "{head:?}");
        Stream { events: EventStream::follow(self.0, head.0.clone()).unwrap(), head }
    }
}

/// One request on a connection of its own.
pub fn ask(port: u16, request: &str) -> Answer {
    let has_body = !request.starts_with("HEAD ");
    Peer::ask(port, request).answer(has_body)
}

pub fn get(port: u16, path: &str) -> Answer {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Empty for `message`.
    pub name: String,
    pub data: String,
    /// The last event id when it was dispatched.
    pub id: String,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a last chunk (or by closing, for HTTP/1.0).
    Clean,
    /// In the middle.
    Cut,
}

pub struct Stream {
    pub head: Head,
    events: EventStream,
}

impl Stream {
    pub fn open(port: u16) -> Self {
        Peer::ask(port, GET).into_stream()
    }

    pub fn resume(port: u16, last_event_id: &str) -> Self {
        Self::get(port, "/api/events/info", &format!("Last-Event-ID: {last_event_id}\r\n"))
    }

    pub fn get(port: u16, target: &str, headers: &str) -> Self {
        Peer::ask(port, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).into_stream()
    }

    /// Opens and takes `sse.ready`.
    pub fn ready(port: u16) -> Self {
        Self::ready_at(port, "/api/events/info", "")
    }

    /// The same of another target, with these headers.
    pub fn ready_at(port: u16, target: &str, headers: &str) -> Self {
        let mut stream = Self::get(port, target, headers);
        assert_eq!(stream.next().name, "sse.ready");
        stream
    }

    pub fn next(&mut self) -> Event {
        self.try_next().unwrap_or_else(|end| panic!("the stream ended: {end:?}"))
    }

    pub fn try_next(&mut self) -> Result<Event, End> {
        match self.events.next(DEADLINE) {
            Ok(event) => {
                let name = if event.event == "message" { String::new() } else { event.event };
                Ok(Event { name, data: event.data, id: event.id })
            }
            Err(StreamError::Ended) => {
                self.events.wait_for_close(DEADLINE).unwrap();
                Err(End::Clean)
            }
            Err(StreamError::Cut) => Err(End::Cut),
            Err(error) => panic!("{error}; so far {:?}", String::from_utf8_lossy(self.bytes())),
        }
    }

    /// The data of the next `n` events.
    pub fn take(&mut self, n: usize) -> Vec<String> {
        (0..n).map(|_| self.next().data).collect()
    }

    /// Waits for the end; returns it and the events before it.
    pub fn end(mut self) -> (End, Vec<Event>) {
        let mut events = Vec::new();
        loop {
            match self.try_next() {
                Ok(event) => events.push(event),
                Err(end) => return (end, events),
            }
        }
    }

    /// Waits until this many comments have come, and returns these.
    pub fn comments(&mut self, n: usize) -> Vec<&str> {
        while self.events.comments().len() < n {
            self.events.next_comment(DEADLINE).unwrap();
        }
        let comments = self.events.comments().iter().take(n);
        comments.map(|comment| comment.strip_prefix(' ').unwrap_or(comment)).collect()
    }

    /// What a browser overlooks, and no server should send.
    pub fn oddities(&self) -> &Oddities {
        self.events.oddities()
    }

    /// The stream's bytes without chunk framing.
    pub fn bytes(&self) -> &[u8] {
        self.events.bytes()
    }

    pub fn socket(&self) -> &TcpStream {
        self.events.connection().socket()
    }

    pub fn send(&self, bytes: &[u8]) {
        self.socket().write_all(bytes).unwrap();
    }
}
