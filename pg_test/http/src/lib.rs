//! A small blocking HTTP/1.1 client for tests, written from RFC 9112 and WHATWG HTML, and sharing no code
//! with the server. All tests read the gateway's answers with it: those of the gateway alone, the black box,
//! the ledger, the honest clients of the siege. (The fuzzers have readers of their own, so that a mistake in
//! this one shows.)
//!
//! [`Client`] makes one request per connection; [`Connection`] keeps one open, for several requests or for
//! bytes that no client would send; [`EventStream`] reads Server-Sent Events.
//!
//! What is below, plain TCP or TLS, is [`transport`](Transport)'s: a [`Client`] that trusts a certificate
//! speaks TLS, and everything above is the same.
//!
//! Not for HTTP/2 or servers of others: what is malformed is an error here, never guessed at, and so is
//! what is well-formed but nothing that pg_sse should send.

#![forbid(unsafe_code)]

mod body;
mod certificate;
mod connection;
mod event_parser;
mod event_stream;
mod transport;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use certificate::{Authority, KeyKind, make_certificate};
pub use connection::Connection;
pub use event_parser::{Event, EventParser, Oddities};
pub use event_stream::{EventStream, StreamError};
pub use transport::{TRANSPORT, Transport, Trust, Wire};

/// How long to wait for what should happen at once: enough for two busy cores, and still short enough to
/// notice a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A request. [`Request::get`] and the builder methods make the usual ones.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, or whatever a test wants to try.
    pub method: String,
    /// Path with query string, sent as it is.
    pub target: String,
    /// Sent in this order. `Host` and, with a body, `Content-Length` are added when missing.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a token (RFC 6750 §2.1), if there is one.
    pub fn bearer<'t>(self, token: impl Into<Option<&'t str>>) -> Self {
        match token.into() {
            Some(token) => self.header("Authorization", &format!("Bearer {token}")),
            None => self,
        }
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body and its type.
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    fn encode(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let mut headers = self.headers.clone();
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("host") {
            headers.insert(0, ("Host".to_owned(), address.to_string()));
        }
        if !self.body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            headers.push(("Content-Length".to_owned(), self.body.len().to_string()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.into_bytes(), self.body.clone()].concat()
    }
}

/// The first part of an answer: status and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// 100 to 599.
    pub status: u16,
    /// In the order received, names as received.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header, `None` when it is missing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a header that may come more than once.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        let matching = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str()).collect()
    }

    /// The value that `Set-Cookie` gives to the cookie of this name, without its attributes.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.header_values("set-cookie").into_iter();
        cookies
            .filter_map(|cookie| cookie.split(';').next()?.trim().split_once('='))
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Reads a head, its blank line included.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).context("the head of the answer is not UTF-8")?;
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let status_line = lines.next().unwrap_or("");
        let mut words = status_line.splitn(3, ' ');
        let (Some(version), Some(code)) = (words.next(), words.next()) else {
            bail!("not a status line: {status_line:?}");
        };
        if !version.starts_with("HTTP/1.") {
            bail!("not a status line: {status_line:?}");
        }
        let status = code.parse().with_context(|| format!("not a status line: {status_line:?}"))?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
            if name.is_empty() || name.contains([' ', '\t', '\n', '\r']) {
                bail!("not a header: {line:?}");
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Self { version: version.to_owned(), status, headers })
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status and headers.
    pub head: Head,
    /// The decoded body.
    pub body: Vec<u8>,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}

/// Knows the address of the gateway. Each request has a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: SocketAddr,
    within: Duration,
    trust: Option<Trust>,
}

impl Client {
    /// For a gateway on this port of the IPv4 loopback.
    pub fn new(port: u16) -> Self {
        Self::at(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// For a gateway at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, within: PATIENCE, trust: None }
    }

    /// The same client over TLS, if there is a trust, or else in plain HTTP.
    pub fn trusting(self, trust: impl Into<Option<Trust>>) -> Self {
        Self { trust: trust.into(), ..self }
    }

    /// The same client, whose [wires](Self::wire) agree on HTTP/2 if they speak TLS. Nothing else here speaks
    /// it.
    pub fn with_http2(self) -> Self {
        Self { trust: self.trust.map(Trust::with_http2), ..self }
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.trust.is_some()
    }

    /// The same client with another deadline for everything.
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Where the gateway is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or with `https`, and the path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.is_secure() { "https" } else { "http" }, self.address)
    }

    /// A GET with its whole answer.
    pub fn get(&self, target: &str) -> Result<Response> {
        self.request(&Request::get(target))
    }

    /// A request with its whole answer. A stream never has one: use [`Self::events`].
    ///
    /// # Errors
    /// No connection, no or no well-formed answer in time.
    pub fn request(&self, request: &Request) -> Result<Response> {
        let mut connection = self.connect()?;
        connection.send(&request.clone().header("Connection", "close"))?;
        connection.response(&request.method)
    }

    /// Opens a stream and expects status 200 and `text/event-stream`.
    ///
    /// # Errors
    /// Another answer: its body is in the message.
    pub fn events(&self, target: &str) -> Result<EventStream> {
        self.events_with(&Request::get(target))
    }

    /// [`Self::events`] with further headers.
    pub fn events_with(&self, request: &Request) -> Result<EventStream> {
        let mut connection = self.connect()?;
        connection.send(&request.clone().header("Accept", "text/event-stream"))?;
        EventStream::open(connection)
    }

    /// [`Self::events`], resuming after an event.
    pub fn events_after(&self, target: &str, last_event_id: &str) -> Result<EventStream> {
        self.events_with(&Request::get(target).header("Last-Event-ID", last_event_id))
    }

    /// A new connection.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.address, self.within, self.trust)
    }

    /// A connection over a socket that is already connected, such as one with a small receive buffer.
    pub fn over(&self, socket: TcpStream) -> Result<Connection> {
        Connection::with(socket, self.within, self.trust)
    }

    /// A connection to read and write as a file, without anything of HTTP and without time limits.
    pub fn wire(&self) -> Result<Wire> {
        let tcp = TcpStream::connect(self.address)?;
        tcp.set_nodelay(true)?;
        self.wire_over(tcp)
    }

    /// The same over a socket that is already connected.
    pub fn wire_over(&self, tcp: TcpStream) -> Result<Wire> {
        Wire::new(tcp, self.trust)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_head_is_read_and_names_are_compared_without_case() {
        let head = Head::parse(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nX: \r\n\r\n").unwrap();
        assert_eq!((head.status, head.header("content-type")), (404, Some("text/plain")));
        assert_eq!(head.header("x"), Some(""));
    }

    #[test]
    fn a_malformed_head_is_refused() {
        for bytes in [
            "",
            "HTTP/1.1\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n",
        ] {
            assert!(Head::parse(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}
