//! A stream that is ahead of a server whose events come from the write-ahead log: it waits for what it has
//! seen, and goes on after it (C10.3).
//!
//! Not for ids that a server has (`placed.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{scope, spawn, yield_now};
use std::time::Duration;

use sse_gateway::{CallResult, Settings};
use sse_proto::call::{CallAnswer, Cut, EventsEnd, Outcome, Shape};
use sse_proto::place::Place;
use sse_proto::record::{LogLoss, Record, set_xid};
use support::calls::{callable, calling_with, done_with, request, routes, shape, take};
use support::peer::{End, Event, Peer, Stream, ask};
use support::places::{PlacedGateway, at, gap, id, id_on, placed, ready};
use support::{eventually, raise, raised, settings};

fn event(lsn: u64, index: u32, data: &str) -> Event {
    Event { name: String::new(), data: data.to_owned(), id: id(lsn, index) }
}

#[test]
fn a_stream_that_is_ahead_begins_and_goes_on_behind_its_id_when_the_server_has_it() {
    let server = PlacedGateway::new(0x100);
    server.say_at(at(0x110, 1), "seen");
    server.knows(0x150);
    let ahead = [id(0x110, 2), id(0x120, 2), id(0x125, 1), id(0x150, u32::MAX)];
    let mut streams: Vec<Stream> = ahead.iter().map(|last| server.resume(last)).collect();
    let mut live = server.resume(&id(0x110, 1));
    let told = [(0x120, 1), (0x120, 2), (0x120, 3), (0x130, 1), (0x150, 1), (0x160, 1)];
    for (lsn, index) in told {
        server.say_at(at(lsn, index), "x");
        assert_eq!(live.next(), event(lsn, index, "x"));
    }
    for (stream, from) in streams.iter_mut().zip([0, 2, 3, 5]) {
        for (lsn, index) in &told[from..] {
            assert_eq!(stream.next(), event(*lsn, *index, "x"), "{from}");
        }
    }
    // All are live now.
    server.say_at(at(0x170, 1), "live");
    assert!(streams.iter_mut().all(|stream| stream.next() == event(0x170, 1, "live")));
}

#[test]
fn what_was_missed_before_the_id_is_no_matter_to_who_is_ahead() {
    let server = PlacedGateway::new(0x100);
    server.knows(0x150);
    let mut stream = server.resume(&id(0x140, 1));
    server.lose(LogLoss::Expired, at(0x130, 1));
    server.say_at(at(0x140, 1), "seen");
    server.say_at(at(0x141, 1), "new");
    assert_eq!(stream.next(), event(0x141, 1, "new"));
}

// The primary had more than its standby when it was lost: nobody will ever have that.
#[test]
fn who_is_ahead_on_a_way_that_the_log_does_not_take_is_told_behind_what_it_has_seen() {
    let server = PlacedGateway::new(0x100);
    server.say_at(at(0x110, 1), "x");
    server.knows(0x200);
    let mut lost = server.resume(&id(0x151, 1));
    let mut kept = server.resume(&id(0x14f, 1));
    let mut of_topic = Stream::ready_at(
        server.port(),
        "/api/events/info?topic=t",
        &format!("Last-Event-ID: {}\r\n", id(0x180, 1)),
    );
    // It becomes the primary, and has not told all that it has.
    server.tell(&[(2, 0x150), (1, 0)], 0x100, true);
    server.say_at(at(0x14f, 1), "seen by all");
    server.publisher.lock().unwrap().has_read(0x150);
    assert_eq!(lost.next(), gap("rewound", id(0x14f, 1)));
    assert_eq!(of_topic.next(), gap("rewound", id(0x14f, 1)));
    server.say_at(Place::new(2, 0x160, 1), "by the new primary");
    for stream in [&mut lost, &mut kept] {
        let next = stream.next();
        assert_eq!((&*next.data, next.id), ("by the new primary", id_on(2, 0x160, 1)));
    }
}

