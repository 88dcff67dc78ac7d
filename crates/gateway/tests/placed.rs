//! Ids of a server whose events come from the write-ahead log: which hold, on which server, and what somebody
//! is told whose id does not (C10.2, C10.3).
//!
//! Not for ids of events that are kept in memory (`resuming.rs`), nor for who is ahead of a server
//! (`placed_ahead.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sse_gateway::{Config, Settings};
use sse_proto::place::Place;
use sse_proto::record::{LogLoss, Record};
use sse_proto::scope::Scope;
use support::h2::{END_STREAM, H2Peer};
use support::peer::{Event, Peer, Stream};
use support::places::{PlacedGateway, at, gap, history, id, id_on, placed, ready};
use support::tls::Site;
use support::{Raise, TestGateway, eventually, raise, settings};

/// Events of transactions: where, and what. Two of them have several.
fn log() -> Vec<(u64, u32, &'static str)> {
    vec![
        (0x110, 1, "a"),
        (0x120, 1, "b1"),
        (0x120, 2, "b2"),
        (0x120, 3, "b3"),
        (0x1ff, 1, "c"),
        (0x016b_37a8, 1, "d1"),
        (0x016b_37a8, 2, "d2"),
    ]
}

/// A server that has read this log back, in batches of so many events.
fn server(events_per_batch: usize, settings: Settings) -> PlacedGateway {
    read_back(PlacedGateway::over(|config| TestGateway::configured(config, settings)), events_per_batch)
}

fn read_back(server: PlacedGateway, events_per_batch: usize) -> PlacedGateway {
    server.tell(&[(1, 0)], 0x100, false);
    for events in log().chunks(events_per_batch) {
        server.publish_batch(|batch| {
            for (lsn, index, data) in events {
                batch.push_record(&placed(at(*lsn, *index), &raise(*data).record()));
            }
        });
    }
    server.tell(&[(1, 0)], 0x100, true);
    server
}

fn told_from(from: usize) -> Vec<Event> {
    let told = log().into_iter().skip(from);
    told.map(|(lsn, index, data)| Event { name: String::new(), data: data.to_owned(), id: id(lsn, index) })
        .collect()
}

#[test]
fn an_id_of_one_server_is_good_on_every_other_also_in_the_middle_of_a_transaction() {
    for server in [server(1, settings()), server(2, settings()), server(100, settings())] {
        let ids = [id(0x100, u32::MAX)].into_iter().chain(told_from(0).into_iter().map(|event| event.id));
        for (from, last) in ids.enumerate() {
            let mut stream = server.resume(&last);
            let told: Vec<Event> = (from..log().len()).map(|_| stream.next()).collect();
            assert_eq!(told, told_from(from), "{last}");
            // HTTP/1.0 has no chunks.
            let request =
                format!("GET /api/events/info HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\r\n");
            let mut stream = Peer::ask(server.port(), &request).into_stream();
            assert_eq!(stream.next(), ready(last.clone()));
            let told: Vec<Event> = (from..log().len()).map(|_| stream.next()).collect();
            assert_eq!(told, told_from(from), "{last} without chunks");
        }
        // Whoever comes anew begins after the last.
        assert_eq!(Stream::open(server.port()).next(), ready(id(0x016b_37a8, 2)));
    }
}

#[test]
fn an_id_is_good_over_http2_too() {
    let site = Site::new();
    let server = server(2, site.settings());
    let mut peer = H2Peer::connect(server.port(), &site);
    let last = id(0x120, 2);
    let stream = peer.begin("GET", "/api/events/info", &[("last-event-id", &last)], END_STREAM);
    peer.until_text(stream, "data: d2\n\n");
    let text = peer.got(stream).text();
    assert!(text.contains(&format!("id: {last}\nevent: sse.ready\n")), "{text}");
    let told: Vec<&str> = text.split("\n\n").filter(|block| !block.contains("sse.ready")).collect();
    let wanted: Vec<String> =
        told_from(3).iter().map(|event| format!("id: {}\ndata: {}", event.id, event.data)).collect();
    assert_eq!(told[1..told.len() - 1], wanted, "{text}");
}

