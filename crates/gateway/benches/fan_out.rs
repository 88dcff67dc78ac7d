//! What it costs to bring events for all to many streams, beside the floor: a loop of blocking sockets that
//! sends what has come, one `send` for each stream, without HTTP, limits or time.
//!
//! `cargo bench -p sse-gateway --bench fan_out -- [STREAMS…]`. Three loads: `lock-step` publishes an event
//! when all streams have the one before, `backlog` keeps 32 ahead of the slowest stream, `bursts` publishes
//! 32 at once when all streams have all. The streams are read by a second process. Gateway and floor take
//! turns within one run, and the ratio is that of their medians. The figures are the CPU time of the one
//! thread that writes, for each event and stream, and the time from publishing to reading.
//!
//! Not for what a process costs that is woken by PostgreSQL.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::time::{ClockId, clock_gettime};
use sse_gateway::{Batch, Config, Gateway, Publisher, Settings};
use sse_proto::record::{Envelope, Record};
use sse_proto::route::{RouteTable, Routine};
use sse_proto::word::Level;

/// Bytes of an event's text: a mark, a stamp, and the rest.
const TEXT_BYTES: usize = 200;

/// What begins an event's text, and is nowhere else in what streams get.
const MARK: u8 = b'~';

const BACKLOG: u64 = 32;

/// How often each of the two is measured, in turns.
const TURNS: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    LockStep,
    Backlog,
    Bursts,
}

fn main() {
    if let Ok(port) = std::env::var("READ_STREAMS_OF_PORT") {
        return read(port.parse().unwrap(), std::env::var("READ_STREAMS").unwrap().parse().unwrap());
    }
    // `cargo test --all-targets` runs it, too, without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let streams: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let streams = if streams.is_empty() { vec![100, 1_000, 5_000, 12_000] } else { streams };
    println!("µs of CPU per event and stream; ms from publishing to reading (p50, p99)");
    for streams in streams {
        for load in [Load::LockStep, Load::Backlog, Load::Bursts] {
            compare(streams, load);
        }
    }
}

fn compare(streams: usize, load: Load) {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // Each goes first as often.
        for is_floor in [turn % 2 == 0, turn % 2 != 0] {
            let figures = measure(streams, load, is_floor);
            if is_floor { &mut floors } else { &mut ours }.push(figures);
        }
    }
    let (ours, floors) = (medians(&ours), medians(&floors));
    let name = match load {
        Load::LockStep => "lock-step",
        Load::Backlog => "backlog",
        Load::Bursts => "bursts",
    };
    println!(
        "{streams:>6} {name:<9} gateway {:.3} ({:.2} {:.2})  floor {:.3} ({:.2} {:.2})  ratio {:.2} (p50 {:.2})",
        ours[0],
        ours[1],
        ours[2],
        floors[0],
        floors[1],
        floors[2],
        ours[0] / floors[0],
        ours[1] / floors[1]
    );
}

/// CPU, p50, p99.
type Figures = [f64; 3];

