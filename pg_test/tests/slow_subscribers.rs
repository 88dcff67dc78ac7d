//! Subscribers that read slowly or not at all: they delay nobody, cost no memory of their own, and miss
//! nothing that is still in the window (C6.6).
//!
//! Not for peers that vanish without a word: `crates/gateway/tests/vanished.rs` has those.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, Event, EventParser, EventStream, Wire};
use cluster::{Cluster, Session, StopMode, anonymous_bytes, wait_until};
use common::{SOON, announcer, figure, gateway_pid};
use socket2::{Domain, Socket, Type};

const PATH: &str = "/api/f/info";

/// Subscribers that never read.
const STALLED: usize = 1000;

/// What one idle connection may cost the gateway, in memory of the process. docs/streams.md says so.
const BYTES_PER_CONNECTION: u64 = 8 << 10;

/// What one stalled connection may cost in addition: the rest of one event. docs/streams.md says so.
const BYTES_PER_STALLED: u64 = 16 << 10;

/// A margin for what an allocator keeps to itself, and for code that runs for the first time.
const SLACK: u64 = 12 << 20;

/// A stream over HTTP/1.0, whose body is the bare bytes, on a socket with the smallest buffer there is.
fn narrow(http: Client, last: &str) -> Result<Wire> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    socket.set_read_timeout(Some(SOON))?;
    let address = http.address();
    socket.connect(&address.into())?;
    let mut wire = http.wire_over(socket.into())?;
    let request = format!("GET {PATH} HTTP/1.0\r\nHost: {address}\r\nLast-Event-ID: {last}\r\n\r\n");
    wire.write_all(request.as_bytes())?;
    Ok(wire)
}

/// A subscriber that keeps up, and a publisher: how long a round of both takes.
struct Good {
    stream: EventStream,
    session: Session,
    published: u64,
}

/// The middle and the longest of some times.
#[derive(Debug)]
struct Times {
    median: Duration,
    worst: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { median: times[times.len() / 2], worst: times[times.len() - 1] }
    }
}

impl Good {
    const EVENTS_PER_ROUND: u64 = 50;
    const EVENT_BYTES: usize = 4000;

    /// Publishes and reads; says how long it took until it was published, and until all of it was read.
    fn rounds(&mut self, rounds: usize) -> Result<(Times, Times)> {
        let (mut published, mut read) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (first, last) = (self.published + 1, self.published + Self::EVENTS_PER_ROUND);
            let sql = format!(
                "select sse.publish(rpad(i::text, {}, 'x')) from generate_series({first}, {last}) i",
                Self::EVENT_BYTES
            );
            let began = Instant::now();
            self.session.run(&sql)?.ok()?;
            published.push(began.elapsed());
            for number in first..=last {
                let data = self.stream.next(SOON)?.data;
                ensure!(data.trim_end_matches('x') == number.to_string(), "{number} is {}", &data[..10]);
            }
            read.push(began.elapsed());
            self.published = last;
        }
        Ok((Times::of(published), Times::of(read)))
    }
}

#[test]
fn a_thousand_that_never_read_delay_nobody_and_cost_no_memory_of_their_own() -> Result<()> {
    const THREADS: u64 = 2;
    const WINDOW: u64 = 8 << 20;
    let cluster = Cluster::builder()
        .setting("sse.threads", THREADS)
        .setting("sse.window_size", "8MB")
        // They are to stay.
        .setting("sse.write_timeout", "10min")
        .start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let http = cluster.http()?;
    let stream = http.events(PATH)?.begun()?;
    let mut good = Good { stream, session: cluster.session()?, published: 0 };
    let pid = gateway_pid(&cluster)?;
    // More than the window holds, so that it is full before anything is measured.
    let (published_before, read_before) = good.rounds(60)?;
    let without = anonymous_bytes(pid)?;

    let mut stalled = (0..STALLED).map(|_| narrow(http, "")).collect::<Result<Vec<_>>>()?;
    wait_until(SOON, "all are there", || {
        figure(&cluster, "stat_gateway", "subscribers").is_ok_and(|open| open == STALLED as i64 + 1)
    })?;
    let idle = anonymous_bytes(pid)?.saturating_sub(without) / STALLED as u64;
    // 60 MB, which only the good subscriber takes: the sockets of the others are full in the first rounds.
    good.rounds(200)?;
    let (published, read) = good.rounds(100)?;
    let with = anonymous_bytes(pid)?;
    eprintln!(
        "{idle} bytes per idle connection, {} kB more with {STALLED} stalled ones; \
         published {published_before:?} -> {published:?}, read {read_before:?} -> {read:?}",
        with.saturating_sub(without) >> 10
    );

    ensure!(idle <= BYTES_PER_CONNECTION, "{idle} bytes per idle connection");
    let bound = WINDOW * THREADS + STALLED as u64 * (BYTES_PER_CONNECTION + BYTES_PER_STALLED) + SLACK;
    ensure!(with <= without + bound, "{with} bytes with stalled ones, {without} without");
    // Twenty milliseconds: a busy machine. A subscriber that waited for a stalled one would wait for its
    // timeout.
    let near = |before: &Times| before.median * 5 + Duration::from_millis(20);
    ensure!(published.median <= near(&published_before), "{published_before:?} became {published:?}");
    ensure!(read.median <= near(&read_before), "{read_before:?} became {read:?}");
    ensure!(published.worst.max(read.worst) < Duration::from_secs(3), "{published:?} {read:?}");
    assert_eq!(figure(&cluster, "stat_ring", "dropped_total")?, 0);
    assert_eq!(figure(&cluster, "stat_gateway", "subscribers")?, STALLED as i64 + 1, "they stay");

    // One of them wakes up: what it took is whole, the gap counts what it did not, and it goes on live.
    let first = 60 * Good::EVENTS_PER_ROUND + 1;
    let mut next = first;
    let mut woken = Narrow::new(stalled.pop().context("none")?);
    let gap = loop {
        let event = woken.next()?;
        if event.event == "sse.gap" {
            break event;
        }
        if event.event == "message" {
            assert_eq!(event.data.trim_end_matches('x'), next.to_string());
            next += 1;
        }
    };
    let gap: serde_json::Value = serde_json::from_str(&gap.data)?;
    assert_eq!(gap, serde_json::json!({"reason": "slow", "missed": good.published + 1 - next}));
    cluster.sql("select f('live')")?;
    assert_eq!(woken.next()?.data, "live");

    // They take no last word either.
    let began = Instant::now();
    ensure!(cluster.stop(StopMode::Fast)?.success());
    ensure!(began.elapsed() < Duration::from_secs(3), "they hold up the end: {:?}", began.elapsed());
    Ok(())
}

