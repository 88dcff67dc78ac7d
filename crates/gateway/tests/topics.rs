//! Topics and execution ids on real streams: their order, their gaps, their heartbeats (C4.4, C4.5).
//!
//! Not for which events a stream gets: `pg_test/tests/topics.rs`, `scopes.rs` there.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sse_gateway::Settings;
use support::peer::{Event, Stream};
use support::{EPOCH, Raise, TestGateway, raise, settings};

fn open(gateway: &TestGateway, target: &str) -> Stream {
    Stream::ready_at(gateway.port(), target, "")
}

fn in_topic(topic: &str, data: &str) -> Raise {
    Raise { topic: Some(topic.to_owned()), ..raise(data) }
}

#[test]
fn who_would_have_got_a_refused_event_is_told_and_nobody_else() {
    let gateway = TestGateway::new();
    let mut plain = open(&gateway, "/api/events/info");
    let mut topical = open(&gateway, "/api/events/info?topic=t");
    let mut other = open(&gateway, "/api/events/info?topic=u");
    gateway.publish(&[
        Raise { too_large: true, ..in_topic("t", "") },
        raise("plain"),
        in_topic("t", "in t"),
        in_topic("u", "in u"),
    ]);
    let gap = topical.next();
    let data = "{\"reason\": \"too_large\", \"missed\": 1}".to_owned();
    assert_eq!(gap, Event { name: "sse.gap".to_owned(), data, id: format!("{EPOCH:x}-1") });
    assert_eq!((plain.next().data, topical.next().data, other.next().data), {
        ("plain".to_owned(), "in t".to_owned(), "in u".to_owned())
    });
}

#[test]
fn events_of_both_lanes_come_in_the_order_of_their_ids_in_one_stream() {
    let gateway = TestGateway::new();
    let mut stream = open(&gateway, "/api/events/info");
    for round in 0..50 {
        let raises: Vec<Raise> = (0..200)
            .map(|n| Raise {
                execution_id: (n % 3 == 0).then(|| "x".to_owned()),
                topic: (n % 7 == 1).then(|| "for others".to_owned()),
                ..raise((round * 200 + n).to_string())
            })
            .collect();
        gateway.publish(&raises);
    }
    let expected: Vec<String> =
        (0..10_000).filter(|n| n % 200 % 7 != 1).map(|n: u32| n.to_string()).collect();
    assert_eq!(stream.take(expected.len()), expected);
}

#[test]
fn a_stream_whose_topic_is_silent_has_missed_nothing_when_the_window_moves_on() {
    let gateway = TestGateway::with(Settings { window_size: 2000, ..settings() });
    let mut silent = open(&gateway, "/api/events/info?topic=t");
    let mut plain = open(&gateway, "/api/events/info");
    for n in 0..200 {
        gateway.say(&format!("{n:0>100}"));
        assert_eq!(plain.next().data, format!("{n:0>100}"));
    }
    gateway.publish(&[in_topic("t", "at last")]);
    assert_eq!(
        silent.next(),
        Event { name: String::new(), data: "at last".to_owned(), id: format!("{EPOCH:x}-c9") }
    );
    // And the other way round.
    for _ in 0..200 {
        gateway.publish(&vec![in_topic("u", &"x".repeat(100)); 10]);
    }
    gateway.say("still live");
    assert_eq!(plain.next().data, "still live");
    assert_eq!(gateway.count(|stats| &stats.gaps_total), 0);
}

#[test]
fn heartbeats_reach_streams_of_both_lanes() {
    let gateway = TestGateway::with(Settings { heartbeat_interval: Duration::from_millis(40), ..settings() });
    let mut topical = open(&gateway, "/api/events/info?topic=t");
    assert_eq!(topical.comments(3), ["connected", "", ""]);
    gateway.publish(&[raise("not for it"), in_topic("t", "for it")]);
    assert_eq!(topical.next().data, "for it");
    assert!(topical.comments(5).len() >= 5);
}
