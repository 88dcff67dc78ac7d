//! Odd requests: half requests, many at once, to unknown paths, deep ones, and ones that fail.
//!
//! Not for who sends them: `sessions`.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::Result;

use super::hand::{Blow, Hand, post, read_head, request, status};

/// Sockets that one attacker keeps.
const KEPT: usize = 100;

/// Connects and sends nothing, or half a head, or half a body, or everything and then closes its sending
/// side.
pub(super) fn leave_half_open(hand: &mut Hand) -> Result<Blow> {
    let mut stream = hand.connect()?;
    match hand.rng.u32(0..5) {
        0 => {}
        1 => stream.write_all(b"GET /api/say/info HTTP/1.1\r\nHost: local")?,
        2 => stream.write_all(b"POST /api/deep HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{\"doc\": [")?,
        3 => {
            stream.write_all(b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nfffff\r\n{")?;
            stream.finish()?;
        }
        _ => {
            stream.write_all(&request("GET", "/api/big?n=1000", ""))?;
            stream.finish()?;
        }
    }
    let time = Duration::from_millis(hand.rng.u64(500..12_000));
    hand.hold(stream, time, KEPT);
    Ok(Blow::Struck(1))
}

/// Many heads in one go; then reads some of the answers, or none.
pub(super) fn flood_heads(hand: &mut Hand) -> Result<Blow> {
    let count = hand.rng.u32(10..100);
    let mut heads = Vec::new();
    for _ in 0..count {
        let filler = "y".repeat(hand.any_size(4_000) as usize);
        let target = ["/healthz", "/api/who-am-i", "/nowhere", "/api/say/info/x"][hand.rng.usize(0..4)];
        heads.extend(
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nX-Filler: {filler}\r\n\r\n").into_bytes(),
        );
    }
    let mut stream = hand.connect()?;
    stream.socket().set_write_timeout(Some(Duration::from_millis(500)))?;
    // A gateway that reads no more is right.
    let _ = stream.write_all(&heads);
    let head = read_head(&mut stream)?;
    let wants_all = hand.rng.bool();
    if wants_all {
        stream.socket().set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut buffer = [0; 8192];
        while let Ok(1..) = stream.read(&mut buffer) {}
    }
    status(&head).map(|_| Blow::Struck(count.into()))
}

/// Each makes the gateway check whether a routine of that name has been created. Where it has asked and the
/// main thread did not answer in time, because reading the catalog takes that long, the check was made all
/// the same; only the body says so, so every other one is no HEAD.
pub(super) fn ask_for_unknown(hand: &mut Hand) -> Result<Blow> {
    let target = format!("/api/nothing-{}", hand.rng.u64(..));
    let method = if hand.rng.bool() { "HEAD" } else { "GET" };
    let mut stream = hand.connect()?;
    stream.write_all(&request(method, &target, ""))?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(match status(&answer)? {
        404 => Blow::Struck(1),
        503 if answer.contains("The routes cannot be looked up at the moment.") => Blow::Struck(1),
        status => Blow::Refused(status.to_string()),
    })
}

/// JSON that is deep, or wide, or breaks off.
pub(super) fn send_deep_body(hand: &mut Hand) -> Result<Blow> {
    let depth = hand.any_size(400_000) as usize;
    let document = match hand.rng.u32(0..4) {
        0 => format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        1 => format!("{}1{}", "{\"a\":".repeat(depth / 4), "}".repeat(depth / 4)),
        2 => "[".repeat(depth),
        _ => format!("[{}0]", "1e308,".repeat(depth / 6)),
    };
    let body = format!("{{\"doc\":{document}}}");
    hand.ask(&post("/api/deep", "", body.as_bytes()))?;
    Ok(Blow::Struck(1))
}

/// Calls that end in an error, one of them with a statement as long as its row type is wide.
pub(super) fn fail_calls(hand: &mut Hand) -> Result<Blow> {
    let kind = hand.rng.u32(0..5);
    let request = match kind {
        4 => post("/api/wid", "", b"{\"x\":1}"),
        _ => post("/api/boom", "", format!("{{\"kind\":{kind}}}").as_bytes()),
    };
    let (status, _) = hand.ask(&request)?;
    Ok(if status >= 400 && status != 503 && status != 429 {
        Blow::Struck(1)
    } else {
        Blow::Refused(status.to_string())
    })
}
