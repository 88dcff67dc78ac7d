//! Streams that begin with a snapshot, of functions that are slow, or fail, or answer with too much, or come
//! and go.
//!
//! Not for a snapshot that is right: that is the honest follower's.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;

use super::hand::{Blow, Hand, header, read_head, request, status};

/// Streams that one attacker keeps.
const KEPT: usize = 25;

/// Clients that come back at the same moment.
const CROWD: usize = 10;

/// Streams with snapshots (schema.sql): for all at once, for each, slow, failing, of any size, and of a
/// function that comes and goes.
const STREAMS: [&str; 6] = ["all", "own", "slow", "failing", "huge", "gone"];

/// Opens streams with snapshots of all kinds, and leaves most of them unread.
pub(super) fn want(hand: &mut Hand) -> Result<Blow> {
    let stream = STREAMS[hand.rng.usize(0..STREAMS.len())];
    let time = Duration::from_millis(hand.rng.u64(0..6_000));
    hand.sip();
    open(hand, stream, "", time)
}

/// A crowd that comes back at once, with the id that it has, or none, or one that nobody gave.
pub(super) fn come_back_in_a_crowd(hand: &mut Hand) -> Result<Blow> {
    let stream = ["all", "own", "slow"][hand.rng.usize(0..3)];
    let id = match hand.rng.u32(0..3) {
        0 => String::new(),
        1 => "Last-Event-ID: 1-2s\r\n".to_owned(),
        _ => hand.text.clone(),
    };
    let (mut struck, mut refused) = (0, String::new());
    for _ in 0..CROWD {
        let time = Duration::from_millis(hand.rng.u64(0..1_500));
        match open(hand, stream, &id, time)? {
            Blow::Struck(count) => struck += count,
            Blow::Refused(how) => refused = how,
        }
    }
    Ok(if struck > 0 { Blow::Struck(struck) } else { Blow::Refused(refused) })
}

fn open(hand: &mut Hand, name: &str, id: &str, time: Duration) -> Result<Blow> {
    let mut headers = format!("Accept: text/event-stream\r\n{id}");
    if hand.rng.bool() {
        let user = ["mallory", "mallory-2", "mallory-3"][hand.rng.usize(0..3)];
        headers += &format!("Authorization: Bearer {}\r\n", hand.token(user)?);
    }
    let mut stream = hand.connect_narrowly()?;
    stream.write_all(&request("GET", &format!("/api/mallory/with-{name}/info"), &headers))?;
    let head = read_head(&mut stream)?;
    let status = status(&head)?;
    if status != 200 {
        return Ok(Blow::Refused(status.to_string()));
    }
    // The id of `sse.ready`, if it has come with the head.
    if let Some(id) = header(&head, "id") {
        hand.text = format!("Last-Event-ID: {id}\r\n");
    }
    hand.hold(stream, time, KEPT);
    Ok(Blow::Struck(1))
}

/// The function of a stream goes, and another one comes in its place: with other arguments, another result,
/// or an overload.
pub(super) fn come_and_go(hand: &mut Hand) -> Result<Blow> {
    let function = [
        "function mallory.gone_now() returns text language sql as 'select ''x'''",
        "function mallory.gone_now() returns setof int language sql as 'select generate_series(1, 100)'",
        "function mallory.gone_now(_user_id text) returns text language sql as 'select _user_id'",
        "function mallory.gone_now(n int) returns int language sql as 'select n'",
        "procedure mallory.gone_now() language sql as ''",
    ];
    let next = function[hand.rng.usize(0..function.len())];
    hand.strike(
        "mallory",
        &format!(
            "drop routine if exists mallory.gone_now(); drop routine if exists mallory.gone_now(text);
             drop routine if exists mallory.gone_now(int); create {next}"
        ),
    )
}