#[test]
fn nobody_is_let_in_before_the_window_is_read_back() {
    let server = PlacedGateway::over(|config| TestGateway::configured(config, settings()));
    let request = |last: &str| {
        format!("GET /api/events/info HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\r\n")
    };
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::ask(server.port(), &request(&id(0x110, 1)))).collect();
    server.tell(&[(1, 0)], 0x100, false);
    server.say_at(at(0x110, 1), "a");
    server.say_at(at(0x120, 1), "b");
    assert!(peers.iter_mut().all(|peer| !peer.has_answer()));
    server.tell(&[(1, 0)], 0x100, true);
    server.say_at(at(0x130, 1), "live");
    for peer in peers {
        assert_eq!(
            peer.into_stream().take(3),
            ["{}", "b", "live"],
            "no gap, although it came before the event"
        );
    }
}

// A reader of the log that follows on another one begins where that one was. A gateway that was busy
// meanwhile takes in at once what both say.
#[test]
fn a_window_begins_where_the_first_reader_of_the_log_has_begun_it() {
    let server = PlacedGateway::over(|config| TestGateway::configured(config, settings()));
    let state = |begin, caught_up| {
        Record::LogState { history: history(&[(1, 0)]), begin, caught_up }.encode().unwrap()
    };
    server.publish_batch(|batch| {
        batch.push_record(&state(Place::behind(1, 0x100), false));
        for (lsn, index, data) in log() {
            batch.push_record(&placed(at(lsn, index), &raise(data).record()));
        }
        batch.push_record(&state(at(0x1ff, 1), true));
    });
    let last = id(0x100, u32::MAX);
    let mut stream = server.resume(&last);
    let told: Vec<Event> = log().iter().map(|_| stream.next()).collect();
    assert_eq!(told, told_from(0));
}

