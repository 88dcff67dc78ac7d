//! What ends one stream of a connection over HTTP/2 and no other: its token, its user, its reader; and what
//! else a stream carries there: gaps, snapshots, results of calls (C4.8, C6.4, C7.6, C7.8).
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, SystemTime};

use sse_gateway::{CallResult, Config, Settings};
use sse_proto::call::{CallAnswer, Cut, EventsEnd, Outcome, Shape};
use support::calls::{callable, calling, calling_with, serve, shape, take};
use support::h2::{CANCEL, END_STREAM, H2Peer, RST_STREAM, STREAM, WINDOW_UPDATE, frame};
use support::people;
use support::streamed::{self, begun_over_http2};
use support::tls::Site;
use support::{TestGateway, auth, config, disconnect, eventually, folder, raised};

const HOUR: Duration = Duration::from_secs(3600);

fn token(user: &str, lifetime: Duration) -> String {
    people::token(user, "somebody", &[], lifetime)
}

/// Opens a stream with this token in the header.
fn open(peer: &mut H2Peer, path: &str, token: &str) -> u32 {
    let id = peer.begin("GET", path, &[("authorization", &format!("Bearer {token}"))], END_STREAM);
    peer.until_text(id, "sse.ready");
    id
}

fn ends_cleanly(peer: &mut H2Peer, id: u32) -> String {
    peer.until("its end", |peer| peer.is_over(id));
    let got = peer.got(id);
    assert!(got.has_ended && got.reset.is_none(), "{got:?}");
    assert!(got.text().ends_with("\n\n\n"), "{:?}", got.text());
    got.text()
}

#[test]
fn a_stream_ends_cleanly_with_its_token_and_the_others_of_its_connection_go_on() {
    let site = Site::new();
    let gateway = TestGateway::with(Settings { auth: auth(), ..site.settings() });
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let short = open(&mut peer, STREAM, &token("1", Duration::from_secs(2)));
    let long = open(&mut peer, STREAM, &token("1", HOUR));
    let anonymous = peer.open_stream();
    let before = SystemTime::now();
    gateway.say("before");
    let text = ends_cleanly(&mut peer, short);
    assert!(text.ends_with("data: before\n\n\n"), "{text}");
    assert!(before.elapsed().unwrap() < Duration::from_secs(6), "{:?}", before.elapsed());
    gateway.say("after");
    for id in [long, anonymous] {
        peer.until_text(id, "data: after\n\n");
    }
    eventually("counted out", || gateway.subscribers() == 2);
    assert_eq!((peer.goaway, peer.ended), (None, None));
}

// A reader that lags, or grants no window, must not be sent, after its token has expired, what comes then.
#[test]
fn a_stream_whose_window_is_shut_when_its_token_expires_gets_the_rest_of_an_event_and_its_end() {
    let site = Site::new();
    let gateway = TestGateway::with(Settings { auth: auth(), ..site.settings() });
    let mut peer = H2Peer::with_window(gateway.port(), &site, 20_000);
    let id = open(&mut peer, STREAM, &token("1", Duration::from_secs(2)));
    let since = SystemTime::now();
    peer.takes = false;
    (0..50).for_each(|n| _ = gateway.say(&format!("{n}.{}", "x".repeat(5_000))));
    eventually("expired", || since.elapsed().unwrap() > Duration::from_millis(3_200));
    gateway.say("too late");
    assert_eq!(peer.reset(id), None);
    peer.takes = true;
    peer.send(&frame(WINDOW_UPDATE, 0, id, &(1_u32 << 20).to_be_bytes()));
    let text = ends_cleanly(&mut peer, id);
    // What was on its way: three pieces.
    assert!(text.contains("data: 4.") && !text.contains("too late") && text.len() < 80_000, "{}", text.len());
    assert_eq!(gateway.subscribers(), 0);
}

