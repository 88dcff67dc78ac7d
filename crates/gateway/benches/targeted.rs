//! What an event for one user costs the gateway, with 100, 1,000 and 10,000 streams open, each of a user of
//! its own.
//!
//! `cargo bench -p sse-gateway --bench targeted`. The streams are held by a second process. The figures are
//! the CPU time of the gateway's one runtime thread.
//!
//! Not for the throughput of events for all, which is bound by the kernel.
#![allow(clippy::unwrap_used)]

mod support;

use std::borrow::Cow;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use sse_gateway::{AuthSettings, Secret, Settings};
use sse_proto::record::{Envelope, Record};
use sse_proto::scope::Scope;
use support::{Feed, RUNTIME_THREAD, as_second_process, ask, await_ready, cpu_time, second_process};

const SECRET: &str = "a secret that is long enough for HS256";

fn main() {
    if let Some((port, streams)) = as_second_process() {
        return hold(port, streams);
    }
    // `cargo test --all-targets` runs it, too, without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("CPU time of the gateway per event; asked = streams looked at, woken = streams served");
    println!(
        "{:>8} {:>18} {:>18} {:>18} {:>16} {:>8} {:>8}",
        "streams",
        "one user, sent",
        "one user, absent",
        "one topic, sent",
        "all, per stream",
        "asked",
        "woken"
    );
    for streams in [100, 1_000, 10_000] {
        measure(streams);
    }
}

fn measure(streams: usize) {
    let jwt_secret = Some(Secret::try_new(SECRET).unwrap());
    let settings = Settings {
        heartbeat_interval: Duration::ZERO,
        auth: AuthSettings { jwt_secret, ..AuthSettings::default() },
        ..Settings::default()
    };
    let mut feed = Feed::start(settings);
    let port = feed.port;
    let (mut holder, _) = second_process(port, streams);
    let mut mine = open(port, "?topic=&id=mine", "mine");
    let mut in_topic = open(port, "?topic=mine", "other");

    let count = |feed: &Feed| {
        let stats = feed.gateway.stats();
        (stats.asked_total.load(Relaxed), stats.woken_total.load(Relaxed))
    };
    let before = count(&feed);
    const EVENTS: u32 = 5_000;
    let sent = cost(EVENTS, || {
        publish(&mut feed, "authorize id:mine", None, 1);
        read_event(&mut mine);
    });
    let after = count(&feed);
    let absent = cost(2_000, || publish(&mut feed, "authorize id:nobody", None, 64)) / 64;
    let topic = cost(EVENTS, || {
        publish(&mut feed, "authorize", Some("mine"), 1);
        read_event(&mut in_topic);
    });
    let rounds = (200_000 / streams as u32).min(500);
    let all = cost(rounds, || {
        publish(&mut feed, "all", None, 1);
        read_event(&mut mine);
    }) / streams as u32;
    println!(
        "{streams:>8} {:>18} {:>18} {:>18} {:>16} {:>8.3} {:>8.3}",
        format!("{sent:?}"),
        format!("{absent:?}"),
        format!("{topic:?}"),
        format!("{all:?}"),
        (after.0 - before.0) as f64 / f64::from(EVENTS),
        (after.1 - before.1) as f64 / f64::from(EVENTS)
    );
    drop(holder.stdin.take());
    holder.wait().unwrap();
    feed.gateway.stop(Duration::from_secs(2));
}

fn publish(feed: &mut Feed, scope: &str, topic: Option<&str>, events: usize) {
    let scope = Scope::parse(scope).unwrap();
    let envelope = Envelope { scope: Cow::Borrowed(&scope), topic, ..Envelope::for_all() };
    feed.publish(&Record::Event { envelope, data: &"x".repeat(200) }.encode().unwrap(), events);
}

/// CPU time of the runtime thread per round, when it is idle again.
fn cost(rounds: u32, mut round: impl FnMut()) -> Duration {
    let before = settled_cpu_time();
    for _ in 0..rounds {
        round();
    }
    (settled_cpu_time() - before) / rounds
}

/// CPU time of the runtime thread, once it does not grow any more.
fn settled_cpu_time() -> Duration {
    let until = Instant::now() + Duration::from_secs(20);
    let mut last = cpu_time(RUNTIME_THREAD);
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = cpu_time(RUNTIME_THREAD);
        if now - last < Duration::from_micros(200) || Instant::now() > until {
            return now;
        }
        last = now;
    }
}

fn open(port: u16, query: &str, user_id: &str) -> TcpStream {
    let exp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let claims = serde_json::json!({"user_id": user_id, "user_roles": ["staff"], "exp": exp});
    let token =
        sse_gateway::token::sign(&Secret::try_new(SECRET).unwrap(), claims.as_object().unwrap()).unwrap();
    let mut socket = ask(port, query, &format!("Authorization: Bearer {token}\r\n"));
    await_ready(&mut socket);
    socket
}

fn read_event(socket: &mut TcpStream) {
    let mut space = [0; 4096];
    let mut end = [0; 6];
    loop {
        let n = socket.read(&mut space).unwrap();
        assert!(n >= 6);
        end.copy_from_slice(&space[n - 6..n]);
        if end.ends_with(b"\n\n\r\n") {
            return;
        }
    }
}

/// The second process: opens streams, says so, and reads what comes until its input ends.
fn hold(port: u16, streams: usize) {
    let sockets: Vec<TcpStream> = (0..streams).map(|n| open(port, "", &n.to_string())).collect();
    println!("ready");
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
    }
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reader = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut space = vec![0; 1 << 16];
            while !over.load(Relaxed) {
                for mut socket in &sockets {
                    while socket.read(&mut space).is_ok_and(|n| n > 0) {}
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    });
    let _ = std::io::stdin().read(&mut [0]);
    over.store(true, Relaxed);
    reader.join().unwrap();
}
