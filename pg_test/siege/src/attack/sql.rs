//! What an ordinary role does to a routine of its own, and with it: comments, hints, transactions.
//!
//! Not for objects that come and go: `objects`.

use anyhow::Result;

use super::hand::{Blow, Hand};
use crate::memory::RING_SIZE;

/// Longest comment, in bytes. A comment may have a gigabyte; these are beyond every bound that there is for
/// one.
const LONGEST_COMMENT: u32 = 8_000_000;

/// Size of one event of those that fill the ring, in bytes: large, so that the ring is measured and not the
/// publisher.
const EVENT: u64 = 40_000;

/// A comment of up to megabytes, each line with a mistake in it, or with none.
pub(super) fn comment_hugely(hand: &mut Hand) -> Result<Blow> {
    let line = [r"@authorise\n", r"@sse_scope id:\n", r"prose without end\n", r"@authorize role:a\n"]
        [hand.rng.usize(0..4)];
    // Not the first comment: if this one takes too long, there is at least that one.
    hand.number += 1;
    let size = if hand.number.is_multiple_of(3) { LONGEST_COMMENT } else { hand.any_size(LONGEST_COMMENT) };
    let times = size as usize / line.len() + 1;
    // Made by the server, so that megabytes need not be sent.
    hand.strike(
        "mallory",
        &format!(
            "do $do$ begin execute 'comment on function mallory.victim() is ' || quote_literal(E'@sse\\n' || repeat(E'{line}', {times})); end $do$"
        ),
    )
}

/// A small one that differs each time, in words and in meaning.
pub(super) fn change_comment(hand: &mut Hand) -> Result<Blow> {
    hand.number += 1;
    let meaning =
        ["@sse", "HTTP POST", "@authorise", "@sse_publish on notice", "nothing", "HTTP GET /api/say/info"]
            [hand.rng.usize(0..6)];
    let number = hand.number;
    hand.strike(
        "mallory",
        &format!(
            "comment on function mallory.noise is E'{meaning}\\nnumber {number}\\n@sse\\n@sse_topic noise'"
        ),
    )
}

/// An event for thousands of roles, or users, or with a hint that is none.
pub(super) fn hint_at_thousands(hand: &mut Hand) -> Result<Blow> {
    let count = hand.any_size(20_000);
    let value = ["role:r", "id:", "", "name:n"][hand.rng.usize(0..4)];
    hand.strike(
        "mallory",
        &format!(
            "select mallory.noise(1, 100, 'authorize ' || (select string_agg('{value}' || i, ', ') from generate_series(1, {count}) i))"
        ),
    )
}

/// A transaction whose events are about as large as the ring, with and without waiting for room.
pub(super) fn fill_ring(hand: &mut Hand) -> Result<Blow> {
    let timeout = ["0", "2s"][hand.rng.usize(0..2)];
    let events = RING_SIZE * hand.rng.u64(80..120) / 100 / EVENT;
    hand.query("mallory", &format!("set sse.publish_timeout = '{timeout}'"))?.ok()?;
    hand.strike("mallory", &format!("select mallory.noise({events}, {EVENT}, '')"))
}
