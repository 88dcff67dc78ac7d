//! A client that speaks HTTP/2 frame by frame over TLS, shares no code with the gateway's side, and may break
//! every rule. Clients of others are in `pg_test/tests/http2.rs`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::DEADLINE;
use super::tls::{Ended, Site, TlsPeer, VERSIONS};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// What a frame may have before anything else is agreed on.
const MAX_FRAME_BYTES: usize = 16 << 10;

pub const NO_ERROR: u32 = 0;
pub const CANCEL: u32 = 8;

pub const STREAM: &str = "/api/events/info";

/// What has come on one stream.
#[derive(Clone, Debug, Default)]
pub struct Got {
    pub status: Option<u16>,
    pub data: Vec<u8>,
    pub has_ended: bool,
    pub reset: Option<u32>,
}

impl Got {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    pub fn is_over(&self) -> bool {
        self.has_ended || self.reset.is_some()
    }
}

pub struct H2Peer {
    pub peer: TlsPeer,
    buffer: Vec<u8>,
    pub streams: BTreeMap<u32, Got>,
    next: u32,
    /// The code of a GOAWAY.
    pub goaway: Option<u32>,
    pub ended: Option<Ended>,
    /// Whether windows are raised by what came.
    pub takes: bool,
    /// Each frame that raises one comes in a record of its own.
    pub takes_apart: bool,
    /// Frames with DATA that have come.
    pub parts: usize,
    /// What may still be sent as DATA; 0 is the connection's.
    windows: BTreeMap<u32, i64>,
    pub pongs: usize,
    pub pings: usize,
    /// SETTINGS of ours that the gateway has acknowledged.
    pub settings_taken: usize,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields as HPACK has them without any table or coding (RFC 7541 §6.2.2).
pub fn fields<'f>(fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Vec<u8> {
    let mut block = Vec::new();
    let text = |block: &mut Vec<u8>, text: &str| {
        match text.len().checked_sub(127) {
            None => block.push(text.len() as u8),
            Some(mut rest) => {
                block.push(127);
                while rest >= 128 {
                    block.push((rest % 128 + 128) as u8);
                    rest /= 128;
                }
                block.push(rest as u8);
            }
        }
        block.extend(text.as_bytes());
    };
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

pub fn head<'f>(method: &'f str, path: &'f str, more: &[(&'f str, &'f str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    fields(pseudo.into_iter().chain(more.iter().copied()))
}

impl H2Peer {
    pub fn connect(port: u16, site: &Site) -> Self {
        Self::with_window(port, site, 1 << 20)
    }

    /// With this window for each stream.
    pub fn with_window(port: u16, site: &Site, window: u32) -> Self {
        let mut peer = Self::shaken(port, site);
        peer.say_hello(window);
        peer
    }