#[test]
fn who_waits_gets_heartbeats_and_a_clean_end() {
    let server =
        PlacedGateway::with(0x100, Settings { heartbeat_interval: Duration::from_millis(20), ..settings() });
    server.knows(0x200);
    let mut stream = server.resume(&id(0x150, 1));
    let mut gone: Vec<Stream> = (0..20).map(|_| server.resume(&id(0x150, 1))).collect();
    stream.comments(3);
    gone.clear();
    eventually("they have gone", || server.subscribers() == 1);
    let stopping = spawn(move || server.gateway.stop(Duration::from_secs(20)));
    let (end, events) = stream.end();
    assert_eq!((end, events), (End::Clean, Vec::new()));
    assert!(stopping.join().unwrap() < Duration::from_secs(10));
}

// Its route has a snapshot from now on: what it is told must not take it back to where this server is.
#[test]
fn who_waits_while_its_route_changes_comes_back_with_its_own_id() {
    let text = || shape(Shape::Scalar);
    let of = |comment| [callable("state", "", &[], text()), callable("all", comment, &[], text())];
    let server = PlacedGateway::over(|config| calling_with(config, settings(), &of("@sse")));
    server.tell(&[(1, 0)], 0x100, true);
    server.say_at(at(0x110, 1), "x");
    server.knows(0x200);
    let mut stream = follow(&server, &id(0x150, 1));
    assert_eq!(stream.next(), ready(id(0x150, 1)));
    server.gateway.gateway.set_routes(routes(&of("@sse\n@sse_snapshot state")), 3);
    assert_eq!(stream.end(), (End::Clean, vec![ready(id(0x150, 1) + "s")]));
}

fn with_calls() -> PlacedGateway {
    let text = || shape(Shape::Scalar);
    let callables = [
        callable("state", "", &[], text()),
        callable("all", "@sse\n@sse_snapshot state", &[], text()),
        callable("send", "HTTP POST\n@sse_subscribe", &[], text()),
    ];
    let settings = Settings { call_workers: 64, ..settings() };
    let server = PlacedGateway::over(|config| calling_with(config, settings.clone(), &callables));
    server.tell(&[(1, 0)], 0x100, true);
    server
}

fn state(call: u64, body: &str, xmax: u64) -> CallResult {
    let outcome = Outcome::Done { rows: 1, body: body.as_bytes().to_vec(), is_null: false };
    let cut = Some(Cut::new(xmax, xmax, Vec::new()));
    CallResult::Answer(CallAnswer { id: call, end: EventsEnd::NoEvents, cut, outcome }.into())
}

fn snapshot_ends(server: &PlacedGateway, call: u64) {
    let end = Record::SnapshotEnd { ticket: 0, xid: 0, call }.encode().unwrap();
    server.tell_at(Place::new(0, 0x999, 0), &end);
}

fn follow(server: &PlacedGateway, last: &str) -> Stream {
    let header = if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
    Stream::get(server.port(), "/api/all/info", &header)
}

#[test]
fn ids_around_a_snapshot_are_places_and_marked_as_long_as_they_need_another_one() {
    let server = with_calls();
    server.say_at(at(0x110, 1), "before");
    let mut stream = follow(&server, "");
    assert_eq!(stream.next(), ready(id(0x110, 1) + "s"));
    let run = take(&server);
    server.gateway.desk().answer(run.id, state(run.id, "the state", 10));
    snapshot_ends(&server, run.id);
    assert_eq!(stream.next(), event(0x110, 1, "the state"));
    let mut after = raise("after").record();
    // Of a transaction that later snapshots see.
    set_xid(&mut after, 5);
    server.tell_at(at(0x120, 1), &after);
    assert_eq!(stream.next(), event(0x120, 1, "after"));
    // An id without a mark needs none, one with a mark needs one, and so does who has missed something.
    let mut plain = follow(&server, &id(0x110, 1));
    assert_eq!([plain.next(), plain.next()], [ready(id(0x110, 1)), event(0x120, 1, "after")]);
    assert!(server.gateway.desk().take().is_none());
    for (last, first) in [
        (id(0x110, 1) + "s", None),
        (id(1, 1), Some(gap("expired", id(0x120, 1) + "s"))),
        (id_on(0, 0x110, 1), Some(gap("rewound", id(0x120, 1) + "s"))),
    ] {
        let mut stream = follow(&server, &last);
        assert_eq!(stream.next(), ready(format!("{}s", last.trim_end_matches('s'))));
        if let Some(gap) = first {
            assert_eq!(stream.next(), gap);
        }
        let run = take(&server);
        server.gateway.desk().answer(run.id, state(run.id, "fresh", 10));
        snapshot_ends(&server, run.id);
        assert_eq!(stream.next(), event(0x120, 1, "fresh"), "{last}");
    }
}

