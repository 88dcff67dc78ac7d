//! What a subscriber gets: the beginning of a stream, events, gaps, heartbeats, resuming.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_gateway::Settings;
use sse_proto::scope::Scope;
use support::gaps::{gap, numbers};
use support::peer::{End, Event, Peer, Stream};
use support::{Raise, TestGateway, config, eventually, id, raise, routes, settings};

#[test]
fn a_stream_begins_with_a_comment_and_ready_before_any_event() {
    let gateway = TestGateway::with(Settings { retry: Duration::from_millis(1234), ..settings() });
    let mut stream = Stream::open(gateway.port());
    let ready = stream.next();
    assert_eq!(ready, Event { name: "sse.ready".to_owned(), data: "{}".to_owned(), id: id(0) });
    let begin = format!(": connected\n\nretry: 1234\nid: {}\nevent: sse.ready\ndata: {{}}\n\n", id(0));
    assert_eq!(std::str::from_utf8(stream.bytes()).unwrap(), begin);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
        ("transfer-encoding", "chunked"),
    ] {
        assert_eq!(stream.head.header(name), value, "{name}");
    }
    gateway.say("first");
    assert_eq!(stream.next(), Event { name: String::new(), data: "first".to_owned(), id: id(1) });
}

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
fn every_payload_arrives_as_it_was_and_opens_no_field() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    let large = "x".repeat(1 << 20);
    let payloads = [
        "",
        "a",
        " leading",
        "trailing ",
        "\n",
        "\r",
        "\r\n",
        "a\nb\rc\r\nd",
        "\n\n\n",
        "data: x\n\nid: 9\nevent: y",
        "\u{feff}bom",
        ": comment",
        "\u{1f600} \u{2028} \u{85}",
        "retry: 1",
        "0\r\n\r\n",
        "nul \0 nul",
        &large,
    ];
    let raises: Vec<Raise> = payloads.iter().map(|data| raise(*data)).collect();
    gateway.publish(&raises);
    for payload in payloads {
        let event = stream.next();
        assert_eq!(event.data, payload.replace("\r\n", "\n").replace('\r', "\n"));
        assert_eq!(event.name, "");
        assert!(event.id.bytes().all(|b| b.is_ascii_graphic()));
    }
    assert_eq!(stream.oddities().empty_blocks, 0);
    assert_eq!(stream.oddities().idle_lines, Vec::<String>::new());
    assert!(!stream.bytes().contains(&b'\r'));
}

#[test]
fn events_carry_their_name() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    gateway.publish(&[Raise { event: Some("order".to_owned()), ..raise("x") }]);
    assert_eq!(stream.next(), Event { name: "order".to_owned(), data: "x".to_owned(), id: id(1) });
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
fn execution_ids_keep_events_apart_only_when_both_are_present() {
    let gateway = TestGateway::new();
    let open = |target: &str| {
        let mut stream = Stream::get(gateway.port(), target, "");
        assert_eq!(stream.next().name, "sse.ready");
        stream
    };
    let (mut plain, mut a, mut b) =
        (open("/api/events/info"), open("/api/events/info?a"), open("/api/events/info?id=b"));
    let with = |id: &str, data: &str| Raise { execution_id: Some(id.to_owned()), ..raise(data) };
    gateway.publish(&[
        with("a", "1"),
        raise("2"),
        with("b", "3"),
        with("a", "4"),
        with("a", "5"),
        raise("6"),
    ]);
    assert_eq!(plain.take(6), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(a.take(5), ["1", "2", "4", "5", "6"]);
    assert_eq!(b.take(3), ["2", "3", "6"]);
}

#[test]
fn a_stream_with_topics_gets_no_event_without_one() {
    let gateway = TestGateway::new();
    let mut stream = Stream::get(gateway.port(), "/api/events/info?topic=t", "");
    assert_eq!(stream.next().name, "sse.ready");
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
fn an_idle_stream_gets_heartbeats_that_are_comments() {
    let gateway = TestGateway::with(Settings { heartbeat_interval: Duration::from_millis(40), ..settings() });
    let mut stream = Stream::ready(gateway.port());
    assert_eq!(stream.comments(4), ["connected", "", "", ""]);
    gateway.say("x");
    assert_eq!(stream.next(), Event { name: String::new(), data: "x".to_owned(), id: id(1) });
    assert_eq!(stream.oddities().empty_blocks, 0);
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
    assert_eq!(gateway.count(|stats| &stats.deliveries_total), 20_000);
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

#[test]
fn two_threads_deliver_the_same_stream_under_the_same_ids() {
    let gateway = TestGateway::configured(sse_gateway::Config { threads: 2, ..config() }, settings());
    let mut streams: Vec<Stream> = (0..20).map(|_| Stream::ready(gateway.port())).collect();
    gateway.publish(&[raise("a"), Raise { scope: Scope::Nobody, ..raise("no") }, raise("b")]);
    for stream in &mut streams {
        assert_eq!((stream.next().id, stream.next().id), (id(1), id(3)));
    }
    assert_eq!(gateway.count(|stats| &stats.events_total), 3);
}

#[test]
fn new_settings_cut_no_stream() {
    let gateway = TestGateway::new();
    let mut stream = Stream::ready(gateway.port());
    gateway.gateway.apply(Arc::new(Settings {
        heartbeat_interval: Duration::from_millis(40),
        max_connections: 0,
        write_timeout: Duration::from_secs(1),
        ..settings()
    }));
    gateway.gateway.set_routes(routes(&[]), 2);
    gateway.say("x");
    assert_eq!(stream.next().data, "x");
    assert_eq!(stream.comments(3).len(), 3);
}
