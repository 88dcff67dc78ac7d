#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sse_proto::identity::Identity;
use sse_proto::record::{Envelope, Record};
use sse_proto::scope::{Scope, ScopeValue};
use sse_proto::word::{ExecutionId, Topic};

use super::lane::SEGMENT_BYTES;
use super::*;
use crate::stream::posting::Member;

const EPOCH: u64 = 7;

fn record(data: &str, scope: Scope, execution_id: Option<&str>) -> Vec<u8> {
    record_with(data, scope, None, execution_id)
}

fn record_with(data: &str, scope: Scope, topic: Option<&str>, execution_id: Option<&str>) -> Vec<u8> {
    let envelope = Envelope { scope: Cow::Owned(scope), topic, execution_id, ..Envelope::for_all() };
    Record::Event { envelope, data }.encode().unwrap()
}

fn log_of(events: &[&str]) -> StreamLog {
    let mut log = plain(StreamLog::new(EPOCH));
    let mut batch = Batch::new(1);
    for data in events {
        batch.push_record(&record(data, Scope::All, None));
    }
    log.append(&batch, 0);
    log
}

fn recipient(user_id: Option<&str>, topics: &[&str], execution_id: Option<&str>) -> Recipient {
    Recipient {
        identity: user_id.map(|id| Arc::new(Identity::try_new(Some(id), None, &["staff"]).unwrap())),
        topics: topics.iter().map(|topic| Topic::parse(topic).unwrap()).collect(),
        execution_id: execution_id.map(|id| ExecutionId::parse(id).unwrap()),
        call: None,
    }
}

/// The log with a stream in slot 0 that asked for nothing.
fn plain(mut log: StreamLog) -> StreamLog {
    log.postings.join(0, recipient(None, &[], None));
    log
}

fn member(log: &StreamLog) -> &Member {
    log.postings.member(0).unwrap()
}

/// Reads from a cursor as a slot does, `step` bytes at a time, and says where it ended.
fn read(log: &StreamLog, mut cursor: Cursor, framing: Framing, step: usize) -> (Vec<u8>, Cursor, u64) {
    let (mut out, mut events) = (Vec::new(), 0);
    loop {
        match log.run(cursor, member(log), framing) {
            Run::CaughtUp(cursor) => return (out, cursor, events),
            Run::FellOut => panic!("fell out at {cursor:?}"),
            Run::Paused(at) => cursor = at,
            Run::Bytes { bytes, from, end } => {
                assert!(!bytes.is_empty());
                let n = bytes.len().min(step);
                out.extend_from_slice(&bytes[..n]);
                cursor = if n == bytes.len() { end } else { log.advance(from, n, framing) };
                events += log.events_between(from, cursor);
                assert!(out.len() < log.bytes(), "it repeats itself");
            }
        }
    }
}

#[test]
fn a_run_of_events_is_one_slice() {
    let log = plain(log_of(&["a", "b", "c"]));
    let Run::Bytes { bytes, end, .. } = log.run(Cursor::before(1), member(&log), Framing::Chunked) else {
        panic!()
    };
    assert_eq!(bytes.len() + 3 * ENTRY_BYTES, log.bytes());
    assert_eq!((end.next, end.written), (4, 0));
    assert_eq!(log.run(end, member(&log), Framing::Chunked), Run::CaughtUp(end));
}

#[test]
fn what_is_written_in_pieces_of_any_length_is_the_same() {
    let mut log = plain(log_of(&["a", "", "b\nc"]));
    let mut batch = Batch::new(4);
    let mine = Scope::Authorize(vec![ScopeValue::Id("a".to_owned())]);
    for scope in [Scope::Nobody, mine, Scope::All] {
        batch.push_record(&record("d", scope, None));
    }
    log.append(&batch, 0);
    log.postings.join(0, recipient(Some("a"), &[], None));
    for framing in [Framing::Chunked, Framing::Bare] {
        let whole = read(&log, Cursor::before(1), framing, usize::MAX);
        assert_eq!(whole.2, 5);
        for step in 1..whole.0.len() {
            assert_eq!(read(&log, Cursor::before(1), framing, step), whole, "{step}");
        }
    }
}

