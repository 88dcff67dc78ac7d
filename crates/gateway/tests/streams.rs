//! What a subscriber gets: the beginning of a stream, events, gaps, heartbeats, resuming.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_gateway::Settings;
use sse_proto::scope::Scope;
use support::peer::{End, Event, Peer, Stream};
use support::{EPOCH, Raise, TestGateway, config, eventually, raise, routes, settings};

fn id(sequence: u64) -> String {
    format!("{EPOCH:x}-{sequence:x}")
}

fn gap(reason: &str, missed: &str, sequence: u64) -> Event {
    let data = format!("{{\"reason\": \"{reason}\", \"missed\": {missed}}}");
    Event { name: "sse.gap".to_owned(), data, id: id(sequence) }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

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
