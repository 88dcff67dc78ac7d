//! Answers and streams that are read slowly or not at all.
//!
//! Not for requests that are odd themselves: `requests`.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;

use super::hand::{Blow, Hand, read_head, request, status};

/// The largest answer that is asked for, in bytes. Calls refuse 64 MB and more; dozens of answers of this
/// size are more than any test machine has, if they are held.
const LARGEST: u32 = 20_000_000;

/// Sockets that one attacker keeps.
const KEPT: usize = 60;

/// Asks for an answer of any size, reads its beginning, and no more.
pub(super) fn leave_unread(hand: &mut Hand) -> Result<Blow> {
    let time = Duration::from_millis(hand.rng.u64(5_000..40_000));
    ask(hand, time)
}

/// The same, and takes a little of all that it keeps.
pub(super) fn read_slowly(hand: &mut Hand) -> Result<Blow> {
    hand.sip();
    let time = Duration::from_millis(hand.rng.u64(5_000..40_000));
    ask(hand, time)
}

fn ask(hand: &mut Hand, time: Duration) -> Result<Blow> {
    let size = if hand.rng.bool() { LARGEST } else { hand.any_size(LARGEST) };
    let mut stream = hand.connect_narrowly()?;
    stream.write_all(&request("GET", &format!("/api/big?n={size}"), ""))?;
    let status = status(&read_head(&mut stream)?)?;
    if status != 200 {
        return Ok(Blow::Refused(status.to_string()));
    }
    hand.hold(stream, time, KEPT);
    Ok(Blow::Struck(1))
}

/// Opens a stream that hears the noise of others, and reads nothing.
pub(super) fn leave_stream_unread(hand: &mut Hand) -> Result<Blow> {
    let topics = ["noise", "noise&topic=other", "other"][hand.rng.usize(0..3)];
    let mut stream = hand.connect_narrowly()?;
    let target = format!("/api/mallory/noise/info?topic={topics}");
    stream.write_all(&request("GET", &target, "Accept: text/event-stream\r\n"))?;
    let status = status(&read_head(&mut stream)?)?;
    if status != 200 {
        return Ok(Blow::Refused(status.to_string()));
    }
    let time = Duration::from_millis(hand.rng.u64(1_000..15_000));
    hand.hold(stream, time, KEPT);
    Ok(Blow::Struck(1))
}
