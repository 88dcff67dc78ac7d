#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::time::Duration;

use proptest::prelude::*;
use sse_proto::annotation::Access;
use sse_proto::record::{Envelope, Record, encode_into};
use sse_proto::scope::Scope;
use sse_proto::sse::append_event;

use super::*;
use crate::audience::Filter;

const EPOCH: u64 = 7;

fn record(data: &str, scope: Scope, execution_id: Option<&str>) -> Vec<u8> {
    let envelope = Envelope {
        scope: Cow::Owned(scope),
        access: Cow::Owned(Access::Unspecified),
        topic: None,
        event: None,
        execution_id,
        emitter: None,
    };
    let mut out = Vec::new();
    encode_into(&Record::Event { envelope, data }, &mut out).unwrap();
    out
}

fn log_of(events: &[&str]) -> StreamLog {
    let mut log = StreamLog::new(EPOCH);
    let mut batch = Batch::new(1);
    for data in events {
        batch.push_record(&record(data, Scope::All, None));
    }
    log.append(&batch, 0);
    log
}

/// Reads from a cursor as a slot does, `step` bytes at a time, and says where it ended.
fn read(
    log: &StreamLog,
    mut cursor: Cursor,
    filter: Option<&Filter>,
    framing: Framing,
    step: usize,
) -> (Vec<u8>, Cursor, u64) {
    let (mut out, mut events) = (Vec::new(), 0);
    loop {
        match log.run(cursor, filter, framing) {
            Run::CaughtUp(cursor) => return (out, cursor, events),
            Run::FellOut => panic!("fell out at {cursor:?}"),
            Run::Bytes { bytes, from, end } => {
                let n = bytes.len().min(step);
                out.extend_from_slice(&bytes[..n]);
                cursor = if n == bytes.len() { end } else { log.advance(from, n, framing) };
                events += log.events_between(from.next, cursor.next);
            }
        }
    }
}

#[test]
fn a_run_of_events_is_one_slice() {
    let log = log_of(&["a", "b", "c"]);
    let Run::Bytes { bytes, end, .. } = log.run(Cursor::before(1), None, Framing::Chunked) else { panic!() };
    assert_eq!(bytes.len() + 3 * ENTRY_BYTES, log.bytes());
    assert_eq!(end, Cursor::before(4));
    assert_eq!(log.run(end, None, Framing::Chunked), Run::CaughtUp(end));
}

#[test]
fn items_for_nobody_do_not_cut_a_run() {
    let mut log = StreamLog::new(EPOCH);
    let mut batch = Batch::new(1);
    for scope in [Scope::Nobody, Scope::All, Scope::Nobody, Scope::All, Scope::Nobody] {
        batch.push_record(&record("x", scope, None));
    }
    log.append(&batch, 0);
    let Run::Bytes { bytes, end, .. } = log.run(Cursor::before(1), None, Framing::Chunked) else { panic!() };
    assert_eq!(bytes.windows(4).filter(|w| w == b"data").count(), 2);
    assert_eq!(end, Cursor::before(6));
    assert_eq!(log.events_between(1, 6), 2);
}

#[test]
fn an_event_larger_than_a_segment_has_its_own() {
    let large = "x".repeat(SEGMENT_BYTES);
    let log = log_of(&["a", &large, "b"]);
    assert_eq!(log.segments.len(), 3);
    let (bytes, cursor, events) = read(&log, Cursor::before(1), None, Framing::Chunked, usize::MAX);
    assert_eq!((cursor, events), (Cursor::before(4), 3));
    assert_eq!(bytes.len() + 3 * ENTRY_BYTES, log.bytes());
}

#[test]
fn the_window_is_bounded_by_its_size_and_its_age_exactly() {
    let mut log = log_of(&["a", "b", "c"]);
    let one = log.bytes() / 3;
    let forever = Duration::from_secs(1000);
    assert_eq!(log.eviction(0, 3 * one, forever), 1);
    assert_eq!(log.eviction(0, 3 * one - 1, forever), 2);
    assert_eq!(log.eviction(0, 0, forever), 4);
    assert_eq!(log.eviction(50, usize::MAX, Duration::from_millis(50)), 1);
    assert_eq!(log.eviction(51, usize::MAX, Duration::from_millis(50)), 4);
    log.evict_to(3);
    assert_eq!((log.base(), log.head(), log.bytes()), (3, 3, one));
    assert_eq!(log.run(Cursor::before(2), None, Framing::Chunked), Run::FellOut);
    log.evict_to(100);
    assert_eq!((log.base(), log.head(), log.bytes(), log.len()), (4, 3, 0, 0));
    assert_eq!(log.run(Cursor::before(4), None, Framing::Chunked), Run::CaughtUp(Cursor::before(4)));
}

