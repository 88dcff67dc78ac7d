//! Attacks on TLS: handshakes that are slow, broken off, or of no sense, records that bring next to nothing,
//! keys that are changed all the time. At a gateway without TLS they are requests that it cannot read.
//!
//! Not for what a client that speaks TLS asks for: all the others send that over TLS, too.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::http;

use super::hand::{Blow, Hand, request};

/// The first message of a handshake, as a client of our own sends it.
fn hello(hand: &Hand) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match hand.connect()?.tls() {
        Some(tls) => drop(tls.write_tls(&mut bytes)?),
        // The beginning of one, which says enough.
        None => bytes.extend([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]),
    }
    Ok(bytes)
}

/// Whether something came back, up to the end of the connection, in a short time.
fn is_answered(stream: &mut std::net::TcpStream) -> Result<bool> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(matches!(stream.read(&mut [0; 4096]), Ok(1..)))
}

/// Byte by byte; now and then it stops half-way, and the socket stays.
pub(super) fn trickle(hand: &mut Hand) -> Result<Blow> {
    let hello = hello(hand)?;
    let mut wire = hand.connect_without_tls()?;
    let length = if hand.rng.bool() { hello.len() } else { hand.rng.usize(1..=hello.len()) };
    for byte in &hello[..length] {
        if wire.write_all(&[*byte]).is_err() {
            return Ok(Blow::Refused("closed".to_owned()));
        }
    }
    thread::sleep(Duration::from_millis(hand.rng.u64(0..200)));
    Ok(Blow::Struck(1))
}

/// After the hello, before or after its answer, with a reset or without.
pub(super) fn break_off(hand: &mut Hand) -> Result<Blow> {
    let hello = hello(hand)?;
    let mut wire = hand.connect_without_tls()?;
    wire.write_all(&hello)?;
    match hand.rng.u32(0..3) {
        0 => {}
        1 => drop(is_answered(&mut wire)?),
        _ => wire.shutdown(Shutdown::Write)?,
    }
    Ok(Blow::Struck(1))
}

/// Plain HTTP where TLS is spoken, junk, a hello with junk after it.
pub(super) fn send_nonsense(hand: &mut Hand) -> Result<Blow> {
    let mut bytes = if hand.rng.bool() { hello(hand)? } else { request("GET", "/healthz", "") };
    let length = hand.rng.usize(0..3000);
    bytes.extend(std::iter::repeat_with(|| hand.rng.u8(..)).take(length));
    let mut wire = hand.connect_without_tls()?;
    let _ = wire.write_all(&bytes);
    Ok(if is_answered(&mut wire)? { Blow::Struck(1) } else { Blow::Refused("no answer".to_owned()) })
}

/// A head in records of one byte each.
pub(super) fn send_byte_by_byte(hand: &mut Hand) -> Result<Blow> {
    let filler = format!("X: {}\r\n", "y".repeat(hand.any_size(15_000) as usize));
    let head = request("GET", "/healthz", &filler);
    let mut wire = hand.connect()?;
    wire.shake()?;
    for byte in &head {
        if wire.write_all(&[*byte]).and_then(|()| wire.flush()).is_err() {
            return Ok(Blow::Refused("closed".to_owned()));
        }
    }
    let mut space = [0; 512];
    Ok(match wire.read(&mut space) {
        Ok(1..) => Blow::Struck(1),
        _ => Blow::Refused("closed".to_owned()),
    })
}

/// On a stream; each change costs both sides new keys.
pub(super) fn change_keys(hand: &mut Hand) -> Result<Blow> {
    let mut wire = hand.connect()?;
    wire.write_all(&request("GET", "/api/say/info", ""))?;
    wire.flush()?;
    wire.read(&mut [0; 512]).context("no answer")?;
    for number in 0..hand.any_size(4_000) {
        let Some(tls) = wire.tls() else {
            // To plain HTTP a record is what nobody says after the request for a stream.
            wire.write_all(&[23, 3, 3, 0, 5, 24, 0, 0, 1, 0])?;
            wire.flush()?;
            break;
        };
        if tls.refresh_traffic_keys().is_err() || wire.flush().is_err() {
            return Ok(Blow::Refused(format!("closed, but for {} changes", number / 1000 * 1000)));
        }
    }
    Ok(Blow::Struck(1))
}

/// Says its end at once, and stays, to be written to.
pub(super) fn close_half(hand: &mut Hand) -> Result<Blow> {
    let mut wire: http::Wire = hand.connect()?;
    wire.write_all(&request("GET", "/api/say/info", ""))?;
    wire.flush()?;
    match wire.tls() {
        Some(tls) => {
            tls.send_close_notify();
            wire.flush()?;
        }
        None => wire.finish()?,
    }
    hand.hold(wire, Duration::from_secs(2), 50);
    Ok(Blow::Struck(1))
}
