//! A peer over a plain socket: HTTP heads, chunks, and the event stream as WHATWG HTML §9.2.6 has it read,
//! written from the standards.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::DEADLINE;

pub const GET: &str = "GET /api/events/info HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection that remembers what it has read and not used.
pub struct Peer {
    pub socket: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Head {
    pub version: String,
    pub status: u16,
    pub headers: HashMap<String, String>,
}

impl Head {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
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

impl Peer {
    pub fn connect(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, buffer: Vec::new() }
    }

    /// From another address of this machine, which counts as another peer's.
    pub fn connect_from(address: [u8; 4], port: u16) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from((address, 0)).into()).unwrap();
        socket.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, buffer: Vec::new() }
    }

    pub fn ask(port: u16, request: &str) -> Self {
        let mut peer = Self::connect(port);
        peer.send(request.as_bytes());
        peer
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Whether something has come, or the end of the connection.
    pub fn has_answer(&mut self) -> bool {
        let mut space = [0; 65536];
        match self.socket.read(&mut space) {
            Ok(n) => {
                self.buffer.extend_from_slice(&space[..n]);
                true
            }
            Err(_) => false,
        }
    }

    /// Reads more; false at the end of the connection.
    fn more(&mut self, until: Instant) -> bool {
        let mut space = [0; 65536];
        loop {
            assert!(
                Instant::now() < until,
                "nothing came; so far {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
            match self.socket.read(&mut space) {
                Ok(0) => return false,
                Ok(n) => {
                    self.buffer.extend_from_slice(&space[..n]);
                    return true;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits for the end of the connection and returns everything before it.
    pub fn rest(mut self) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        while self.more(until) {}
        self.buffer
    }

    pub fn head(&mut self) -> Head {
        let until = Instant::now() + DEADLINE;
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(
                self.more(until),
                "closed before the end of the head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut status = lines.next().unwrap().split(' ');
        let (version, code) = (status.next().unwrap().to_owned(), status.next().unwrap().parse().unwrap());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Head { version, status: code, headers: headers.collect() }
    }

    /// One answer with a Content-Length (or without a body).
    pub fn answer(&mut self, has_body: bool) -> Answer {
        let head = self.head();
        let until = Instant::now() + DEADLINE;
        let length =
            if has_body { head.headers.get("content-length").map_or(0, |n| n.parse().unwrap()) } else { 0 };
        while self.buffer.len() < length {
            assert!(self.more(until), "closed before the end of the body");
        }
        Answer { head, body: self.buffer.drain(..length).collect() }
    }

    pub fn into_stream(mut self) -> Stream {
        let head = self.head();
        assert_eq!(head.status, 200, "{head:?} {}", String::from_utf8_lossy(&self.buffer));
        let chunked = head.header("transfer-encoding") == "chunked";
        Stream { peer: self, head, chunked, parser: Parser::default(), ended: None, raw: Vec::new() }
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
    pub peer: Peer,
    pub head: Head,
    chunked: bool,
    pub parser: Parser,
    ended: Option<End>,
    /// The stream's bytes without chunk framing.
    pub raw: Vec<u8>,
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
        let mut stream = Self::open(port);
        assert_eq!(stream.next().name, "sse.ready");
        stream
    }

    pub fn next(&mut self) -> Event {
        self.try_next().unwrap_or_else(|end| panic!("the stream ended: {end:?}"))
    }

    pub fn try_next(&mut self) -> Result<Event, End> {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(event) = self.parser.events.pop_front() {
                return Ok(event);
            }
            self.step(until)?;
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

    /// Waits until this many comments have come.
    pub fn comments(&mut self, n: usize) -> &[String] {
        let until = Instant::now() + DEADLINE;
        while self.parser.comments.len() < n {
            self.step(until).unwrap();
        }
        &self.parser.comments
    }

    fn step(&mut self, until: Instant) -> Result<(), End> {
        if let Some(end) = self.ended {
            return Err(end);
        }
        if !self.chunked {
            let bytes = std::mem::take(&mut self.peer.buffer);
            if !bytes.is_empty() {
                self.feed(&bytes);
            } else if !self.peer.more(until) {
                self.ended = Some(End::Clean);
            }
            return Ok(());
        }
        let Some(line) = find(&self.peer.buffer, b"\r\n") else {
            return self.need(until);
        };
        let size = std::str::from_utf8(&self.peer.buffer[..line]).unwrap();
        assert!(size.bytes().all(|b| b.is_ascii_hexdigit()), "chunk size {size:?}");
        let size = usize::from_str_radix(size, 16).unwrap();
        if self.peer.buffer.len() < line + 2 + size + 2 {
            return self.need(until);
        }
        let chunk: Vec<u8> = self.peer.buffer.drain(..line + 2 + size + 2).skip(line + 2).collect();
        assert_eq!(&chunk[size..], b"\r\n", "a chunk is longer or shorter than it says");
        if size > 0 {
            self.feed(&chunk[..size]);
            return Ok(());
        }
        while self.peer.more(until) {}
        assert!(self.peer.buffer.is_empty(), "bytes after the last chunk");
        self.ended = Some(End::Clean);
        Ok(())
    }

    fn need(&mut self, until: Instant) -> Result<(), End> {
        if !self.peer.more(until) {
            self.ended = Some(End::Cut);
        }
        Ok(())
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        self.parser.feed(bytes);
    }
}

/// WHATWG HTML §9.2.6, plus a record of what the standard ignores.
#[derive(Default)]
pub struct Parser {
    bytes: Vec<u8>,
    began: bool,
    data: String,
    name: String,
    id: String,
    fields: usize,
    pub retry: Option<u64>,
    pub comments: Vec<String>,
    pub events: std::collections::VecDeque<Event>,
    /// Blocks with fields and without data, which several clients take for empty events.
    pub empty_blocks: usize,
    /// Fields the standard does not know.
    pub unknown: Vec<String>,
}

impl Parser {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if !self.began && self.bytes.len() >= 3 {
            self.began = true;
            if self.bytes.starts_with(b"\xef\xbb\xbf") {
                self.bytes.drain(..3);
            }
        }
        // A CR at the very end may be half of a CRLF: wait for the next byte.
        while let Some(end) = self.bytes.iter().position(|b| matches!(b, b'\r' | b'\n')) {
            let broken_by = match (self.bytes[end], self.bytes.get(end + 1)) {
                (b'\r', None) => return,
                (b'\r', Some(b'\n')) => 2,
                _ => 1,
            };
            let line: Vec<u8> = self.bytes.drain(..end + broken_by).take(end).collect();
            self.line(&String::from_utf8(line).expect("valid UTF-8"));
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return self.dispatch();
        }
        if let Some(comment) = line.strip_prefix(':') {
            self.comments.push(comment.strip_prefix(' ').unwrap_or(comment).to_owned());
            return;
        }
        self.fields += 1;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => self.retry = value.parse().ok(),
            _ => self.unknown.push(line.to_owned()),
        }
    }

    fn dispatch(&mut self) {
        let fields = std::mem::take(&mut self.fields);
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            self.empty_blocks += usize::from(fields > 0);
            return;
        }
        data.pop();
        self.events.push_back(Event { name, data, id: self.id.clone() });
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
