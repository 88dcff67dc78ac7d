//! Calls whose answer is a stream, and calls that go on without their caller.
//!
//! Not for streams of what others raise: `answers`.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use super::hand::{Blow, Hand, header, read_head, request, status};

/// Sockets that one attacker keeps.
const KEPT: usize = 20;

/// The largest result that is asked for, in bytes: some of these are more than half of what answers may have
/// in memory.
const LARGEST: u32 = 8_000_000;

/// How callers may ask to be answered at once, and how they may not: which of these count is decided by RFC
/// 7240 §2 and is tested elsewhere. Here none of them may do harm.
const PREFERENCES: [&str; 10] = [
    "respond-async",
    "RESPOND-Async",
    "wait=10, respond-async",
    "respond-async=\"\"",
    "respond-async; foo=\"a;b,\\\"c\"",
    "return=minimal\r\nPrefer: respond-async",
    " ,,\trespond-async ,",
    "x=\"respond-async",
    "respond-asynchronous",
    "respond-async, respond-async=yes, respond-async;;;=",
];

/// Execution ids that everybody gives: two calls at once may have the same, and so may others' calls.
const IDS: [&str; 3] = ["batch-1", "shared", "alice-1"];

/// A call that says how far it has come, with a result of any size.
fn call(hand: &mut Hand, largest_result: u32) -> String {
    let (times, size) = (hand.rng.u32(0..12), hand.any_size(20_000));
    let result = hand.any_size(largest_result);
    // Seldom long: there are three workers, and the honest callers need one now and then.
    let pause = if hand.rng.u32(0..10) == 0 { 0.1 } else { 0.005 };
    format!("/api/mallory/progress?n={times}&size={size}&result={result}&pause={pause}")
}

/// Asks for a stream, and reads nothing of it, or goes away at any moment.
pub(super) fn leave_streamed(hand: &mut Hand) -> Result<Blow> {
    ask_for_stream(hand)
}

/// The same, and takes a little of all that it keeps.
pub(super) fn read_streamed_slowly(hand: &mut Hand) -> Result<Blow> {
    hand.sip();
    ask_for_stream(hand)
}

fn ask_for_stream(hand: &mut Hand) -> Result<Blow> {
    let target = call(hand, LARGEST);
    let mut stream = hand.connect_narrowly()?;
    stream.write_all(&request("GET", &target, "Accept: text/event-stream\r\n"))?;
    if hand.rng.u32(0..4) == 0 {
        // Away before the answer has begun, wherever the call is then. What that did cannot be seen from
        // here.
        hand.ground.pause(Duration::from_millis(hand.rng.u64(0..60)));
        return Ok(Blow::Refused("gone".to_owned()));
    }
    let head = read_head(&mut stream)?;
    let status = status(&head)?;
    if status != 200
        || !header(&head, "content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    {
        return Ok(Blow::Refused(status.to_string()));
    }
    let longest = if hand.rng.bool() { 300 } else { 15_000 };
    let time = Duration::from_millis(hand.rng.u64(0..longest));
    hand.hold(stream, time, KEPT);
    Ok(Blow::Struck(1))
}

/// Asks to be answered at once, as anybody or as somebody, with an execution id that others have, too; then
/// follows the call, or another's, or none.
pub(super) fn go_on_without(hand: &mut Hand) -> Result<Blow> {
    let preference = PREFERENCES[hand.rng.usize(0..PREFERENCES.len())];
    let mut headers = format!("Prefer: {preference}\r\n");
    let id = IDS[hand.rng.usize(0..IDS.len())];
    if hand.rng.bool() {
        headers += &format!("X-Execution-Id: {id}\r\n");
    }
    let mut credential = String::new();
    if hand.rng.bool() {
        credential = format!("Authorization: Bearer {}\r\n", hand.token("mallory")?);
        headers += &credential;
    }
    // Most of the results fit into an event.
    let largest = if hand.rng.u32(0..4) == 0 { LARGEST } else { 100_000 };
    let target = call(hand, largest);
    let (status, head) = hand.ask(&request("GET", &target, &headers))?;
    if status != 202 {
        return Ok(Blow::Refused(status.to_string()));
    }
    let own = header(&head, "location").context("202 without a location")?;
    let others = format!("/api/mallory/progress/info?id={id}");
    match hand.rng.u32(0..4) {
        0 => {}
        1 => follow(hand, &others, &credential)?,
        _ => follow(hand, own, &credential)?,
    }
    Ok(Blow::Struck(1))
}

fn follow(hand: &mut Hand, target: &str, credential: &str) -> Result<()> {
    let mut stream = hand.connect_narrowly()?;
    stream.write_all(&request("GET", target, &format!("Accept: text/event-stream\r\n{credential}")))?;
    read_head(&mut stream)?;
    let time = Duration::from_millis(hand.rng.u64(0..8_000));
    hand.hold(stream, time, KEPT);
    Ok(())
}
