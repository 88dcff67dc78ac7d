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

mod support;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::time::{ClockId, clock_gettime};
use sse_gateway::Settings;
use sse_proto::record::{Envelope, Record};
use support::{RUNTIME_THREAD, as_second_process, ask, await_ready, cpu_time, second_process};

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
    if let Some((port, streams)) = as_second_process() {
        return read(port, streams);
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
    let writer = if is_floor { FLOOR_THREAD } else { RUNTIME_THREAD };
    let (mut reader, mut told) = second_process(feed.port(), streams);
    // All streams are open.
    thread::sleep(Duration::from_millis(50));
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
            before = cpu_time(writer);
        }
        feed.publish();
    }
    wait_for(warm + events);
    let cpu = cpu_time(writer) - before;
    drop(reader.stdin.take());
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    reader.wait().unwrap();
    let mut latencies = rest.split_whitespace().map(|word| word.parse().unwrap());
    feed.end();
    let (p50, p99) = (latencies.next().unwrap(), latencies.next().unwrap());
    [cpu.as_secs_f64() * 1e6 / (events * streams as u64) as f64, p50, p99]
}

/// Where events go.
enum Feed {
    Gateway(support::Feed),
    Floor { port: u16, events: Sender<Vec<u8>>, thread: thread::JoinHandle<()> },
}

/// The thread that writes for the floor.
const FLOOR_THREAD: &str = "floor";

impl Feed {
    fn gateway() -> Self {
        Self::Gateway(support::Feed::start(Settings::default()))
    }

    fn floor(streams: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (events, come) = unbounded();
        let thread = thread::Builder::new()
            .name(FLOOR_THREAD.to_owned())
            .spawn(move || floor(&listener, streams, &come));
        Self::Floor { port, events, thread: thread.unwrap() }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Gateway(feed) => feed.port,
            Self::Floor { port, .. } => *port,
        }
    }

    fn publish(&mut self) {
        let mut text = format!("{}{:016x}", char::from(MARK), now());
        text.extend(std::iter::repeat_n('x', TEXT_BYTES - text.len()));
        match self {
            Self::Gateway(feed) => {
                let record = Record::Event { envelope: Envelope::for_all(), data: &text }.encode().unwrap();
                feed.publish(&record, 1);
            }
            Self::Floor { events, .. } => {
                let block = format!("id: 1-ffff\nevent: info\ndata: {text}\n\n");
                events.send(format!("{:x}\r\n{block}\r\n", block.len()).into_bytes()).unwrap();
            }
        }
    }

    fn end(self) {
        match self {
            Self::Gateway(feed) => feed.gateway.stop(Duration::from_secs(2)),
            Self::Floor { events, thread, .. } => {
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
    let mut sockets: Vec<TcpStream> = (0..streams).map(|_| ask(port, "", "")).collect();
    sockets.iter_mut().for_each(await_ready);
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
    /// How many streams have read each event after `complete`.
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
