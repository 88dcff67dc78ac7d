//! What a subscriber gets: events, gaps, and what becomes of one that is slow.
//!
//! Not for the bytes of a stream as they are documented: `pg_test/tests/streams.rs`, `encodings.rs` there.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use sse_gateway::Settings;
use sse_proto::scope::Scope;
use support::gaps::{gap, numbers};
use support::peer::{End, Event, Peer, Stream};
use support::{Raise, TestGateway, eventually, id, raise, settings};

#[test]
fn ready_means_subscribed() {
    let gateway = TestGateway::new();
    for n in 0..50 {
        let mut stream = Stream::ready(gateway.port());
        gateway.say(&n.to_string());
        assert_eq!(stream.next().data, n.to_string());
    }
}

#[test]
fn events_for_some_do_not_reach_the_anonymous_and_take_their_sequence() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    gateway.publish(&[
        Raise { scope: Scope::Authorize(Vec::new()), ..raise("secret") },
        Raise { scope: Scope::Matching, ..raise("secret") },
        Raise { scope: Scope::Nobody, ..raise("secret") },
        Raise { topic: Some("t".to_owned()), ..raise("secret") },
        Raise { scope: Scope::Nobody, too_large: true, ..raise("") },
        raise("for all"),
    ]);
    assert_eq!(stream.next(), Event { name: String::new(), data: "for all".to_owned(), id: id(6) });
    // Those that are for nobody, whoever listens.
    assert_eq!(gateway.count(|stats| &stats.undeliverable_total), 3);
}

#[test]
fn a_stream_with_topics_gets_no_event_without_one() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready_at(gateway.port(), "/api/events/info?topic=t", "");
    gateway.publish(&[raise("none of its topics")]);
    gateway.publish_batch(|batch| batch.push_overflow(None));
    assert_eq!(stream.next(), gap("overflow", "null", 2));
}

#[test]
fn overflow_and_refused_events_are_told_as_gaps() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    gateway.publish_batch(|batch| {
        batch.push_overflow(Some(7));
        batch.push_overflow(None);
        batch.push_record(&Raise { too_large: true, ..raise("") }.record());
        batch.push_record(b"\xff nonsense");
        batch.push_record(&raise("after").record());
    });
    assert_eq!(stream.next(), gap("overflow", "7", 1));
    assert_eq!(stream.next(), gap("overflow", "null", 2));
    assert_eq!(stream.next(), gap("too_large", "1", 3));
    assert_eq!(stream.next(), gap("overflow", "1", 4));
    assert_eq!(stream.next().id, id(5));
    assert_eq!(gateway.count(|stats| &stats.undecodable_total), 1);
}

#[test]
fn a_hole_in_the_sequences_is_told_as_a_gap() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    gateway.say("1");
    assert_eq!(stream.next().data, "1");
    let mut batch = sse_gateway::Batch::new(10);
    batch.push_record(&raise("10").record());
    gateway.publisher.lock().unwrap().try_publish(batch).unwrap();
    // It stood before the hole, so for it this is falling out of the window.
    assert_eq!(stream.next(), gap("slow", "null", 10));
    let mut newcomer = Stream::resume(gateway.port(), &id(8));
    assert_eq!(newcomer.next().id, id(8));
    assert_eq!(newcomer.next(), gap("overflow", "null", 9));
    assert_eq!(newcomer.next().data, "10");
}

