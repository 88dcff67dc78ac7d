//! What a record of the write-ahead log contains: its bytes, its bounds, and what is refused (C10.6).
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sse_proto::log_record::{
    Delivery, LogRecord, LogRecordError, MAX_PART_BYTES, MESSAGE_HEAD_BYTES, PART_HEAD_BYTES, Part, VERSION,
    decode, mark, message_head, part_head, parts, payload,
};

const DELIVERIES: [Delivery; 3] = [Delivery::Commit, Delivery::Lazy, Delivery::Immediate];

fn message(is_transactional: bool, ours: &[u8]) -> Vec<u8> {
    [&message_head(is_transactional)[..], ours].concat()
}

#[cfg(target_endian = "little")]
#[test]
fn the_bytes_are_these() {
    let head = b"\0\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0pg_sse\0";
    assert_eq!(message_head(true), *head);
    assert_eq!(message_head(false)[4], 0);
    let part = |delivery, place, is_first, is_last| Part {
        delivery,
        place,
        is_first,
        is_last,
        ignores_standbys: delivery == Delivery::Immediate,
        bytes: b"",
    };
    assert_eq!(part_head(&part(Delivery::Commit, 7, true, false)), [1, 1, 0, 1, 7, 0, 0, 0]);
    assert_eq!(part_head(&part(Delivery::Lazy, 258, false, true)), [1, 1, 1, 2, 2, 1, 0, 0]);
    assert_eq!(part_head(&part(Delivery::Immediate, 0, true, true)), [1, 1, 2, 7, 0, 0, 0, 0]);
    assert_eq!(mark(0x0102_0304_0506_0708), [1, 2, 8, 7, 6, 5, 4, 3, 2, 1]);
}

/// The attack: a role writes a logical message that looks like ours. `pg_logical_emit_message` writes the
/// oid of the session's database, and the length of what it was given.
#[test]
fn what_sql_can_write_is_not_ours() {
    let ours = mark(1);
    assert_eq!(payload(&message(false, &ours)), Some(&ours[..]));
    assert_eq!(payload(&message(true, b"")), Some(&b""[..]));
    for place in 0..MESSAGE_HEAD_BYTES {
        let mut forged = message(true, &ours);
        forged[place] ^= 0x40;
        assert_eq!(payload(&forged), None, "byte {place}");
        assert_eq!(payload(&message(true, &ours)[..place]), None, "{place} bytes");
    }
}

#[test]
fn what_another_version_wrote_and_what_is_broken_is_refused_with_the_reason() {
    let full = part_head(&Part {
        delivery: Delivery::Commit,
        place: 1,
        is_first: true,
        is_last: true,
        ignores_standbys: true,
        bytes: b"",
    });
    let changed = |place: usize, byte: u8| {
        let mut changed = full;
        changed[place] = byte;
        decode(&changed).map(drop)
    };
    assert_eq!(changed(0, VERSION + 1), Err(LogRecordError::Version(VERSION + 1)));
    assert_eq!(changed(1, 3), Err(LogRecordError::Choice(3)));
    assert_eq!(changed(2, 3), Err(LogRecordError::Choice(3)));
    assert_eq!(changed(3, 8), Err(LogRecordError::Choice(8)));
    for bytes in 0..PART_HEAD_BYTES {
        assert_eq!(decode(&full[..bytes]), Err(LogRecordError::Truncated), "{bytes} bytes");
    }
    let whole = mark(9);
    assert_eq!(decode(&whole[..whole.len() - 1]), Err(LogRecordError::Truncated));
    assert_eq!(decode(&[&whole[..], &[0]].concat()), Err(LogRecordError::TrailingBytes));
}

#[test]
fn a_body_is_cut_below_at_and_above_the_limit_of_a_part() {
    let cut = |bytes| parts(bytes).map(|range| (range.start, range.end)).collect::<Vec<_>>();
    const MOST: usize = MAX_PART_BYTES;
    assert_eq!(cut(0), [(0, 0)]);
    assert_eq!(cut(MOST - 1), [(0, MOST - 1)]);
    assert_eq!(cut(MOST), [(0, MOST)]);
    assert_eq!(cut(MOST + 1), [(0, MOST), (MOST, MOST + 1)]);
    assert_eq!(cut(2 * MOST), [(0, MOST), (MOST, 2 * MOST)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_what_is_read(
        which in 0..3_usize, place: u32, flags: [bool; 3], bytes: Vec<u8>, start: u64,
    ) {
        let delivery = DELIVERIES[which];
        let [is_first, is_last, ignores_standbys] = flags;
        let part = Part { delivery, place, is_first, is_last, ignores_standbys, bytes: &bytes };
        let written = [&part_head(&part)[..], &bytes].concat();
        prop_assert_eq!(decode(&written), Ok(LogRecord::Events(part)));
        let written = mark(start);
        prop_assert_eq!(decode(&written), Ok(LogRecord::Mark { start }));
    }

    #[test]
    fn any_bytes_are_an_answer(bytes: Vec<u8>, version in 0..3_u8, kind in 0..5_u8) {
        let _ = payload(&bytes);
        let _ = decode(&bytes);
        let _ = decode(&[&[version, kind][..], &bytes].concat());
    }
}