#[test]
fn whoever_is_disconnected_or_logs_out_loses_his_streams_and_nobody_else_on_the_connection() {
    let site = Site::new();
    let text = || shape(Shape::Scalar);
    let routines = [
        callable("events", "@sse", &[], text()),
        callable("leave", "HTTP POST\n@logout", &[], shape(Shape::Void)),
    ];
    let (_folder, directory) = folder();
    let config = Config { data_directory: Some(directory.clone()), ..config() };
    let gateway = calling_with(config, Settings { auth: auth(), ..site.settings() }, &routines);
    let mut peer = H2Peer::connect(gateway.port(), &site);
    eventually("the file is read", || {
        let healthz = peer.begin("GET", "/healthz", &[], END_STREAM);
        peer.answer(healthz).0 == 200
    });
    let alice: Vec<u32> = (0..3).map(|_| open(&mut peer, STREAM, &token("alice", HOUR))).collect();
    let session = token("bob", HOUR);
    let cookie = format!("__Host-sse_session={session}");
    let bob = peer.begin("GET", STREAM, &[("cookie", &cookie)], END_STREAM);
    peer.until_text(bob, "sse.ready");
    let same_token = open(&mut peer, STREAM, &session);
    let others = [open(&mut peer, STREAM, &token("bob", HOUR + HOUR)), peer.open_stream()];
    gateway.say("all");
    for id in &alice {
        peer.until_text(*id, "data: all\n\n");
    }
    disconnect(&gateway, &directory, "alice", SystemTime::now());
    for id in alice {
        assert!(ends_cleanly(&mut peer, id).ends_with("data: all\n\n\n"));
    }
    assert_eq!(gateway.subscribers(), 4);
    let fields = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let logout = peer.begin("POST", "/api/leave", &fields, END_STREAM);
    serve(&gateway, "");
    assert_eq!(peer.answer(logout).0, 204);
    for id in [bob, same_token] {
        ends_cleanly(&mut peer, id);
    }
    let again = peer.begin("GET", STREAM, &[("cookie", &cookie)], END_STREAM);
    assert_eq!(peer.answer(again).0, 401);
    gateway.say("still");
    for id in others {
        peer.until_text(id, "data: still\n\n");
    }
    assert_eq!((gateway.subscribers(), peer.goaway, peer.ended), (2, None, None));
}

#[test]
fn a_reader_that_falls_out_of_the_window_is_told_what_it_missed_and_its_neighbour_misses_nothing() {
    let site = Site::new();
    let gateway = TestGateway::with(Settings { window_size: 200_000, ..site.settings() });
    let mut peer = H2Peer::with_window(gateway.port(), &site, 30_000);
    peer.takes = false;
    let [slow, good] = [peer.open_stream(), peer.open_stream()];
    let mut granted = 0;
    for n in 0..100 {
        gateway.say(&format!("{n}.{}", "x".repeat(10_000)));
        while !peer.got(good).text().contains(&format!("data: {n}.")) {
            peer.pump();
            let taken = peer.got(good).data.len() as u32;
            if taken > granted {
                peer.send(&frame(WINDOW_UPDATE, 0, good, &(taken - granted).to_be_bytes()));
                granted = taken;
            }
        }
    }
    assert!(!peer.got(good).text().contains("sse.gap"));
    assert_eq!((gateway.subscribers(), peer.got(slow).data.len()), (2, 30_000));
    peer.send(&frame(WINDOW_UPDATE, 0, slow, &(4_u32 << 20).to_be_bytes()));
    peer.until_text(slow, "event: sse.gap");
    gateway.say("last");
    peer.until_text(slow, "data: last\n\n");
    let text = peer.got(slow).text();
    let seen = (0..100).filter(|n| text.contains(&format!("data: {n}."))).count();
    let missed = text.split("\"missed\": ").nth(1).unwrap().split('}').next().unwrap();
    assert_eq!(missed.parse::<usize>().unwrap() + seen, 100, "{seen}");
    assert!(!text.contains(&"x".repeat(10_001)), "each is whole");
    // One that grants nothing at all is reset alone.
    assert_eq!(peer.reset(good), None);
}