#[test]
fn the_age_of_events_survives_the_wrap_of_the_clock() {
    let mut log = StreamLog::new(EPOCH);
    let mut batch = Batch::new(1);
    batch.push_record(&record("x", Scope::All, None));
    log.append(&batch, u32::MAX - 10);
    assert_eq!(log.eviction(10, usize::MAX, Duration::from_millis(21)), 1);
    assert_eq!(log.eviction(11, usize::MAX, Duration::from_millis(21)), 2);
}

#[test]
fn a_segment_is_used_again() {
    let mut log = StreamLog::new(EPOCH);
    let data = "x".repeat(1000);
    for sequence in 1..2000 {
        let mut batch = Batch::new(sequence);
        batch.push_record(&record(&data, Scope::All, None));
        log.append(&batch, 0);
        log.evict_to(log.eviction(0, 100_000, Duration::from_secs(1000)));
        assert!(log.segments.len() <= 2);
    }
    assert!(log.bytes() <= 100_000);
}

#[test]
fn a_batch_that_is_known_already_is_not_taken_twice() {
    let mut log = log_of(&["a", "b"]);
    let mut batch = Batch::new(2);
    batch.push_record(&record("b", Scope::All, None));
    batch.push_record(&record("c", Scope::All, None));
    log.append(&batch, 0);
    assert_eq!(log.head(), 3);
    let (bytes, ..) = read(&log, Cursor::before(3), None, Framing::Bare, usize::MAX);
    assert_eq!(bytes, b"id: 7-3\ndata: c\n\n");
}

#[derive(Debug, Clone)]
struct Item {
    data: String,
    for_all: bool,
    execution_id: Option<&'static str>,
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let data = prop_oneof![8 => "[a-c\n]{0,40}", 1 => "x{300}".prop_map(|x| x.repeat(400))];
    let id = prop_oneof![3 => Just(None), 1 => Just(Some("a")), 1 => Just(Some("b"))];
    let item = (data, prop::bool::weighted(0.8), id);
    prop::collection::vec(
        item.prop_map(|(data, for_all, execution_id)| Item { data, for_all, execution_id }),
        0..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Against a plain list: whatever is appended in whatever batches and read in whatever steps from wherever, a
    /// subscriber gets exactly its events, in order, whole, in either framing; and a position in the middle of an
    /// event knows its rest.
    #[test]
    fn every_subscriber_reads_exactly_its_events(
        items in items(),
        batch_len in 1usize..7,
        step in 1usize..2000,
        from in 0u64..40,
        mine in prop_oneof![Just(None), Just(Some("a")), Just(Some("none"))],
        topics: bool,
        bare: bool,
        evicted in 0u64..40,
    ) {
        let mut log = StreamLog::new(EPOCH);
        for (n, items) in items.chunks(batch_len).enumerate() {
            let mut batch = Batch::new((n * batch_len) as u64 + 1);
            for item in items {
                let scope = if item.for_all { Scope::All } else { Scope::Nobody };
                batch.push_record(&record(&item.data, scope, item.execution_id));
            }
            log.append(&batch, 0);
        }
        log.evict_to(evicted);
        let from = from.min(items.len() as u64).max(log.base() - 1) + 1;
        let filter = (mine.is_some() || topics)
            .then(|| Filter { has_topics: topics, execution_id: mine.map(Box::from) });
        let framing = if bare { Framing::Bare } else { Framing::Chunked };
        let (mut expected, mut count) = (Vec::new(), 0);
        for (n, item) in items.iter().enumerate().skip(from as usize - 1) {
            let differs = matches!((mine, item.execution_id), (Some(mine), Some(its)) if mine != its);
            if !item.for_all || topics || differs {
                continue;
            }
            let mut event = Vec::new();
            append_event(&mut event, EventId { epoch: EPOCH, sequence: n as u64 + 1 }, None, &item.data);
            if bare {
                expected.extend_from_slice(&event);
            } else {
                sse_proto::sse::append_chunk(&mut expected, &event);
            }
            count += 1;
        }
        let (bytes, cursor, events) = read(&log, Cursor::before(from), filter.as_ref(), framing, step);
        prop_assert!(bytes == expected);
        prop_assert_eq!(cursor, Cursor::before(items.len() as u64 + 1));
        if filter.is_none() {
            prop_assert_eq!(events, count);
        }
        if let Run::Bytes { bytes, from, .. } = log.run(Cursor::before(from), filter.as_ref(), framing)
            && step < bytes.len()
        {
            let middle = log.advance(from, step, framing);
            let rest = log.rest(middle, framing);
            prop_assert!(middle.written == 0 || bytes[step..].starts_with(rest));
            prop_assert!(middle.written == 0 || !rest.is_empty());
        }
    }
}
