//! Refusals and their file: what outlives a gateway, and what no disk and no lock of a file may hold up
//! (C4.8, C7.5).
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use sse_gateway::{Config, Settings};
use sse_proto::call::Shape;
use support::calls::{callable, called, calling_with, refused, request, shape};
use support::peer::{End, Stream, ask};
use support::tokens::{bearer, now, token, token_of};
use support::{TestGateway, auth, config, disconnect, eventually, folder, raise, settings};

fn started(directory: &Path) -> TestGateway {
    let callables = [
        callable("logout", "HTTP POST\n@logout", &[], shape(Shape::Void)),
        callable("whoami", "HTTP GET\n@authorize", &[], shape(Shape::Scalar)),
        callable("events", "@sse\n@authorize", &[], shape(Shape::Scalar)),
    ];
    let config = Config { data_directory: Some(directory.to_owned()), ..config() };
    calling_with(config, Settings { auth: auth(), ..settings() }, &callables)
}

/// The same when it has read the file.
fn serving(directory: &Path) -> TestGateway {
    let gateway = started(directory);
    eventually("healthy", || ask(gateway.port(), &request("GET", "/healthz", "", "")).head.status == 200);
    gateway
}

/// A token that no other one is like, older than any test.
fn fresh(user: &str, number: usize) -> String {
    token(&json!({"sub": user, "exp": now() + 600, "iat": now() - 300, "n": number}))
}

fn log_out(gateway: &TestGateway, token: &str) {
    let answer = called(gateway, &request("POST", "/api/logout", &bearer(token), ""), "").1;
    assert_eq!(answer.head.status, 204);
}

fn is_refused(gateway: &TestGateway, token: &str) {
    refused(gateway, &request("GET", "/api/whoami", &bearer(token), "")).problem(401);
}

fn is_good(gateway: &TestGateway, token: &str) {
    let answer = called(gateway, &request("GET", "/api/whoami", &bearer(token), ""), "x").1;
    assert_eq!(answer.head.status, 200);
}

fn path(directory: &Path) -> PathBuf {
    directory.join("pg_sse.revocations")
}

fn lines(directory: &Path) -> usize {
    fs::read_to_string(path(directory)).map_or(0, |text| text.lines().count())
}

fn lock(directory: &Path) -> File {
    let mut options = OpenOptions::new();
    let name = directory.join("pg_sse.revocations.lock");
    let file = options.create(true).write(true).truncate(false).open(name).unwrap();
    file.lock().unwrap();
    file
}

/// What a gateway has written for this many users who were disconnected just now.
fn users(count: usize) -> String {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    (0..count).map(|n| format!("{{\"user_id\":\"user number {n}\",\"before\":{before}}}\n")).collect()
}

#[test]
fn a_logout_and_a_disconnect_outlive_the_gateway() {
    let (_folder, directory) = folder();
    let (alice, bob, carol) = (fresh("alice", 1), fresh("bob", 1), fresh("carol", 1));
    let gateway = serving(&directory);
    let stream = Stream::ready_at(gateway.port(), "/api/events/info", &bearer(&bob));
    log_out(&gateway, &alice);
    is_refused(&gateway, &alice);
    disconnect(&gateway, &directory, "bob", SystemTime::now());
    assert_eq!(stream.end().0, End::Clean);
    is_refused(&gateway, &bob);
    gateway.stop(Duration::from_secs(5));
    let text = fs::read_to_string(path(&directory)).unwrap();
    assert!(!text.contains(alice.rsplit('.').next().unwrap()), "a digest is no token");
    let next = serving(&directory);
    is_refused(&next, &alice);
    is_refused(&next, &bob);
    is_good(&next, &carol);
    // Once more is no news, and costs no line.
    assert_eq!(lines(&directory), 2);
}

// Whoever has no user id is counted for nobody: their logouts must not be taken for those of users, after a
// restart either.
#[test]
fn a_logout_without_a_user_id_is_kept_apart_and_outlives_the_gateway() {
    let (_folder, directory) = folder();
    let nameless = |n: u32| token(&json!({"exp": now() + 600, "iat": now() - 300, "n": n}));
    let (first, second, alice) = (nameless(1), nameless(2), fresh("alice", 1));
    let gateway = serving(&directory);
    log_out(&gateway, &first);
    log_out(&gateway, &alice);
    is_refused(&gateway, &first);
    gateway.stop(Duration::from_secs(5));
    let text = fs::read_to_string(path(&directory)).unwrap();
    let marked: Vec<bool> = text.lines().map(|line| line.contains("\"nameless\":true")).collect();
    assert_eq!(marked, [true, false], "{text}");
    let next = serving(&directory);
    is_refused(&next, &first);
    is_refused(&next, &alice);
    is_good(&next, &second);
}