#[test]
fn snapshots_come_before_what_is_live_on_each_stream_of_a_connection() {
    let site = Site::new();
    let text = || shape(Shape::Scalar);
    let routines = [
        callable("state", "", &[], text()),
        callable("mine", "", &["_user_id"], text()),
        callable("all", "@sse\n@sse_snapshot state", &[], text()),
        callable("own", "@sse\n@sse_snapshot mine as own", &[], text()),
    ];
    let gateway = calling(Settings { auth: auth(), ..site.settings() }, &routines);
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let all: Vec<u32> = (0..5).map(|_| peer.get("/api/all/info")).collect();
    let run = take(&gateway);
    all.iter().for_each(|id| peer.until_text(*id, "sse.ready"));
    // Larger than a piece, larger than a window at first.
    let state = |id: u64, body: &str| {
        let outcome = Outcome::Done { rows: 1, body: body.as_bytes().to_vec(), is_null: false };
        let cut = Some(Cut::new(10, 10, Vec::new()));
        CallResult::Answer(CallAnswer { id, end: EventsEnd::NoEvents, cut, outcome }.into())
    };
    let large = "s".repeat(300_000);
    gateway.desk().answer(run.id, state(run.id, &large));
    gateway.say("live");
    for id in &all {
        peer.until_text(*id, "data: live\n\n");
        let text = peer.got(*id).text();
        let at = |what: &str| text.find(what).unwrap();
        assert!(at("sse.ready") < at(&large) && at(&large) < at("data: live"), "{}", text.len());
    }
    // Of each user its own; one who leaves while it runs is not waited for.
    let own = |peer: &mut H2Peer, user: &str| open(peer, "/api/own/info", &token(user, HOUR));
    let ids = [own(&mut peer, "alice"), own(&mut peer, "bob")];
    for _ in 0..2 {
        let run = take(&gateway);
        let user = run.parameters[0].clone().unwrap();
        gateway.desk().answer(run.id, state(run.id, &format!("of {user}")));
    }
    peer.until_text(ids[0], "event: own\n");
    peer.until_text(ids[0], "data: of alice\n\n");
    peer.until_text(ids[1], "data: of bob\n\n");
    let gone = own(&mut peer, "carol");
    let run = take(&gateway);
    peer.send(&frame(RST_STREAM, 0, gone, &CANCEL.to_be_bytes()));
    eventually("it is cancelled", || gateway.gateway.poll_cancelled() == Some(run.id));
}

#[test]
fn calls_that_stream_end_each_with_its_result_and_go_with_their_stream_or_connection() {
    let site = Site::new();
    let routines = [callable("work", "HTTP POST", &[], shape(Shape::Scalar))];
    let gateway = calling(site.settings(), &routines);
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let calls: Vec<(u32, u64)> = (0..10).map(|_| begun_over_http2(&gateway, &mut peer)).collect();
    for (_, call) in &calls {
        gateway.publish(&[raised(*call, format!("half of {call}")), raised(*call, "y".repeat(40_000))]);
    }
    for (id, call) in calls.iter().rev() {
        let result = format!("whole of {call}");
        streamed::end(&gateway, *call, &result);
        let text = ends_cleanly(&mut peer, *id);
        assert_eq!((peer.status(*id), text.matches(" of ").count()), (Some(200), 2), "of its own call alone");
        let halves = format!("data: half of {call}\n\n");
        assert!(
            text.contains(&halves) && text.ends_with(&format!("event: sse.result\ndata: {result}\n\n\n"))
        );
    }
    let (left, call) = begun_over_http2(&gateway, &mut peer);
    peer.send(&frame(RST_STREAM, 0, left, &CANCEL.to_be_bytes()));
    eventually("the call is cancelled", || gateway.gateway.poll_cancelled() == Some(call));
    let mut calls: Vec<u64> = (0..10).map(|_| begun_over_http2(&gateway, &mut peer).1).collect();
    drop(peer);
    eventually("all are cancelled", || {
        while let Some(call) = gateway.gateway.poll_cancelled() {
            calls.retain(|other| *other != call);
        }
        calls.is_empty()
    });
}