fn medians(runs: &[Figures]) -> Figures {
    [0, 1, 2].map(|figure| {
        let mut values: Vec<f64> = runs.iter().map(|run| run[figure]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

fn measure(streams: usize, load: Load, is_floor: bool) -> Figures {
    let deliveries = if load == Load::LockStep { 150_000 } else { 1_500_000 };
    let events = (deliveries / streams as u64).max(BACKLOG * 4);
    let mut feed = if is_floor { Feed::floor(streams) } else { Feed::gateway() };
    let (mut reader, mut told) = start_reader(feed.port, streams);
    feed.begin();
    let mut complete = 0;
    let mut wait_for = |event: u64| {
        while complete < event {
            let mut word = [0; 8];
            told.read_exact(&mut word).unwrap();
            complete = u64::from_le_bytes(word);
        }
    };
    // The first ones are not measured.
    let warm = (events / 10).max(2);
    let mut before = Duration::ZERO;
    for event in 1..=warm + events {
        match load {
            _ if event <= warm + 1 => wait_for(event - 1),
            Load::LockStep => wait_for(event - 1),
            Load::Backlog => wait_for(event.saturating_sub(BACKLOG)),
            Load::Bursts if (event - warm - 1).is_multiple_of(BACKLOG) => wait_for(event - 1),
            Load::Bursts => {}
        }
        if event == warm + 1 {
            before = cpu_time();
        }
        feed.publish();
    }
    wait_for(warm + events);
    let cpu = cpu_time() - before;
    drop(reader.stdin.take());
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    reader.wait().unwrap();
    let mut latencies = rest.split_whitespace().map(|word| word.parse().unwrap());
    feed.end();
    let (p50, p99) = (latencies.next().unwrap(), latencies.next().unwrap());
    [cpu.as_secs_f64() * 1e6 / (events * streams as u64) as f64, p50, p99]
}

fn start_reader(port: u16, streams: usize) -> (Child, BufReader<ChildStdout>) {
    let mut reader = Command::new(std::env::current_exe().unwrap())
        .env("READ_STREAMS_OF_PORT", port.to_string())
        .env("READ_STREAMS", streams.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(reader.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (reader, told)
}

/// Where events go: a gateway, or the floor.
struct Feed {
    port: u16,
    to: To,
}

enum To {
    Gateway { gateway: Gateway, publisher: Publisher, next: u64 },
    Floor { events: Sender<Vec<u8>>, thread: thread::JoinHandle<()> },
}

impl Feed {
    fn gateway() -> Self {
        let settings = Settings { max_connections: 100_000, ..Settings::default() };
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
        let routine = Routine::new(1, "public", "events", "@sse");
        gateway.set_routes(Arc::new(RouteTable::build(&[routine], "/api", Level::Info)), 1);
        while !gateway.stats().listening.load(Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        let port = gateway.stats().port.load(Relaxed);
        Self { port, to: To::Gateway { gateway, publisher, next: 1 } }
    }

    fn floor(streams: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (events, come) = unbounded();
        let thread = thread::Builder::new()
            .name(WRITERS[1].to_owned())
            .spawn(move || floor(&listener, streams, &come));
        Self { port, to: To::Floor { events, thread: thread.unwrap() } }
    }

    /// All streams are open.
    fn begin(&mut self) {
        thread::sleep(Duration::from_millis(50));
    }

    fn publish(&mut self) {
        let mut text = format!("{}{:016x}", char::from(MARK), now());
        text.extend(std::iter::repeat_n('x', TEXT_BYTES - text.len()));
        match &mut self.to {
            To::Gateway { publisher, next, .. } => {
                let record = Record::Event { envelope: Envelope::for_all(), data: &text }.encode().unwrap();
                let mut batch = Batch::new(*next);
                batch.push_record(&record);
                *next = batch.next_sequence();
                while let Err(back) = publisher.try_publish(batch) {
                    batch = back;
                    thread::sleep(Duration::from_micros(100));
                }
            }
            To::Floor { events, .. } => {
                let block = format!("id: 1-ffff\nevent: info\ndata: {text}\n\n");
                events.send(format!("{:x}\r\n{block}\r\n", block.len()).into_bytes()).unwrap();
            }
        }
    }

    fn end(self) {
        match self.to {
            To::Gateway { gateway, .. } => gateway.stop(Duration::from_secs(2)),
            To::Floor { events, thread } => {
                drop(events);
                thread.join().unwrap();
            }
        }
    }
}

fn floor(listener: &TcpListener, streams: usize, come: &Receiver<Vec<u8>>) {
    let mut sockets: Vec<TcpStream> = Vec::new();
    for _ in 0..streams {
        let mut socket = listener.accept().unwrap().0;
        socket.set_nodelay(true).unwrap();
        let _ = socket.read(&mut [0; 1024]).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\ndata: {}\n\n").unwrap();
        sockets.push(socket);
    }
    while let Ok(first) = come.recv() {
        let mut bytes = first;
        come.try_iter().for_each(|more| bytes.extend_from_slice(&more));
        for socket in &mut sockets {
            // Fails when the reader has left.
            let _ = socket.write_all(&bytes);
        }
    }
}

/// The threads that write.
const WRITERS: [&str; 2] = ["sse-gateway-0", "floor"];

fn cpu_time() -> Duration {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if WRITERS.contains(&name.trim()) {
            let schedstat = std::fs::read_to_string(path.join("schedstat")).unwrap();
            return Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap());
        }
    }
    panic!("no thread that writes");
}

/// Nanoseconds on the clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The second process: opens streams, tells up to which event all of them have read, and at the end how late
/// events were.
fn read(port: u16, streams: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let seen = Rc::new(RefCell::new(Seen { streams: streams as u64, ..Seen::default() }));
    let mut sockets = Vec::new();
    for _ in 0..streams {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.write_all(b"GET /api/events/info HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        sockets.push(socket);
    }
    for socket in &mut sockets {
        let mut got = Vec::new();
        let mut space = [0; 4096];
        while !got.windows(8).any(|window| window == b"data: {}") {
            let n = socket.read(&mut space).unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&space[..n]);
        }
    }
    println!("ready");
    for socket in sockets {
        socket.set_nonblocking(true).unwrap();
        let seen = Rc::clone(&seen);
        tasks.spawn_local(async move {
            let socket = tokio::net::TcpStream::from_std(socket).unwrap();
            let mut events = 0;
            loop {
                let _ = socket.readable().await;
                if !seen.borrow_mut().read(&socket, &mut events) {
                    return;
                }
            }
        });
    }
    let (ended, end) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        let _ = ended.send(());
    });
    let _ = tasks.block_on(&runtime, end);
    let mut latencies = std::mem::take(&mut seen.borrow_mut().latencies);
    latencies.sort_unstable();
    let mut line = String::new();
    for percent in [50, 99] {
        let at = latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
        let _ = write!(line, "{} ", f64::from(at) / 1e3);
    }
    println!("{line}");
}

struct Seen {
    streams: u64,
    /// How many streams have read each event behind `complete`.
    counts: [u64; 128],
    complete: u64,
    /// Microseconds.
    latencies: Vec<u32>,
    space: Vec<u8>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { streams: 0, counts: [0; 128], complete: 0, latencies: Vec::new(), space: vec![0; 1 << 16] }
    }
}

impl Seen {
    /// `false`: the stream has ended. `events`: how many it has read.
    fn read(&mut self, socket: &tokio::net::TcpStream, events: &mut u64) -> bool {
        let n = match socket.try_read(&mut self.space) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        };
        let mut rest = &self.space[..n];
        let now = now();
        while let Some(at) = rest.iter().position(|byte| *byte == MARK) {
            if let Some(stamp) = rest.get(at + 1..at + 17) {
                let stamp = u64::from_str_radix(std::str::from_utf8(stamp).unwrap(), 16).unwrap();
                self.latencies.push((now.saturating_sub(stamp) / 1000) as u32);
            }
            *events += 1;
            self.counts[(*events % 128) as usize] += 1;
            // The text has no other mark; an event that is cut in two is counted by its first half.
            rest = rest.get(at + TEXT_BYTES..).unwrap_or(&[]);
        }
        let before = self.complete;
        while self.counts[((self.complete + 1) % 128) as usize] == self.streams {
            self.complete += 1;
            self.counts[(self.complete % 128) as usize] = 0;
        }
        if self.complete > before {
            let _ = std::io::stdout().write_all(&self.complete.to_le_bytes());
            let _ = std::io::stdout().flush();
        }
        true
    }
}
