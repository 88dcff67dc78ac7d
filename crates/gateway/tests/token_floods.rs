//! Floods of tokens that are not believed, and tokens that say very much (C4.7): what they cost those who
//! only listen.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sse_gateway::{AuthSettings, Secret, Settings};
use support::guarded::EVENTS;
use support::peer::{Stream, ask};
use support::tokens::{SECRET, Signer, bearer, now, token};
use support::{TestGateway, folder, raise, settings};

/// One after the other, whether or not they have arrived.
const EVENTS_SENT: usize = 1000;

fn with(auth: AuthSettings) -> TestGateway {
    let auth = AuthSettings { jwt_secret: Some(Secret::try_new(SECRET).unwrap()), ..auth };
    TestGateway::with(Settings { auth, ..settings() })
}

/// Sends a request again and again until it is told to stop; counts the answers.
fn flood(port: u16, request: &str, is_over: &AtomicBool, answers: &AtomicU64) {
    let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    peer.set_read_timeout(Some(support::DEADLINE)).unwrap();
    let mut bytes = [0; 8192];
    while !is_over.load(Ordering::Relaxed) {
        peer.write_all(request.as_bytes()).unwrap();
        let read = peer.read(&mut bytes).unwrap();
        assert!(bytes[..read].starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&bytes[..read]));
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

// Attack: tokens that cost as much as one can have them cost, from many connections at once.
#[test]
fn a_flood_of_bad_tokens_stops_no_events() {
    let (_folder, directory) = folder();
    let keys: String = (0..32).map(|_| Signer::p256().pem()).collect();
    let path = directory.join("keys.pem");
    fs::write(&path, keys).unwrap();
    let gateway = with(AuthSettings { jwt_key_file: Some(path), ..AuthSettings::default() });
    let claims = json!({"sub": "eve", "exp": now() + 600});
    let stranger = Signer::p256();
    let expensive = stranger.token("ES256", &claims);
    let long =
        Signer::Hmac(vec![b'z'; 32]).token("HS256", &json!({"exp": now() + 600, "x": "x".repeat(5000)}));
    let cookies: Vec<String> = (0..4)
        .map(|n| format!("sse_session={}", stranger.token("ES256", &json!({"exp": now() + n}))))
        .collect();
    let requests = [bearer(&expensive), bearer(&long), format!("Cookie: {}\r\n", cookies.join("; "))]
        .map(|headers| format!("GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    let mut stream = Stream::ready_at(gateway.port(), EVENTS, "");
    let (is_over, answers, port) = (AtomicBool::new(false), AtomicU64::new(0), gateway.port());
    let mut delays = thread::scope(|scope| {
        for n in 0..500 {
            let (request, is_over, answers) = (&requests[n % 3], &is_over, &answers);
            scope.spawn(move || flood(port, request, is_over, answers));
        }
        // Event upon event: each request has given way to some before it gets its turn.
        let begun = Instant::now();
        let gateway = &gateway;
        scope.spawn(move || {
            for _ in 0..EVENTS_SENT {
                gateway.publish(&[raise(begun.elapsed().as_micros().to_string())]);
                thread::sleep(Duration::from_millis(2));
            }
        });
        let mut delays = Vec::new();
        for _ in 0..EVENTS_SENT {
            let sent = Duration::from_micros(stream.next().data.parse().unwrap());
            delays.push(begun.elapsed() - sent);
        }
        is_over.store(true, Ordering::Relaxed);
        delays
    });
    delays.sort();
    let p99 = delays[delays.len() * 99 / 100];
    let answers = answers.load(Ordering::Relaxed);
    eprintln!("{} events beside {answers} bad tokens, p99 {p99:?}, most {:?}", delays.len(), delays.last());
    assert!(answers > 100, "{answers}");
    // A debug build on a busy machine. All of them together cost two seconds.
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
}

// Attack: a token of an issuer that is believed, with groups without an end: each is a list that the stream
// is entered into.
#[test]
fn a_thousand_roles_are_an_identity_and_more_are_refused() {
    let gateway = with(AuthSettings::default());
    let status = |claims: &Value| {
        let headers = bearer(&token(claims));
        ask(gateway.port(), &format!("HEAD {EVENTS} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
            .head
            .status
    };
    let roles = |count: u32| -> Vec<String> {
        (0..count)
            .map(|n| [n / 36, n % 36].map(|n| char::from_digit(n, 36).unwrap()).iter().collect())
            .collect()
    };
    let exp = now() + 600;
    for (count, expected) in [(999, 200), (1000, 200), (1001, 401)] {
        assert_eq!(status(&json!({"exp": exp, "roles": roles(count)})), expected, "{count}");
    }
    let many: Vec<String> = (0..10).flat_map(|_| roles(1000)).collect();
    // Ten thousand fit into no head.
    assert_eq!(status(&json!({"exp": exp, "roles": many})), 431);
    // As one text they are one role.
    assert_eq!(status(&json!({"exp": exp, "roles": "x,".repeat(2000)})), 200);
}
