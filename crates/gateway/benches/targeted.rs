//! What an event for one user costs the gateway, with 100, 1,000 and 10,000 streams open, each of a user of
//! its own.
//!
//! `cargo bench -p sse-gateway --bench targeted`. The streams are held by a second process, because one has
//! not enough descriptors for both ends of 10,000. The figures are the CPU time of the gateway's one runtime
//! thread.
//!
//! Not for the throughput of events for all, which is bound by the kernel.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use sse_gateway::{AuthSettings, Batch, Config, Gateway, Publisher, Secret, Settings};
use sse_proto::record::{Envelope, Record};
use sse_proto::route::{RouteTable, Routine};
use sse_proto::scope::Scope;
use sse_proto::word::Level;

const SECRET: &str = "a secret that is long enough for HS256";

fn main() {
    if let Ok(port) = std::env::var("HOLD_STREAMS_OF_PORT") {
        return hold(port.parse().unwrap(), std::env::var("HOLD_STREAMS").unwrap().parse().unwrap());
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

// Long because it is one run: a gateway, its streams, four figures, the end.
fn measure(streams: usize) {
    let jwt_secret = Some(Secret::try_new(SECRET).unwrap());
    let settings = Settings {
        max_connections: 100_000,
        heartbeat_interval: Duration::ZERO,
        auth: AuthSettings { jwt_secret, ..AuthSettings::default() },
        ..Settings::default()
    };
    let config = Config {
        listen_addresses: vec!["127.0.0.1".to_owned()],
        port: 0,
        threads: 1,
        epoch: 1,
        data_directory: None,
        log_end: None,
        call_bells: Vec::new(),
    };
    let (gateway, publisher) = Gateway::start(config, Arc::new(settings)).unwrap();
    gateway.set_routes(routes(), 1);
    while !gateway.stats().listening.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let port = gateway.stats().port.load(Relaxed);
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .env("HOLD_STREAMS_OF_PORT", port.to_string())
        .env("HOLD_STREAMS", streams.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut feed = Feed { gateway, publisher, next: 1 };
    let mut mine = open(port, "?topic=&id=mine", "mine");
    let mut in_topic = open(port, "?topic=mine", "other");

    let count = |feed: &Feed| {
        let stats = feed.gateway.stats();
        (stats.asked_total.load(Relaxed), stats.woken_total.load(Relaxed))
    };
    let before = count(&feed);
    const EVENTS: u32 = 5_000;
    let sent = feed.cost(EVENTS, |feed| {
        feed.publish("authorize id:mine", None, 1);
        read_event(&mut mine);
    });
    let after = count(&feed);
    let absent = feed.cost(2_000, |feed| feed.publish("authorize id:nobody", None, 64)) / 64;
    let topic = feed.cost(EVENTS, |feed| {
        feed.publish("authorize", Some("mine"), 1);
        read_event(&mut in_topic);
    });
    let rounds = (200_000 / streams as u32).min(500);
    let all = feed.cost(rounds, |feed| {
        feed.publish("all", None, 1);
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

struct Feed {
    gateway: Gateway,
    publisher: Publisher,
    next: u64,
}

impl Feed {
    fn publish(&mut self, scope: &str, topic: Option<&str>, events: usize) {
        let scope = Scope::parse(scope).unwrap();
        let envelope = Envelope { scope: Cow::Borrowed(&scope), topic, ..Envelope::for_all() };
        let record = Record::Event { envelope, data: &"x".repeat(200) }.encode().unwrap();
        let mut batch = Batch::new(self.next);
        (0..events).for_each(|_| batch.push_record(&record));
        self.next = batch.next_sequence();
        while let Err(back) = self.publisher.try_publish(batch) {
            batch = back;
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// CPU time of the runtime thread per round, when it is idle again.
    fn cost(&mut self, rounds: u32, mut round: impl FnMut(&mut Self)) -> Duration {
        let before = settled_cpu_time();
        for _ in 0..rounds {
            round(self);
        }
        (settled_cpu_time() - before) / rounds
    }
}

/// CPU time of the runtime thread, once it does not grow any more.
fn settled_cpu_time() -> Duration {
    let until = Instant::now() + Duration::from_secs(20);
    let mut last = cpu_time();
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = cpu_time();
        if now - last < Duration::from_micros(200) || Instant::now() > until {
            return now;
        }
        last = now;
    }
}

fn cpu_time() -> Duration {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim() == "sse-gateway-0" {
            let schedstat = std::fs::read_to_string(path.join("schedstat")).unwrap();
            return Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap());
        }
    }
    panic!("no runtime thread");
}

fn routes() -> Arc<RouteTable> {
    let routine = Routine::new(1, "public", "events", "@sse");
    Arc::new(RouteTable::build(&[routine], "/api", Level::Info))
}

fn open(port: u16, query: &str, user_id: &str) -> TcpStream {
    let exp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let claims = serde_json::json!({"user_id": user_id, "user_roles": ["staff"], "exp": exp});
    let token =
        sse_gateway::token::sign(&Secret::try_new(SECRET).unwrap(), claims.as_object().unwrap()).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "GET /api/events/info{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut got = Vec::new();
    let mut space = [0; 4096];
    while !got.windows(9).any(|window| window == b"data: {}\n") {
        let n = socket.read(&mut space).unwrap();
        got.extend_from_slice(&space[..n]);
        assert!(n > 0, "{}", String::from_utf8_lossy(&got));
    }
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