#[test]
fn a_gap_of_the_log_is_followed_by_a_snapshot() {
    let server = with_calls();
    let mut stream = follow(&server, &id(0x100, u32::MAX));
    assert_eq!(stream.next(), ready(id(0x100, u32::MAX)));
    server.lose(LogLoss::Unreadable, at(0x120, 1));
    assert_eq!(stream.next(), gap("unreadable", id(0x120, 1) + "s"));
    let run = take(&server);
    server.gateway.desk().answer(run.id, state(run.id, "fresh", 10));
    snapshot_ends(&server, run.id);
    assert_eq!(stream.next(), event(0x120, 1, "fresh"));
}

// The state of a server that lags is older than what was seen.
#[test]
fn who_is_ahead_gets_its_snapshot_when_the_server_has_what_it_has_seen() {
    let server = with_calls();
    server.knows(0x200);
    let mut marked = follow(&server, &(id(0x150, 1) + "s"));
    assert_eq!(marked.next(), ready(id(0x150, 1) + "s"));
    let mut plain = follow(&server, &id(0x150, 1));
    assert_eq!(plain.next(), ready(id(0x150, 1)));
    server.say_at(at(0x140, 1), "seen");
    let mut probe = server_probe(&server, &id(0x140, 1));
    assert!(server.gateway.desk().take().is_none(), "not yet");
    server.say_at(at(0x150, 1), "seen");
    let run = take(&server);
    server.gateway.desk().answer(run.id, state(run.id, "the state", 10));
    snapshot_ends(&server, run.id);
    server.say_at(at(0x160, 1), "new");
    assert_eq!([marked.next(), marked.next()], [event(0x150, 1, "the state"), event(0x160, 1, "new")]);
    assert_eq!(plain.next(), event(0x160, 1, "new"));
    assert_eq!(probe.take(2), ["seen", "new"]);
}

// A page comes from a standby whose log it knows to be longer, and nothing happens for hours.
#[test]
fn who_is_ahead_of_a_quiet_server_goes_on_when_the_log_is_read_so_far() {
    let server = with_calls();
    server.knows(0x200);
    let reads = |position| server.publisher.lock().unwrap().has_read(position);
    let mut marked = follow(&server, &(id(0x150, 1) + "s"));
    assert_eq!(marked.next(), ready(id(0x150, 1) + "s"));
    reads(0x14f);
    let mut stream = server.resume_at("/api/send/info", &id(0x14f, 9));
    assert!(server.gateway.desk().take().is_none(), "not yet");
    reads(0x150);
    let run = take(&server);
    server.gateway.desk().answer(run.id, state(run.id, "the state", 10));
    snapshot_ends(&server, run.id);
    assert_eq!(marked.next().data, "the state");
    server.say_at(at(0x160, 1), "new");
    assert_eq!([marked.next(), stream.next()], [event(0x160, 1, "new"), event(0x160, 1, "new")]);
}

/// A stream that has been told everything up to this id.
fn server_probe(server: &PlacedGateway, last: &str) -> Stream {
    server.resume_at("/api/send/info", last)
}

#[test]
fn the_position_of_an_own_write_is_its_place() {
    let server = with_calls();
    let mut peer = Peer::ask(server.port(), &request("POST", "/api/send", support::calls::JSON, "{}"));
    let call = take(&server);
    server.publish_batch(|batch| {
        for (index, data) in [(1, "first"), (2, "last")] {
            batch.push_record(&placed(at(0x120, index), &raised(call.id, data).record()));
        }
        batch.push_record(&placed(at(0x130, 1), &raise("of somebody else").record()));
    });
    server.gateway.desk().answer(call.id, done_with(call.id, "x", EventsEnd::Told));
    assert!(!peer.has_answer(), "its end has not come");
    let end = Record::CallEnd { call: call.id }.encode().unwrap();
    server.tell_at(Place::new(0, 0x120, 0), &end);
    let answer = peer.answer(true);
    assert_eq!(answer.head.header("sse-position"), id(0x120, 2));
}

