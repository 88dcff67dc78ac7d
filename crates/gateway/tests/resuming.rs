//! Whoever comes back with the id of an event: no hole, no double, or a gap that says so (C5.3).
//!
//! Not for what a stream has from its beginning on (`streams.rs`), nor for streams that are cut and come back
//! while events flow (`targeted_random.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sse_gateway::Settings;
use sse_proto::scope::Scope;
use support::gaps::gap;
use support::peer::Stream;
use support::{EPOCH, Raise, TestGateway, eventually, id, raise, settings};

#[test]
fn an_id_that_cannot_be_resumed_is_answered_by_a_gap_and_goes_on_live() {
    let gateway = TestGateway::with(Settings { window_size: 2000, ..settings() });
    for n in 0..100 {
        gateway.say(&format!("{n:0>50}"));
    }
    let mut probe = Stream::resume(gateway.port(), &id(100));
    assert_eq!(probe.next().id, id(100));
    eventually("evicted", || gateway.count(|stats| &stats.window_bytes) <= 2000);
    for (last, reason, missed) in [
        (id(1), "expired", "99"),
        (id(0), "expired", "100"),
        (format!("{:x}-5", EPOCH + 1), "restarted", "null"),
        (format!("{:x}-5", EPOCH - 1), "restarted", "null"),
        (id(101), "unknown", "null"),
        (id(u64::MAX), "unknown", "null"),
        ("junk".to_owned(), "unknown", "null"),
        ("\u{e4}\u{f6}".to_owned(), "unknown", "null"),
        ("E-1".to_owned(), "unknown", "null"),
    ] {
        let mut stream = Stream::resume(gateway.port(), &last);
        let ready = stream.next();
        assert_eq!((&*ready.name, &*ready.data), ("sse.ready", "{}"), "{last}");
        assert_eq!(stream.next(), gap(reason, missed, 100), "{last}");
        // Had the connection broken between the two, the gap would not be lost.
        let mut again = Stream::resume(gateway.port(), &ready.id);
        again.next();
        assert_eq!(again.next(), gap(reason, missed, 100), "{last}, after {}", ready.id);
    }
    for empty in ["", " "] {
        let mut stream = Stream::resume(gateway.port(), empty);
        assert_eq!(stream.next().id, id(100));
        let comments = stream.comments(1);
        assert_eq!(comments, ["connected"]);
    }
    gateway.say("live");
    assert_eq!(probe.next().data, "live");
}

#[test]
fn events_leave_the_window_by_age() {
    let gateway = TestGateway::with(Settings {
        window_age: Duration::from_millis(30),
        write_timeout: Duration::from_millis(100),
        ..settings()
    });
    let mut keeps_up = Stream::ready(gateway.port());
    gateway.say("old");
    assert_eq!(keeps_up.next().data, "old");
    eventually("evicted", || {
        let mut late = Stream::resume(gateway.port(), &id(0));
        late.next();
        let event = late.next();
        event.name == "sse.gap" && event == gap("expired", "1", 1)
    });
    let mut in_time = Stream::resume(gateway.port(), &id(1));
    assert_eq!(in_time.next().id, id(1));
    gateway.say("new");
    assert_eq!(in_time.next().data, "new");
    assert_eq!(keeps_up.next().data, "new");
}

#[test]
fn who_keeps_up_never_falls_out_of_a_window_that_is_smaller_than_a_batch() {
    let gateway = TestGateway::with(Settings { window_size: 1000, ..settings() });
    let mut stream = Stream::ready(gateway.port());
    for round in 0..20 {
        let raises: Vec<Raise> = (0..100).map(|n| raise(format!("{:0>40}", round * 100 + n))).collect();
        gateway.publish(&raises);
        for n in 0..100 {
            assert_eq!(stream.next().data, format!("{:0>40}", round * 100 + n));
        }
    }
    // Items for nobody push it on, too, without a gap.
    gateway.publish(&vec![Raise { scope: Scope::Nobody, ..raise("x") }; 1000]);
    gateway.say("last");
    assert_eq!(stream.next().data, "last");
}