/// A stream on a [`narrow`] socket.
struct Narrow {
    socket: Wire,
    parser: EventParser,
    head: Option<Vec<u8>>,
    events: std::collections::VecDeque<Event>,
}

impl Narrow {
    fn new(socket: Wire) -> Self {
        Self { socket, parser: EventParser::default(), head: Some(Vec::new()), events: Default::default() }
    }

    /// Reads at most this many bytes, of the socket too; `false` = the gateway has cut it off.
    fn read(&mut self, most: usize) -> Result<bool> {
        let mut bytes = vec![0; most];
        self.socket.set_read_size(most);
        let n = match self.socket.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Err(error) if is_cut(error.kind()) => return Ok(false),
            read => read?,
        };
        let mut bytes = bytes[..n].to_vec();
        if let Some(head) = &mut self.head {
            head.extend(bytes);
            let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(true) };
            bytes = head[end + 4..].to_vec();
            self.head = None;
        }
        self.events.extend(self.parser.push(&bytes));
        Ok(true)
    }

    fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if !self.read(65536)? {
                bail!("cut off");
            }
        }
    }
}

/// Over TLS it ends without the notice of that: nothing can be said in the middle of a record.
fn is_cut(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
}

/// A cluster where 1 MB waits in the window for a subscriber that has seen nothing yet; its first id.
fn backlog(write_timeout: &str) -> Result<(Cluster, String)> {
    let cluster = Cluster::builder().setting("sse.write_timeout", write_timeout).start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let first = cluster.http()?.events(PATH)?.next(SOON)?.id;
    cluster.sql("select sse.publish(rpad(i::text, 1000, 'x')) from generate_series(1, 1000) i")?;
    wait_until(SOON, "taken in", || {
        figure(&cluster, "stat_gateway", "events_total").is_ok_and(|total| total == 1000)
    })?;
    Ok((cluster, first))
}

/// Takes the events out, which must be the next ones.
fn take(narrow: &mut Narrow, seen: &mut u64) -> Result<()> {
    for event in narrow.events.drain(..).filter(|event| event.event != "sse.ready") {
        *seen += 1;
        ensure!(event.data.trim_end_matches('x') == seen.to_string(), "{seen} is {:?}", &event.data[..10]);
    }
    Ok(())
}

// One byte in a millisecond, with a timeout of a second. What the subscriber takes does not fill half of its
// receive buffer in that time, so TCP tells the gateway nothing of it.
#[test]
fn one_that_reads_byte_by_byte_is_cut_off_now_and_then_and_misses_nothing() -> Result<()> {
    let (cluster, first) = backlog("1s")?;
    let http = cluster.http()?;
    let mut good = cluster.http()?.events(PATH)?.begun()?;
    let mut reader = Narrow::new(narrow(http, &first)?);
    let (mut seen, mut cuts) = (0, 0);
    let began = Instant::now();
    while seen < 1000 {
        // When its patience ends, it reads like others.
        let is_slow = began.elapsed() < Duration::from_secs(5);
        let is_open = reader.read(if is_slow { 1 } else { 65536 })?;
        take(&mut reader, &mut seen)?;
        if !is_open {
            cuts += 1;
            let last = Some(reader.parser.last_event_id()).filter(|id| !id.is_empty()).unwrap_or(&first);
            reader = Narrow::new(narrow(http, last)?);
        }
        if is_slow {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(figure(&cluster, "stat_gateway", "gaps_total")?, 0);
    ensure!(cuts > 0, "it was never cut off");
    cluster.sql("select f('still there')")?;
    assert_eq!(good.next(SOON)?.data, "still there");
    Ok(())
}

#[test]
fn one_that_reads_slowly_and_steadily_is_not_cut_off() -> Result<()> {
    let (cluster, first) = backlog("2s")?;
    let mut reader = Narrow::new(narrow(cluster.http()?, &first)?);
    let mut seen = 0;
    let began = Instant::now();
    while seen < 1000 {
        // 160 kB per second: several times the timeout for what is there. Without a pause while it is behind
        // that, so that a busy machine does not make it slower than it is to be.
        ensure!(reader.read(8000)?, "cut off after {seen} events, {:?}", began.elapsed());
        take(&mut reader, &mut seen)?;
        let due = began + Duration::from_millis(seen * 1000 / 160);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    ensure!(began.elapsed() > Duration::from_secs(4), "it was not slow: {:?}", began.elapsed());
    assert_eq!(figure(&cluster, "stat_gateway", "write_timeouts_total")?, 0);
    assert_eq!(figure(&cluster, "stat_gateway", "gaps_total")?, 0);
    Ok(())
}