#[test]
fn a_call_that_goes_on_is_followed_from_a_place() {
    let server = with_calls();
    let follows = || {
        let prefer = "Content-Type: application/json\r\nPrefer: respond-async\r\n";
        let answer = ask(server.port(), &request("POST", "/api/send", prefer, "{}"));
        assert_eq!(answer.head.status, 202);
        take(&server);
        answer.head.header("location").split_once("last_event_id=").unwrap().1.to_owned()
    };
    assert_eq!(follows(), id(0x100, u32::MAX));
    server.say_at(at(0x120, 3), "x");
    assert_eq!(follows(), id(0x120, 3));
}

/// A primary and a standby, while transactions of several events commit.
struct Tree {
    primary: PlacedGateway,
    standby: PlacedGateway,
    /// Transactions that the primary has told.
    written: AtomicU64,
}

const TRANSACTIONS: u64 = 3000;

/// Transactions that the standby lags behind as long as any follow.
const LAG: u64 = 40;

fn places(transaction: u64) -> impl Iterator<Item = (u64, u32)> {
    (1..=(transaction % 4 + 1) as u32).map(move |index| (transaction * 0x10, index))
}

/// Sometimes another batch begins in the middle of it.
fn tell(server: &PlacedGateway, transaction: u64) {
    for places in places(transaction).collect::<Vec<_>>().chunks(2) {
        server.publish_batch(|batch| {
            for (lsn, index) in places {
                let record = raise(format!("{lsn:x}-{index}")).record();
                batch.push_record(&placed(at(*lsn, *index), &record));
            }
        });
    }
}

impl Tree {
    fn write(&self) {
        for transaction in 1..=TRANSACTIONS {
            self.standby.knows(transaction * 0x10);
            tell(&self.primary, transaction);
            self.written.store(transaction, Ordering::Release);
            if transaction % 16 == 0 {
                yield_now();
            }
        }
    }

    fn replay(&self) {
        let mut transaction = 1;
        while transaction <= TRANSACTIONS {
            let there = self.written.load(Ordering::Acquire);
            let upto = if there == TRANSACTIONS { TRANSACTIONS } else { there.saturating_sub(LAG) };
            while transaction <= upto {
                tell(&self.standby, transaction);
                transaction += 1;
            }
            yield_now();
        }
    }

    /// Reads everything, some hundreds of events on one server, then on the other. How often it has moved.
    fn read(&self, seed: usize) -> usize {
        let all: Vec<(u64, u32)> = (1..=TRANSACTIONS).flat_map(places).collect();
        let (mut last, mut seen, mut moves) = (id(0, u32::MAX), 0, seed);
        while seen < all.len() {
            let server = if moves % 2 == 0 { &self.primary } else { &self.standby };
            let mut stream = server.resume(&last);
            for (lsn, index) in all.iter().skip(seen).take((moves * 37 + seed * 11) % 301 + 1) {
                let next = stream.next();
                assert_eq!(next, event(*lsn, *index, &format!("{lsn:x}-{index}")), "after {last}");
                last = next.id;
                seen += 1;
            }
            moves += 1;
        }
        moves - seed
    }
}

#[test]
fn who_moves_between_servers_with_its_id_has_no_hole_and_no_double() {
    let (primary, standby) = (PlacedGateway::new(0), PlacedGateway::new(0));
    let tree = Tree { primary, standby, written: AtomicU64::new(0) };
    let moves: usize = scope(|threads| {
        threads.spawn(|| tree.write());
        threads.spawn(|| tree.replay());
        let tree = &tree;
        let readers: Vec<_> = (0..6).map(|seed| threads.spawn(move || tree.read(seed))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert!(moves > 100, "{moves}");
}