#[test]
fn a_slow_subscriber_that_falls_out_of_the_window_gets_a_gap_and_goes_on_live() {
    let gateway = TestGateway::with(Settings { window_size: 200_000, ..settings() });
    let mut good = Stream::ready(gateway.port());
    let mut slow = Stream::ready(gateway.port());
    const EVENTS: usize = 40_000;
    for chunk in numbers(0..EVENTS).chunks(100) {
        let raises: Vec<Raise> = chunk.iter().map(|n| raise(format!("{n:0>200}"))).collect();
        gateway.publish(&raises);
        for n in chunk {
            assert_eq!(good.next().data, format!("{n:0>200}"), "others are not delayed");
        }
    }
    let (mut gaps, mut expected) = (0, 0);
    loop {
        let event = slow.next();
        if event.name == "sse.gap" {
            let gap: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(gap["reason"], "slow", "{event:?}");
            gaps += 1;
            expected += gap["missed"].as_u64().unwrap();
        } else if event.data == "live" {
            break;
        } else {
            assert_eq!(event.data.parse(), Ok(expected), "whole and in order, but for what a gap counts");
            expected += 1;
        }
        // Not before: a further gap would count it.
        if expected == EVENTS as u64 {
            gateway.say("live");
        }
    }
    assert_eq!((gaps > 0, expected), (true, EVENTS as u64));
    assert_eq!(gateway.count(|stats| &stats.gaps_total), gaps);
}

#[test]
fn a_subscriber_that_pauses_gets_everything_that_is_still_in_the_window() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    for chunk in numbers(0..20_000).chunks(500) {
        let raises: Vec<Raise> = chunk.iter().map(|n| raise(format!("{n:0>300}"))).collect();
        gateway.publish(&raises);
    }
    eventually("taken in", || gateway.count(|stats| &stats.window_events) == 20_000);
    for n in 0..20_000 {
        assert_eq!(stream.next().data, format!("{n:0>300}"));
    }
    eventually("counted", || gateway.count(|stats| &stats.deliveries_total) == 20_000);
}

#[test]
fn a_subscriber_that_takes_nothing_is_disconnected_and_others_are_not_delayed() {
    let gateway = TestGateway::with(Settings { write_timeout: Duration::from_millis(300), ..settings() });
    let mut good = Stream::ready(gateway.port());
    let stalled = Stream::ready(gateway.port());
    let payload = "x".repeat(100_000);
    let began = Instant::now();
    for _ in 0..100 {
        gateway.say(&payload);
        assert_eq!(good.next().data.len(), payload.len());
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    eventually("disconnected", || gateway.count(|stats| &stats.write_timeouts_total) == 1);
    eventually("its slot is free", || gateway.subscribers() == 1);
    gateway.say("still there");
    assert_eq!(good.next().data, "still there");
    drop(stalled);
}

// Ten thousand stalled subscribers must not hold ten thousand copies of a large event.
#[test]
fn a_subscriber_in_the_middle_of_a_large_event_that_left_the_window_is_cut_and_told_when_it_returns() {
    let gateway = TestGateway::with(Settings { window_size: 1 << 20, ..settings() });
    let mut good = Stream::ready(gateway.port());
    let stalled = Stream::ready(gateway.port());
    let payload = "x".repeat(500_000);
    for _ in 0..40 {
        gateway.say(&payload);
        assert_eq!(good.next().data.len(), payload.len());
    }
    eventually("cut", || gateway.subscribers() == 1);
    let (end, events) = stalled.end();
    assert_eq!(end, End::Cut);
    assert!(events.iter().all(|event| event.data.len() == payload.len()), "only whole events count");
    let last = events.last().map_or(id(0), |event| event.id.clone());
    let mut again = Stream::resume(gateway.port(), &last);
    again.next();
    let missed = (40 - events.len()).to_string();
    assert_eq!(again.next(), gap("expired", &missed, 40));
}

#[test]
fn a_stream_over_http_1_0_is_bare_and_ends_by_closing() {
    let gateway = TestGateway::new();
    let mut stream =
        Peer::ask(gateway.port(), "GET /api/events/info HTTP/1.0\r\nHost: localhost\r\n\r\n").into_stream();
    assert_eq!(stream.head.header("transfer-encoding"), "");
    assert_eq!(stream.head.header("connection"), "close");
    assert_eq!(stream.next().name, "sse.ready");
    gateway.publish(&[raise("1"), Raise { scope: Scope::Nobody, ..raise("no") }, raise("a\nb")]);
    let large = "y".repeat(3 << 20);
    gateway.say(&large);
    assert_eq!(stream.take(3), ["1", "a\nb", &large]);
    gateway.stop(Duration::from_secs(2));
    assert_eq!(stream.end(), (End::Clean, Vec::new()));
}