#[test]
fn items_for_nobody_do_not_cut_a_run() {
    let mut log = plain(StreamLog::new(EPOCH));
    let mut batch = Batch::new(1);
    for scope in [Scope::Nobody, Scope::All, Scope::Nobody, Scope::All, Scope::Nobody] {
        batch.push_record(&record("x", scope, None));
    }
    log.append(&batch, 0);
    let Run::Bytes { bytes, end, .. } = log.run(Cursor::before(1), member(&log), Framing::Chunked) else {
        panic!()
    };
    assert_eq!(bytes.windows(4).filter(|w| w == b"data").count(), 2);
    assert_eq!((end.next, end.written), (6, 0));
    assert_eq!(log.events_between(Cursor::before(1), end), 2);
}

#[test]
fn an_event_for_others_does_not_cut_a_run_and_one_for_its_taker_comes_in_its_place() {
    let mut log = StreamLog::new(EPOCH);
    log.postings.join(0, recipient(Some("a"), &[], None));
    let mut batch = Batch::new(1);
    let only = |id: &str| Scope::Authorize(vec![ScopeValue::Id(id.to_owned())]);
    for (data, scope) in
        [("1", Scope::All), ("2", only("b")), ("3", Scope::All), ("4", only("a")), ("5", Scope::All)]
    {
        batch.push_record(&record(data, scope, None));
    }
    log.append(&batch, 0);
    let mut cursor = Cursor::before(1);
    let mut runs = Vec::new();
    while let Run::Bytes { bytes, end, .. } = log.run(cursor, member(&log), Framing::Chunked) {
        let data = std::str::from_utf8(bytes).unwrap().split("data: ").skip(1).map(|data| &data[..1]);
        runs.push(data.collect::<String>());
        cursor = end;
    }
    assert_eq!(runs, ["13", "4", "5"]);
}

#[test]
fn what_has_left_the_window_leaves_no_list_and_no_byte() {
    let mut log = StreamLog::new(EPOCH);
    let lists = log.postings.len();
    for slot in 0..4 {
        log.postings.join(slot, recipient(Some("a"), &["t"], Some("x")));
    }
    let mut batch = Batch::new(1);
    for n in 0..1000 {
        let values = vec![ScopeValue::Any(format!("u{}", n % 100)), ScopeValue::Role("STAFF".to_owned())];
        let topic = (n % 3 == 0).then_some("t");
        batch.push_record(&record_with("x", Scope::Authorize(values), topic, (n % 5 == 0).then_some("x")));
        batch.push_overflow(None);
    }
    log.append(&batch, 0);
    assert!(log.bytes() > 1000 * (PRIVATE_BYTES + ENTRY_BYTES));
    for slot in [2, 0, 3, 1] {
        log.postings.leave(slot);
    }
    assert!(log.postings.len() > 100);
    log.evict_to(700);
    log.evict_to(u64::MAX);
    assert_eq!((log.bytes(), log.postings.len(), log.privates.len()), (0, lists, 0));
    assert_eq!((log.public.len(), log.private.len()), (0, 0));
}

#[test]
fn an_event_is_filed_where_the_fewest_streams_are() {
    let mut log = StreamLog::new(EPOCH);
    for slot in 0..10 {
        log.postings.join(slot, recipient(Some(&format!("u{slot}")), &["t"], None));
    }
    let scope = |value: ScopeValue| Scope::Authorize(vec![value]);
    let id = scope(ScopeValue::Id("u3".to_owned()));
    let role = scope(ScopeValue::Role("Staff".to_owned()));
    let many = (0..100).map(|n| ScopeValue::Any(format!("u{n}"))).collect();
    let mut batch = Batch::new(1);
    for (scope, topic) in [(id.clone(), "t"), (role.clone(), "t"), (role, "other"), (id, "other")] {
        batch.push_record(&record_with("x", scope, Some(topic), None));
    }
    batch.push_record(&record_with("x", Scope::Authorize(many), Some("t"), None));
    log.append(&batch, 0);
    let candidates = |sequence| -> Vec<u32> {
        log.lists(sequence).iter().flat_map(|list| log.postings.slots(*list)).copied().collect()
    };
    assert_eq!(candidates(1), [3]);
    assert_eq!(candidates(2).len(), 10);
    assert_eq!((candidates(3).len(), candidates(4).len()), (0, 0));
    assert_eq!(candidates(5).len(), 10, "a long list is asked of everyone signed in");
}