    /// The preface, and what goes with it.
    pub fn say_hello(&mut self, window: u32) {
        let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // No table, so that a status can be read by itself; no push.
        let mut settings = vec![0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend(window.to_be_bytes());
        first.extend(frame(SETTINGS, 0, 0, &settings));
        first.extend(frame(WINDOW_UPDATE, 0, 0, &(64_u32 << 20).to_be_bytes()));
        self.send(&first);
    }

    /// A handshake that chose HTTP/2, and nothing said.
    pub fn shaken(port: u16, site: &Site) -> Self {
        Self::shaken_by(port, &site.trust(&VERSIONS))
    }

    /// The same by these versions of TLS.
    pub fn shaken_by(port: u16, trust: &ClientConfig) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap(), trust)
    }

    /// The same on this socket.
    pub fn over(tcp: TcpStream, trust: &ClientConfig) -> Self {
        let mut config = trust.clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut peer = TlsPeer::over(tcp, &Arc::new(config));
        peer.shake();
        assert_eq!(peer.tls.alpn_protocol(), Some(&b"h2"[..]));
        Self {
            peer,
            buffer: Vec::new(),
            streams: BTreeMap::new(),
            next: 1,
            goaway: None,
            ended: None,
            takes: true,
            takes_apart: false,
            parts: 0,
            windows: BTreeMap::new(),
            pongs: 0,
            pings: 0,
            settings_taken: 0,
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        assert!(self.try_send(bytes));
    }

    /// False: the connection has gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        for part in bytes.chunks(16 << 10) {
            if self.peer.tls.writer().write_all(part).is_err() {
                return false;
            }
            while self.peer.tls.wants_write() {
                if self.peer.tls.write_tls(&mut self.peer.tcp).is_err() {
                    return false;
                }
            }
        }
        true
    }

    pub fn next_id(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    pub fn begin(&mut self, method: &str, path: &str, more: &[(&str, &str)], flags: u8) -> u32 {
        let id = self.next_id();
        let block = head(method, path, more);
        let mut parts = block.chunks(MAX_FRAME_BYTES).peekable();
        let mut kind = HEADERS;
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
            let of_head = if kind == HEADERS { flags } else { 0 };
            self.send(&frame(kind, last | of_head, id, part));
            kind = CONTINUATION;
        }
        id
    }

    fn window(&mut self, id: u32) -> &mut i64 {
        self.windows.entry(id).or_insert(0xffff)
    }

    /// Sends a body as the gateway's windows allow.
    pub fn body(&mut self, id: u32, body: &[u8], flags: u8) {
        for part in body.chunks(MAX_FRAME_BYTES) {
            let len = part.len() as i64;
            self.until("room for a body", |peer| {
                let room = |id| *peer.windows.get(&id).unwrap_or(&0xffff);
                room(0) >= len && room(id) >= len || peer.streams.contains_key(&id)
            });
            if self.streams.contains_key(&id) {
                return;
            }
            *self.window(0) -= len;
            *self.window(id) -= len;
            self.send(&frame(DATA, 0, id, part));
        }
        self.send(&frame(DATA, flags, id, b""));
    }

    pub fn get(&mut self, path: &str) -> u32 {
        self.begin("GET", path, &[], END_STREAM)
    }

    pub fn got(&self, id: u32) -> Got {
        self.streams.get(&id).cloned().unwrap_or_default()
    }

    pub fn status(&self, id: u32) -> Option<u16> {
        self.streams.get(&id)?.status
    }

    /// The code with which the stream was reset.
    pub fn reset(&self, id: u32) -> Option<u32> {
        self.streams.get(&id)?.reset
    }

    pub fn is_over(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(Got::is_over)
    }

    /// Reads what has come.
    pub fn pump(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let (bytes, ended) = self.peer.take();
        self.ended = ended;
        self.buffer.extend(bytes);
        let mut answer = Vec::new();
        while self.buffer.len() >= 9 {
            let len = u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]) as usize;
            if self.buffer.len() < 9 + len {
                break;
            }
            let rest = self.buffer.split_off(9 + len);
            let frame = std::mem::replace(&mut self.buffer, rest);
            let id = u32::from_be_bytes(frame[5..9].try_into().unwrap());
            self.take(frame[3], frame[4], id, &frame[9..], &mut answer);
        }
        if !answer.is_empty() {
            self.try_send(&answer);
        }
    }

    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8], answer: &mut Vec<u8>) {
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let ends = flags & END_STREAM != 0;
        match kind {
            DATA => {
                self.parts += 1;
                let got = self.streams.entry(id).or_default();
                got.data.extend(payload);
                got.has_ended |= ends;
                if self.takes && !payload.is_empty() {
                    for id in [0, id] {
                        let taken = frame(WINDOW_UPDATE, 0, id, &(payload.len() as u32).to_be_bytes());
                        if self.takes_apart {
                            self.try_send(&taken);
                        } else {
                            answer.extend(taken);
                        }
                    }
                }
            }
            HEADERS => {
                let got = self.streams.entry(id).or_default();
                got.status = Some(status(payload));
                got.has_ended |= ends;
            }
            RST_STREAM => self.streams.entry(id).or_default().reset = Some(code(0)),
            SETTINGS if flags & ACK != 0 => self.settings_taken += 1,
            SETTINGS => answer.extend(frame(SETTINGS, ACK, 0, &[])),
            WINDOW_UPDATE => *self.window(id) += i64::from(code(0)),
            PING if flags & ACK == 0 => {
                self.pings += 1;
                answer.extend(frame(PING, ACK, 0, payload));
            }
            PING => self.pongs += 1,
            GOAWAY => self.goaway = Some(code(4)),
            _ => {}
        }
    }

    /// Reads until it is so.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < until, "never came true: {what}; {:?} {:?}", self.goaway, self.ended);
            self.pump();
        }
    }

    pub fn until_text(&mut self, id: u32, text: &str) {
        self.until(text, |peer| {
            let got = peer.streams.get(&id);
            got.is_some_and(|got| got.data.windows(text.len()).any(|window| window == text.as_bytes()))
        });
    }

    /// Status and body of a whole answer.
    pub fn answer(&mut self, id: u32) -> (u16, String) {
        self.until("an answer", |peer| peer.is_over(id));
        let got = self.got(id);
        assert!(got.has_ended, "{got:?}");
        (got.status.unwrap(), got.text())
    }

    /// Everything that the gateway had to say to what was sent before has come.
    pub fn settle(&mut self) {
        let pongs = self.pongs;
        self.send(&frame(PING, 0, 0, &[0; 8]));
        self.until("an answer to a ping", |peer| peer.pongs > pongs);
    }

    /// Changes the window of all streams, present and to come, and waits until that is so.
    pub fn set_window(&mut self, window: u32) {
        let taken = self.settings_taken;
        self.send(&frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()));
        self.until("the settings are taken", |peer| peer.settings_taken > taken);
    }

    /// Allows so many bytes more, of a stream or (0) of all.
    pub fn grant(&mut self, id: u32, bytes: u32) {
        self.send(&frame(WINDOW_UPDATE, 0, id, &bytes.to_be_bytes()));
    }

    pub fn open_stream(&mut self) -> u32 {
        let id = self.get(STREAM);
        self.until_text(id, "sse.ready");
        id
    }

    /// Whether the connection ends within this time.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.ended.is_none() && Instant::now() < until {
            self.pump();
        }
        self.ended.is_some()
    }
}

/// The first field of an answer is its status: by the static table, or as a text of three digits.
fn status(block: &[u8]) -> u16 {
    let at = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap();
    let block = &block[at..];
    match block[0] {
        byte @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(byte - 0x88)],
        _ => {
            let coded = block[1] & 0x80 != 0;
            let len = usize::from(block[1] & 0x7f);
            let text = &block[2..2 + len];
            if coded { digits(text) } else { std::str::from_utf8(text).unwrap().parse().unwrap() }
        }
    }
}

/// Three digits in the code of RFC 7541, appendix B.
fn digits(coded: &[u8]) -> u16 {
    let mut bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut next = |n: usize| (0..n).fold(0, |value, _| value << 1 | bits.next().unwrap());
    (0..3).fold(0, |number, _| {
        let five = next(5);
        // 0 to 2 have five bits, 3 to 9 have six and begin at 0x19.
        let digit = if five <= 2 { five } else { (five << 1 | next(1)) - 0x19 + 3 };
        number * 10 + digit
    })
}