// A stopped backend in sse.disconnect, a slow network file system: the lock of the file is held for long.
#[test]
fn a_lock_that_is_held_delays_no_logout_and_no_event_and_what_waits_is_written_afterwards() {
    let (_folder, directory) = folder();
    let gateway = serving(&directory);
    let held = lock(&directory);
    let mut stream = Stream::ready_at(gateway.port(), "/api/events/info", &bearer(&fresh("listener", 0)));
    let begun = Instant::now();
    let tokens: Vec<_> = (0..20).map(|n| fresh("alice", n)).collect();
    for token in &tokens {
        log_out(&gateway, token);
        is_refused(&gateway, token);
        gateway.publish(&[raise("on")]);
        assert_eq!(stream.next().data, "on");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(lines(&directory), 0);
    drop(held);
    eventually("written", || lines(&directory) == tokens.len());
}

#[test]
fn a_lock_that_is_held_does_not_hold_up_the_stop() {
    let (_folder, directory) = folder();
    let gateway = serving(&directory);
    let _held = lock(&directory);
    log_out(&gateway, &fresh("alice", 1));
    let took = gateway.stop(Duration::from_secs(5));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

// A full disk, a file system that was made read-only.
#[test]
fn what_cannot_be_written_is_said_once_refused_all_the_same_and_written_later() {
    let (_folder, directory) = folder();
    let gateway = serving(&directory);
    fs::create_dir(path(&directory)).unwrap();
    let tokens = [fresh("alice", 1), fresh("alice", 2)];
    for token in &tokens {
        log_out(&gateway, token);
        is_refused(&gateway, token);
    }
    let said = |text: &str| gateway.log().iter().filter(|line| line.contains(text)).count();
    eventually("said", || said("cannot be written") == 1);
    // It is tried again after a second, and once more two seconds later.
    let begun = Instant::now();
    eventually("tried again", || begun.elapsed() > Duration::from_millis(2500));
    assert_eq!(said("cannot be written"), 1);
    fs::remove_dir(path(&directory)).unwrap();
    eventually("written", || lines(&directory) == 2);
    eventually("said", || said("written again") == 1);
    assert_eq!(said("cannot be written"), 1);
}

// Whoever was disconnected is let in while nobody can tell.
#[test]
fn nobody_is_let_in_while_the_file_cannot_be_read() {
    let (_folder, directory) = folder();
    fs::create_dir(path(&directory)).unwrap();
    let gateway = started(&directory);
    eventually("said", || gateway.log().iter().any(|line| line.contains("cannot be read")));
    for (target, headers) in [("/healthz", String::new()), ("/api/whoami", bearer(&token_of("alice", &[])))] {
        assert_eq!(refused(&gateway, &request("GET", target, &headers, "")).head.status, 503, "{target}");
    }
    fs::remove_dir(path(&directory)).unwrap();
    disconnect(&gateway, &directory, "alice", SystemTime::now());
    eventually("healthy", || ask(gateway.port(), &request("GET", "/healthz", "", "")).head.status == 200);
    is_refused(&gateway, &fresh("alice", 1));
}

// To an `EventSource` that comes back after a restart a 503 is the end.
#[test]
fn who_comes_while_the_file_is_read_waits_for_it_and_is_not_turned_away() {
    let (_folder, directory) = folder();
    fs::write(path(&directory), users(20_000)).unwrap();
    let gateway = started(&directory);
    is_good(&gateway, &fresh("user number 20000", 1));
    is_refused(&gateway, &fresh("user number 19999", 1));
}

#[test]
fn a_hundred_thousand_refusals_are_read_at_the_start_and_all_of_them_count() {
    const COUNT: usize = 100_000;
    let (_folder, directory) = folder();
    fs::write(path(&directory), users(COUNT)).unwrap();
    let begun = Instant::now();
    let gateway = serving(&directory);
    let took = begun.elapsed();
    eprintln!("a gateway with {COUNT} refusals serves after {took:?}");
    // Half a second is for a release; this is for a debug build on a busy machine.
    assert!(took < Duration::from_secs(10), "{took:?}");
    for n in [0, 1, COUNT / 2, COUNT - 1] {
        is_refused(&gateway, &fresh(&format!("user number {n}"), 1));
    }
    is_good(&gateway, &fresh(&format!("user number {COUNT}"), 1));
}

#[test]
fn a_file_that_has_grown_is_written_anew_without_what_is_of_no_use_and_says_the_same() {
    let (_folder, directory) = folder();
    let mut text = "{\"token\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"until\":1}\n".repeat(1000);
    for _ in 0..10 {
        text.push_str(&users(10_000));
    }
    assert!(text.len() > 4 << 20);
    fs::write(path(&directory), &text).unwrap();
    let gateway = serving(&directory);
    eventually("shorter", || lines(&directory) == 10_000);
    assert!(!directory.join("pg_sse.revocations.new").exists());
    // It goes on in the new one.
    disconnect(&gateway, &directory, "dora", SystemTime::now());
    eventually("told", || {
        ask(gateway.port(), &request("GET", "/api/events/info", &bearer(&fresh("dora", 1)), "")).head.status
            == 401
    });
    let alice = fresh("alice", 1);
    log_out(&gateway, &alice);
    eventually("written", || lines(&directory) == 10_002);
    gateway.stop(Duration::from_secs(5));
    let next = serving(&directory);
    for user in ["user number 0", "user number 9999", "dora"] {
        is_refused(&next, &fresh(user, 1));
    }
    is_refused(&next, &alice);
    is_good(&next, &fresh("alice", 2));
}

// Whoever was disconnected must not go on until everybody after them in the file has been read.
#[test]
fn the_first_of_many_refusals_count_long_before_the_last_is_read() {
    const COUNT: usize = 100_000;
    let (_folder, directory) = folder();
    let gateway = serving(&directory);
    fs::write(directory.join("other"), users(COUNT)).unwrap();
    fs::rename(directory.join("other"), path(&directory)).unwrap();
    let streams = [0, COUNT - 1].map(|number| {
        let token = fresh(&format!("user number {number}"), 1);
        Stream::ready_at(gateway.port(), "/api/events/info", &bearer(&token))
    });
    let begun = Instant::now();
    gateway.gateway.read_refusals();
    let ends = streams.map(|stream| {
        std::thread::spawn(move || {
            assert_eq!(stream.end().0, End::Clean);
            begun.elapsed()
        })
    });
    let [first, last] = ends.map(|end| end.join().unwrap());
    eprintln!("the first of {COUNT} refusals counts after {first:?}, the last after {last:?}");
    assert!(first * 4 < last, "{first:?} and {last:?}");
}

// Each refusal is told under a lock of its own, so a portion of any size delays no event.
#[test]
fn events_go_on_while_the_file_is_read_and_written_anew() {
    let (_folder, directory) = folder();
    let gateway = serving(&directory);
    let mut stream = Stream::ready_at(gateway.port(), "/api/events/info", &bearer(&fresh("listener", 0)));
    for _ in 0..2 {
        fs::write(directory.join("other"), users(100_000)).unwrap();
        fs::rename(directory.join("other"), path(&directory)).unwrap();
        gateway.gateway.read_refusals();
    }
    let mut delays = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let sent = Instant::now();
        gateway.publish(&[raise("on")]);
        assert_eq!(stream.next().data, "on");
        delays.push(sent.elapsed());
    }
    delays.sort();
    let p99 = delays[delays.len() * 99 / 100];
    eprintln!("{} events, p99 {p99:?}, most {:?}", delays.len(), delays.last());
    assert!(p99 < Duration::from_millis(100), "{p99:?}");
}

// Attack: one account logs in and out without a pause, until others' logouts are forgotten for want of room.
#[test]
fn a_user_who_ends_a_thousand_sessions_ends_the_older_ones_and_takes_no_more_room() {
    let (_folder, directory) = folder();
    let gateway = serving(&directory);
    let start = now() - 500;
    let issued =
        |user: &str, iat: u64, n: u32| token(&json!({"sub": user, "exp": start + 5000, "iat": iat, "n": n}));
    let (older, later, bob) =
        (issued("eve", start - 1, 0), issued("eve", start + 1, 0), issued("bob", start - 1, 0));
    for n in 1..=1000 {
        log_out(&gateway, &issued("eve", start, n));
    }
    is_good(&gateway, &older);
    log_out(&gateway, &issued("eve", start, 1001));
    is_refused(&gateway, &issued("eve", start, 1001));
    is_refused(&gateway, &older);
    is_good(&gateway, &later);
    is_good(&gateway, &bob);
    eventually("written", || lines(&directory) == 1001);
    gateway.stop(Duration::from_secs(5));
    let next = serving(&directory);
    is_refused(&next, &older);
    is_good(&next, &later);
}
