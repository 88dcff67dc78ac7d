//! What a gap counts: how many events were missed where that can be known, and null where not (C6.5).
#![allow(clippy::unwrap_used)]

mod support;

use sse_gateway::{Batch, Settings};
use sse_proto::scope::Scope;
use support::peer::{Event, Stream};
use support::{Raise, TestGateway, eventually, id, raise, settings};

const WINDOW: usize = 4000;

type Publish = fn(&mut Batch);

/// A gateway that has taken in `before` and then a hundred events for all, the last few of which are in the
/// window.
fn after_a_hundred_events(before: impl FnOnce(&mut Batch)) -> TestGateway {
    let gateway = TestGateway::with(Settings { window_size: WINDOW, ..settings() });
    gateway.publish_batch(before);
    for n in 0..100 {
        gateway.say(&format!("{n:0>200}"));
    }
    // Somebody who has come has been served, and afterwards the window was cut.
    eventually("cut", || {
        let mut stream = Stream::resume(gateway.port(), &id(1));
        stream.next();
        stream.next().name == "sse.gap" && gateway.count(|stats| &stats.window_bytes) <= WINDOW as u64
    });
    gateway
}

/// The gap that a stream begins with.
fn gap_of(gateway: &TestGateway, query: &str, last: u64) -> Event {
    let header = format!("Last-Event-ID: {}\r\n", id(last));
    let mut stream = Stream::ready_at(gateway.port(), &format!("/api/events/info{query}"), &header);
    stream.next()
}

fn expired(missed: &str) -> String {
    format!("{{\"reason\": \"expired\", \"missed\": {missed}}}")
}

#[test]
fn events_for_all_are_counted_from_the_first_that_was_missed() {
    let gateway = after_a_hundred_events(|_| {});
    for (last, missed) in [(0, "100"), (1, "99"), (40, "60")] {
        let gap = gap_of(&gateway, "", last);
        assert_eq!((&*gap.data, gap.id), (&*expired(missed), id(100)), "{last}");
    }
}

#[test]
fn what_was_missed_is_not_counted_when_any_of_it_was_not_simply_for_all() {
    let befores: [(&str, Publish); 6] = [
        ("for some", |batch| {
            let scope = Scope::parse("authorize id:1").unwrap();
            batch.push_record(&Raise { scope, ..raise("x") }.record());
        }),
        ("of a topic", |batch| {
            batch.push_record(&Raise { topic: Some("t".to_owned()), ..raise("x") }.record());
        }),
        ("of an execution", |batch| {
            batch.push_record(&Raise { execution_id: Some("job".to_owned()), ..raise("x") }.record());
        }),
        ("for nobody", |batch| {
            batch.push_record(&Raise { scope: Scope::Nobody, ..raise("x") }.record());
        }),
        ("too large", |batch| batch.push_record(&Raise { too_large: true, ..raise("") }.record())),
        ("an overflow", |batch| batch.push_overflow(Some(5))),
    ];
    for (what, before) in befores {
        let gateway = after_a_hundred_events(before);
        assert_eq!(gap_of(&gateway, "", 0).data, expired("null"), "{what} was missed");
        assert_eq!(gap_of(&gateway, "", 1).data, expired("100"), "{what} was seen");
        assert_eq!(gap_of(&gateway, "", 2).data, expired("99"), "{what} was seen long ago");
    }
}

#[test]
fn a_stream_with_topics_is_not_told_how_many_events_there_were_for_others() {
    let gateway = after_a_hundred_events(|_| {});
    assert_eq!(gap_of(&gateway, "?topic=t", 0).data, expired("null"));
    assert_eq!(gap_of(&gateway, "?topic=t", 40).data, expired("null"));
}

// Its label keeps events of other executions from it, none of which are in the public lane.
#[test]
fn a_stream_with_an_execution_id_counts_events_without_one() {
    let gateway = after_a_hundred_events(|_| {});
    assert_eq!(gap_of(&gateway, "?id=job", 40).data, expired("60"));
}