#[test]
fn of_ten_thousand_streams_an_event_for_one_user_concerns_that_users_alone() {
    let mut log = StreamLog::new(EPOCH);
    for slot in 0..10_000 {
        log.postings.join(slot, recipient(Some(&slot.to_string()), &[], None));
    }
    let mut batch = Batch::new(1);
    for user in 0..10_000 {
        let only = Scope::Authorize(vec![ScopeValue::Id(user.to_string())]);
        batch.push_record(&record("x", only, None));
    }
    log.append(&batch, 0);
    for user in 0..10_000 {
        let lists = log.lists(u64::from(user) + 1);
        assert_eq!(lists.len(), 1);
        assert_eq!(log.postings.slots(lists[0]), [user]);
    }
}

#[test]
fn an_event_larger_than_a_segment_has_its_own() {
    let large = "x".repeat(SEGMENT_BYTES);
    let log = plain(log_of(&["a", &large, "b"]));
    assert_eq!(log.public.len(), 3);
    let (bytes, cursor, events) = read(&log, Cursor::before(1), Framing::Chunked, usize::MAX);
    assert_eq!((cursor.next, events), (4, 3));
    assert_eq!(bytes.len() + 3 * ENTRY_BYTES, log.bytes());
}

#[test]
fn the_window_is_bounded_by_its_size_and_its_age_exactly() {
    let mut log = plain(log_of(&["a", "b", "c"]));
    let one = log.bytes() / 3;
    let forever = Duration::from_secs(1000);
    assert_eq!(log.eviction(0, 3 * one, forever), 1);
    assert_eq!(log.eviction(0, 3 * one - 1, forever), 2);
    assert_eq!(log.eviction(0, 0, forever), 4);
    assert_eq!(log.eviction(50, usize::MAX, Duration::from_millis(50)), 1);
    assert_eq!(log.eviction(51, usize::MAX, Duration::from_millis(50)), 4);
    log.evict_to(3);
    assert_eq!((log.base(), log.head(), log.bytes()), (3, 3, one));
    assert_eq!(log.run(Cursor::before(2), member(&log), Framing::Chunked), Run::FellOut);
    log.evict_to(100);
    assert_eq!((log.base(), log.head(), log.bytes(), log.len()), (4, 3, 0, 0));
    let Run::CaughtUp(end) = log.run(Cursor::before(4), member(&log), Framing::Chunked) else { panic!() };
    assert_eq!((end.next, end.written), (4, 0));
}

#[test]
fn the_age_of_events_survives_the_wrap_of_the_clock() {
    let mut log = plain(StreamLog::new(EPOCH));
    let mut batch = Batch::new(1);
    batch.push_record(&record("x", Scope::All, None));
    log.append(&batch, u32::MAX - 10);
    assert_eq!(log.eviction(10, usize::MAX, Duration::from_millis(21)), 1);
    assert_eq!(log.eviction(11, usize::MAX, Duration::from_millis(21)), 2);
}

#[test]
fn a_segment_is_used_again() {
    let mut log = plain(StreamLog::new(EPOCH));
    let data = "x".repeat(1000);
    for sequence in 1..2000 {
        let mut batch = Batch::new(sequence);
        batch.push_record(&record(&data, Scope::All, None));
        log.append(&batch, 0);
        log.evict_to(log.eviction(0, 100_000, Duration::from_secs(1000)));
        assert!(log.public.len() <= 2);
    }
    assert!(log.bytes() <= 100_000);
}

#[test]
fn a_batch_that_is_known_already_is_not_taken_twice() {
    let mut log = plain(log_of(&["a", "b"]));
    let mut batch = Batch::new(2);
    batch.push_record(&record("b", Scope::All, None));
    batch.push_record(&record("c", Scope::All, None));
    log.append(&batch, 0);
    assert_eq!(log.head(), 3);
    let (bytes, ..) = read(&log, Cursor::before(3), Framing::Bare, usize::MAX);
    assert_eq!(bytes, b"id: 7-3\ndata: c\n\n");
}
