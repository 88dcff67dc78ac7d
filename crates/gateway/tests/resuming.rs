//! Who comes back with the id of an event: no hole, no double, or a gap that says so (C5.3).
//!
//! Not for what a stream has from its beginning on (`streams.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use sse_gateway::Settings;
use sse_proto::scope::Scope;
use support::gaps::{gap, numbers};
use support::peer::{Event, Stream};
use support::{EPOCH, Raise, TestGateway, config, eventually, id, raise, settings};

#[test]
fn a_resumed_stream_has_no_hole_and_no_double() {
    let gateway = TestGateway::new();
    for n in 0..20 {
        gateway.say(&n.to_string());
    }
    let first = Stream::ready(gateway.port());
    drop(first);
    for from in [0, 1, 10, 19, 20] {
        let mut stream = Stream::resume(gateway.port(), &id(from));
        assert_eq!(
            stream.next(),
            Event { name: "sse.ready".to_owned(), data: "{}".to_owned(), id: id(from) }
        );
        assert_eq!(stream.take(20 - from as usize), numbers(from as usize..20));
    }
    let mut by_query = Stream::get(gateway.port(), &format!("/api/events/info?last_event_id={}", id(18)), "");
    assert_eq!(by_query.next().id, id(18));
    assert_eq!(by_query.take(2), ["18", "19"]);
    let header = format!("Last-Event-ID: {}\r\n", id(19));
    let mut by_both = Stream::get(gateway.port(), "/api/events/info?last_event_id=junk", &header);
    assert_eq!(by_both.next().id, id(19));
    assert_eq!(by_both.take(1), ["19"]);
    gateway.say("live");
    assert_eq!(by_both.next().data, "live");
}

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

#[test]
fn resuming_under_load_has_no_hole_and_no_double() {
    let gateway =
        Arc::new(TestGateway::configured(sse_gateway::Config { threads: 2, ..config() }, settings()));
    const EVENTS: usize = 20_000;
    let publisher = std::thread::spawn({
        let gateway = Arc::clone(&gateway);
        move || {
            for chunk in numbers(0..EVENTS).chunks(7) {
                let raises: Vec<Raise> = chunk.iter().map(|data| raise(data.as_str())).collect();
                gateway.publish(&raises);
            }
        }
    });
    let subscribers: Vec<_> = (0..8)
        .map(|seed: usize| {
            let port = gateway.port();
            std::thread::spawn(move || {
                let mut last = id(0);
                let (mut expected, mut streams, mut patience) = (0, 0, 1 + seed * 13);
                while expected < EVENTS {
                    let mut stream = Stream::resume(port, &last);
                    assert_eq!(stream.next().id, last, "ready carries the accepted id");
                    streams += 1;
                    for _ in 0..patience {
                        let event = stream.next();
                        assert_eq!(event.data, expected.to_string(), "hole, double or gap after {last}");
                        last = event.id;
                        expected += 1;
                        if expected == EVENTS {
                            break;
                        }
                    }
                    patience = patience * 2 % 1999 + 1;
                }
                streams
            })
        })
        .collect();
    publisher.join().unwrap();
    let streams: usize = subscribers.into_iter().map(|subscriber| subscriber.join().unwrap()).sum();
    assert!(streams > 50, "{streams}");
}