#[test]
fn a_stop_does_not_wait_for_a_window_that_is_not_read_back() {
    let server = PlacedGateway::over(|config| TestGateway::configured(config, settings()));
    let mut peer = Peer::ask(server.port(), support::peer::GET);
    assert!(!peer.has_answer());
    let took = server.gateway.stop(Duration::from_secs(20));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

// What an id is to a log that begins after 0x1000 on timeline 3, which left timeline 1 at 0x2000; timeline 2
// is that of another server that was lost.
#[test]
fn an_id_that_does_not_hold_is_answered_by_a_gap_with_its_reason() {
    let server = PlacedGateway::over(|config| TestGateway::configured(config, settings()));
    server.tell(&[(3, 0x2000), (1, 0)], 0x1000, true);
    server.say_at(at(0x1100, 1), "before the switch");
    server.say_at(Place::new(3, 0x2100, 1), "behind it");
    server.knows(0x2200);
    let head = id_on(3, 0x2100, 1);
    for (last, reason) in [
        // Of a life of a gateway with its events in memory.
        ("e-1".to_owned(), "restarted"),
        ("e-ffffffffffffffff".to_owned(), "restarted"),
        // What the log or the window no longer has.
        (id(0xfff, 1), "expired"),
        (id(0x1000, 1), "expired"),
        (id(1, 1), "expired"),
        // The tail of timeline 1 that was lost, and a timeline that this log never was on.
        (id(0x2001, 1), "rewound"),
        (id(0x2100, 1), "rewound"),
        (id_on(2, 0x1100, 1), "rewound"),
        (id_on(2, 0x2050, 7), "rewound"),
        (id_on(3, 0x1fff, 1), "rewound"),
        (id_on(0, 0, 0), "rewound"),
        // Never an id.
        ("junk".to_owned(), "unknown"),
        ("w1-1100".to_owned(), "unknown"),
        ("W1-1100-1".to_owned(), "unknown"),
        ("w1-01100-1".to_owned(), "unknown"),
    ] {
        let mut stream = Stream::resume(server.port(), &last);
        let first = stream.next();
        assert_eq!(first.name, "sse.ready", "{last}");
        assert_eq!(stream.next(), gap(reason, head.clone()), "{last}");
        // Had the connection broken between the two, the gap would not be lost.
        let mut again = Stream::resume(server.port(), &first.id);
        again.next();
        assert_eq!(again.next(), gap(reason, head.clone()), "{last}, after {}", first.id);
    }
    // These hold: at the switch itself, between two events, after the last.
    for (last, told) in [
        (id(0x1000, u32::MAX), 2),
        (id(0x10ff, 3), 2),
        (id(0x1100, 1), 1),
        (id(0x2000, 9), 1),
        (id_on(3, 0x2000, 1), 1),
        (head, 0),
    ] {
        let mut stream = server.resume(&last);
        stream.take(told);
    }
}

// Whoever moves between servers may arrive before this one has heard of what was seen elsewhere.
#[test]
fn an_id_that_this_server_hears_of_soon_is_good_and_another_one_is_answered_by_a_gap() {
    let server = PlacedGateway::over(|config| TestGateway::configured(config, settings()));
    server.tell(&[(3, 0x2000), (1, 0)], 0x1000, true);
    server.say_at(Place::new(3, 0x2100, 1), "behind the switch");
    server.knows(0x2200);
    let asked = |last: String, reason| (Stream::resume(server.port(), &last), last, reason);
    let made_up = [
        (id_on(4, u64::MAX, u32::MAX), "unknown"),
        (id_on(4, 0x3001, 1), "unknown"),
        (id_on(3, u64::MAX, u32::MAX), "rewound"),
        (id_on(5, 0x2900, 1), "rewound"),
        (id_on(0xffff_ffff, 0x1100, 1), "rewound"),
    ];
    let made_up = made_up.map(|(last, reason)| asked(last, reason));
    let mut soon =
        [id_on(3, 0x2800, 1), id_on(4, 0x2900, 1)].map(|last| Stream::resume(server.port(), &last));
    for stream in &mut soon {
        assert_eq!(stream.next().name, "sse.ready");
    }
    server.knows(0x3000);
    server.tell(&[(4, 0x2880), (3, 0x2000), (1, 0)], 0x1000, true);
    for (lsn, text) in [(0x2850, "a"), (0x2900, "b"), (0x2a00, "c")] {
        let timeline = if lsn < 0x2880 { 3 } else { 4 };
        server.say_at(Place::new(timeline, lsn, 1), text);
    }
    assert_eq!(soon[0].take(3), ["a", "b", "c"]);
    assert_eq!(soon[1].take(1), ["c"]);
    for (mut stream, last, reason) in made_up {
        assert_eq!(stream.next().name, "sse.ready", "{last}");
        let told = stream.next();
        assert_eq!(told, gap(reason, told.id.clone()), "{last}");
    }
}

#[test]
fn an_id_of_the_log_is_told_as_a_restart_where_events_are_in_memory() {
    let gateway = TestGateway::new();
    gateway.say("x");
    let mut stream = Stream::resume(gateway.port(), &id(0x110, 1));
    assert_eq!(stream.next(), ready(id(0x110, 1)));
    assert_eq!(stream.next(), gap("restarted", support::id(1)));
}

// A restart is no gap: the reader begins again, with other positions and other numbers of items.
#[test]
fn what_has_left_the_window_has_expired_and_the_last_id_stays_good() {
    let settings = Settings { window_age: Duration::from_millis(30), ..settings() };
    let one_thread = |config| TestGateway::configured(Config { threads: 1, ..config }, settings);
    let server = read_back(PlacedGateway::over(one_thread), 3);
    eventually("all has left the window", || {
        drop(Stream::open(server.port()));
        server.count(|stats| &stats.window_events) == 0
    });
    let head = id(0x016b_37a8, 2);
    let mut stream = Stream::resume(server.port(), &id(0x016b_37a8, 1));
    stream.next();
    assert_eq!(stream.next(), gap("expired", head.clone()));
    let mut last = server.resume(&head);
    let mut anew = Stream::open(server.port());
    assert_eq!(anew.next(), ready(head));
    server.say_at(at(0x016b_37b0, 1), "new");
    for stream in [&mut last, &mut anew, &mut stream] {
        let event = stream.next();
        assert_eq!((&*event.data, event.id), ("new", id(0x016b_37b0, 1)));
    }
}

#[test]
fn what_is_missing_in_the_log_is_a_gap_for_everybody_with_its_place() {
    let server = PlacedGateway::new(0x100);
    let mut streams = vec![
        Stream::ready(server.port()),
        Stream::get(server.port(), "/api/events/info?topic=t", ""),
        Stream::get(server.port(), "/api/events/info?id=mine", ""),
    ];
    for stream in &mut streams[1..] {
        assert_eq!(stream.next().name, "sse.ready");
    }
    server.say_at(at(0x110, 1), "x");
    server.lose(LogLoss::Unreadable, at(0x120, 1));
    server.lose(LogLoss::Expired, at(0x130, 1));
    // A record that the gateway cannot read.
    let mut torn = raise("torn").record();
    torn.pop();
    server.tell_at(at(0x140, 1), &torn);
    assert_eq!(streams[0].next().data, "x");
    assert_eq!(streams[2].next().data, "x");
    for stream in &mut streams {
        assert_eq!(stream.next(), gap("unreadable", id(0x120, 1)));
        assert_eq!(stream.next(), gap("expired", id(0x130, 1)));
        assert_eq!(stream.next().id, id(0x140, 1));
    }
    // Each of them is a place from which somebody goes on.
    assert_eq!(server.resume(&id(0x120, 1)).next(), gap("expired", id(0x130, 1)));
}

// The reader dies and reads again from where it had begun, on the same gateway.
#[test]
fn what_is_told_twice_is_sent_once() {
    let server = server(3, settings());
    let mut live = Stream::ready(server.port());
    server.tell(&[(1, 0)], 0x100, false);
    // Nobody waits for it again.
    let mut meanwhile = server.resume(&id(0x1ff, 1));
    for (lsn, index, data) in log() {
        server.say_at(at(lsn, index), data);
    }
    server.say_at(at(0x016b_37a8, 3), "d3");
    assert_eq!(live.next().data, "d3");
    assert_eq!(meanwhile.take(3), ["d1", "d2", "d3"]);
    let mut stream = server.resume(&id(0x120, 1));
    assert_eq!(stream.take(6), ["b2", "b3", "c", "d1", "d2", "d3"]);
    server.say_at(at(0x016b_37b0, 1), "e");
    assert_eq!(stream.next().data, "e");
}

#[test]
fn who_gets_some_of_a_transaction_goes_on_with_the_rest_that_is_for_it() {
    let server = PlacedGateway::new(0x100);
    let topic = |topic: &str, data: &str| Raise { topic: Some(topic.to_owned()), ..raise(data) }.record();
    let nobody = Raise { scope: Scope::Nobody, ..raise("x") }.record();
    server.publish_batch(|batch| {
        for (index, record) in
            [topic("a", "a1"), topic("b", "b1"), nobody, topic("a", "a2"), raise("for all").record()]
                .iter()
                .enumerate()
        {
            batch.push_record(&placed(at(0x110, index as u32 + 1), record));
        }
    });
    let header = |index| format!("Last-Event-ID: {}\r\n", id(0x110, index));
    for (query, index, told) in [
        ("?topic=a", 1, &["a2"][..]),
        ("?topic=a&topic=b", 1, &["b1", "a2"]),
        ("?topic=b", 1, &["b1"]),
        ("?topic=a", 3, &["a2"]),
        ("", 2, &["for all"]),
    ] {
        let target = format!("/api/events/info{query}");
        let mut stream = Stream::get(server.port(), &target, &header(index));
        assert_eq!(stream.next(), ready(id(0x110, index)));
        assert_eq!(stream.take(told.len()), told, "{query} {index}");
    }
}
