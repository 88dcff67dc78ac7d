//! Publishing: what an event at commit costs, when many sessions commit at once.
//!
//! The same insert in a PL/pgSQL function: alone, with each way to send an event, and with `pg_notify`, which
//! commits under a lock of its own. WAL is flushed, and a subscriber gets every event.
//!
//! Once as fast as the processors go, which shows what each way costs them; and once with flushes that take
//! as long as a disk's (`commit_delay`), which shows which sessions wait for others.
//!
//! Not for what becomes of events after the gateway: fanout.rs.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{Account, Cluster, PATIENCE, Scratch};
use memchr::memmem;

use crate::process;
use crate::report::{Chapter, Compared, Metric};
use crate::scale::{Scale, Size};

/// What the function does besides its insert.
struct Contender {
    name: &'static str,
    says: &'static str,
    comment: &'static str,
    body: &'static str,
}

/// The first is what the others are divided by.
const CONTENDERS: [Contender; 7] = [
    Contender {
        name: "plain",
        says: "RAISE, not annotated",
        comment: "",
        body: "raise notice '%', message;",
    },
    Contender {
        name: "raised",
        says: "RAISE, an event at commit",
        comment: "@sse on notice",
        body: "raise notice '%', message;",
    },
    Contender {
        name: "notified",
        says: "pg_notify, nobody listens",
        comment: "",
        body: "perform pg_notify('channel', message);",
    },
    Contender {
        name: "published",
        says: "sse.publish, an event at commit",
        comment: "",
        body: "perform sse.publish(message);",
    },
    Contender {
        name: "at_once",
        says: "RAISE, an event at once",
        comment: "@sse on notice\n@sse_delivery immediate",
        body: "raise notice '%', message;",
    },
    Contender { name: "alone", says: "nothing: the insert alone", comment: "", body: "" },
    Contender {
        name: ONLY,
        says: "no insert: RAISE, an event at commit",
        comment: "@sse on notice",
        body: "raise notice '%', message;",
    },
];

/// The one that inserts nothing.
const ONLY: &str = "only";

/// All of them.
const ALL: &[usize] = &[0, 1, 2, 3, 4, 5, 6];

/// After the name of a contender that was measured with `sse.durability = wal`.
const WAL: &str = "; durability wal";

pub(crate) const RATE: Metric = Metric { name: "commits", unit: "1/s", is_compared: true };
const SYSTEM: Metric = Metric { name: "server's CPU per commit", unit: "µs", is_compared: true };

/// A server and the rows that are measured on it.
struct Place {
    durability: &'static str,
    /// How long flushes take, in microseconds: as long as on this machine, and as long as on a disk.
    flush: u32,
    clients: &'static [u32],
    /// Places in [`CONTENDERS`].
    contenders: &'static [usize],
}

const FULL: [Place; 3] = [
    Place { durability: "memory", flush: 0, clients: &[1, 8, 32, 64], contenders: ALL },
    Place { durability: "memory", flush: 5000, clients: &[32], contenders: ALL },
    Place { durability: "wal", flush: 0, clients: &[1, 8, 32, 64], contenders: &[0, 1, 6] },
];
const QUICK: [Place; 3] = [
    Place { durability: "memory", flush: 0, clients: &[1, 32], contenders: &[0, 1, 2, 6] },
    Place { durability: "memory", flush: 5000, clients: &[32], contenders: &[0, 1, 2] },
    Place { durability: "wal", flush: 0, clients: &[32], contenders: &[0, 1, 6] },
];
const SMOKE: [Place; 2] = [
    Place { durability: "memory", flush: 0, clients: &[2], contenders: ALL },
    Place { durability: "wal", flush: 0, clients: &[2], contenders: &[0, 1, 6] },
];

/// Measures all of it.
///
/// # Errors
/// Something on the way fails, or an event is missing.
pub(crate) fn run(scale: &Scale) -> Result<Chapter> {
    let title = "Publishing: an insert in a PL/pgSQL function, and beside it";
    let mut chapter =
        Chapter::new("publish", title, CONTENDERS[0].says).with_heads(["load", "besides the insert"]);
    let places: &[Place] = match scale.size {
        Size::Smoke => &SMOKE,
        Size::Quick => &QUICK,
        Size::Full => &FULL,
    };
    let benches = [Bench::start("memory")?, Bench::start("wal")?];
    let subscribers = [Subscriber::start(&benches[0].cluster)?, Subscriber::start(&benches[1].cluster)?];
    let mut sent = [0; 2];
    for round in 0..scale.rounds {
        for place in places {
            let number = usize::from(place.durability == "wal");
            sent[number] += benches[number].measure(place, round, scale.turn, &mut chapter)?;
        }
    }
    let mut received = 0;
    for ((subscriber, bench), without_row) in subscribers.into_iter().zip(&benches).zip(sent) {
        received += subscriber.finish(&bench.cluster, without_row)?;
    }
    compare_with_memory(&mut chapter);
    chapter.note(format!("{received} events were sent, and the subscribers have got each of them."));
    Ok(chapter)
}

/// Tells what an event in the log costs beside one in memory.
fn compare_with_memory(chapter: &mut Chapter) {
    let mut notes = Vec::new();
    for row in chapter.rows() {
        for contender in &CONTENDERS {
            let ratio = chapter.compared_to(row, &format!("{}{WAL}", contender.says), contender.says, RATE);
            if let Some(Compared { median, low, high }) = ratio {
                notes.push(format!(
                    "Durability `wal` ÷ `memory`, {row}, {}: {median:.2} ({low:.2} to {high:.2}) of the commits.",
                    contender.says
                ));
            }
        }
    }
    notes.into_iter().for_each(|note| chapter.note(note));
}

struct Bench {
    cluster: Cluster,
    scripts: Scratch,
}

impl Bench {
    fn start(durability: &str) -> Result<Self> {
        let cluster = Cluster::builder()
            .setting("fsync", "on")
            .setting("max_connections", 100)
            .setting("max_worker_processes", 16)
            .setting("sse.window_size", "16MB")
            .setting("sse.durability", durability)
            .start()?;
        let scripts = Scratch::create(&Account::for_servers()?)?;
        for Contender { name, comment, body, .. } in &CONTENDERS {
            let insert = match *name {
                ONLY => String::new(),
                _ => format!("insert into rows_{name} (data) values (message);"),
            };
            cluster.sql(&format!(
                "create table rows_{name} (id bigserial primary key, data text);
                 create function insert_{name}(message text) returns void language plpgsql as $f$
                 begin {insert} {body} end $f$;
                 comment on function insert_{name}(text) is '{comment}';"
            ))?;
            fs::write(scripts.path().join(name), format!("select insert_{name}(repeat('x', 200));\n"))?;
        }
        Ok(Self { cluster, scripts })
    }

    /// One round. Returns how many events were sent of which no row tells.
    fn measure(&self, place: &Place, round: usize, turn: Duration, chapter: &mut Chapter) -> Result<u64> {
        let mut without_row = 0;
        self.cluster.sql(&format!("alter system set commit_delay = {}", place.flush))?;
        self.cluster.sql("alter system set commit_siblings = 0")?;
        self.cluster.sql("select pg_reload_conf()")?;
        for clients in place.clients {
            let mut row = format!("{clients} clients");
            if place.flush > 0 {
                row += &format!(", flushes of {} ms", place.flush / 1000);
            }
            for number in 0..place.contenders.len() {
                // None is always first.
                let contender = &CONTENDERS[place.contenders[(number + round) % place.contenders.len()]];
                let before = process::tree_time(self.cluster.postmaster_pid()?);
                let (rate, commits) = self.turn(contender, *clients, turn)?;
                let used = process::tree_time(self.cluster.postmaster_pid()?) - before;
                if contender.name == ONLY {
                    without_row += commits as u64;
                }
                let kind = if place.durability == "wal" { WAL } else { "" };
                let side = format!("{}{kind}", contender.says);
                chapter.add(&row, &side, RATE, rate);
                chapter.add(&row, &side, SYSTEM, used.as_secs_f64() * 1e6 / commits);
            }
        }
        Ok(without_row)
    }

    /// Commits a second in one turn, and how many there were.
    fn turn(&self, contender: &Contender, clients: u32, turn: Duration) -> Result<(f64, f64)> {
        let mut pgbench = self.cluster.tool("pgbench");
        let clients = clients.to_string();
        pgbench.args(["-n", "-M", "prepared", "-j", if clients == "1" { "1" } else { "2" }, "-c", &clients]);
        pgbench
            .args(["-T", &turn.as_secs().max(1).to_string(), "-f"])
            .arg(self.scripts.path().join(contender.name));
        pgbench.arg("postgres").env("PGOPTIONS", "-c client_min_messages=warning");
        let output = pgbench.output().context("there is no pgbench")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "pgbench: {text}{}", String::from_utf8_lossy(&output.stderr));
        let number = |name: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).context("pgbench says less")?;
            Ok(line
                .split(|c: char| !(c.is_ascii_digit() || c == '.'))
                .find(|part| !part.is_empty())
                .context("no number")?
                .parse()?)
        };
        Ok((number("tps = ")?, number("number of transactions actually processed: ")?))
    }
}

/// Counts events on a thread of its own.
struct Subscriber {
    thread: thread::JoinHandle<Result<()>>,
    received: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Subscriber {
    fn start(cluster: &Cluster) -> Result<Self> {
        let mut socket = TcpStream::connect(cluster.http()?.address()).context("cannot connect")?;
        socket.write_all(b"GET /api/insert-raised/notice HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut counter = Counter { socket, bytes: vec![0; 256 * 1024], kept: 0 };
        // The first block is there as soon as the stream is.
        ensure!(counter.read()?.is_some_and(|read| read.starts_with(b"HTTP/1.1 200")), "no stream");
        counter.socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (received, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, ends) = (Arc::clone(&received), Arc::clone(&is_over));
        let thread = thread::spawn(move || counter.count(&counted, &ends));
        Ok(Self { thread, received, is_over })
    }

    /// Waits for the last event. `without_row`: how many there are beside those that the tables tell of.
    fn finish(self, cluster: &Cluster, without_row: u64) -> Result<u64> {
        let sent = cluster.sql(
            "select (select count(*) from rows_raised) + (select count(*) from rows_published)
                  + (select count(*) from rows_at_once)",
        )?;
        let sent = sent.parse::<u64>()? + without_row;
        let deadline = Instant::now() + PATIENCE;
        while self.received.load(Relaxed) < sent && Instant::now() < deadline && !self.thread.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        self.is_over.store(true, Relaxed);
        self.thread.join().unwrap_or_else(|_| bail!("the subscriber panicked"))?;
        let received = self.received.load(Relaxed);
        ensure!(received == sent, "{sent} events were sent, and {received} received");
        Ok(sent)
    }
}

/// Looks for nothing but how many events come, because it takes its processor time from those that it
/// measures.
struct Counter {
    socket: TcpStream,
    bytes: Vec<u8>,
    /// Bytes in front that were seen before, and may be the beginning of what is looked for.
    kept: usize,
}

impl Counter {
    const EVENT: &[u8] = b"\ndata: x";
    const GAP: &[u8] = b"event: sse.gap";

    /// What has come, after what was kept. `None`: nothing came in time.
    fn read(&mut self) -> Result<Option<&[u8]>> {
        match self.socket.read(&mut self.bytes[self.kept..]) {
            Ok(0) => bail!("the stream has ended"),
            Ok(count) => Ok(Some(&self.bytes[..self.kept + count])),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn count(&mut self, received: &AtomicU64, is_over: &AtomicBool) -> Result<()> {
        while !is_over.load(Relaxed) {
            let Some(read) = self.read()? else { continue };
            ensure!(memmem::find(read, Self::GAP).is_none(), "events are missing");
            let (mut count, mut end) = (0, 0);
            for place in memmem::find_iter(read, Self::EVENT) {
                count += 1;
                end = place + Self::EVENT.len();
            }
            // As much as a longest name may need, but nothing that was counted.
            let begin = end.max(read.len().saturating_sub(Self::GAP.len() - 1));
            let all = read.len();
            self.bytes.copy_within(begin..all, 0);
            self.kept = all - begin;
            received.fetch_add(count, Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Whatever the pieces are in which they come.
    #[test]
    fn each_event_is_counted_once_and_a_gap_is_seen() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let socket = TcpStream::connect(listener.local_addr()?)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let (mut server, _) = listener.accept()?;
        let mut counter = Counter { socket, bytes: vec![0; 64], kept: 0 };
        let (received, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let counting = scope.spawn(|| counter.count(&received, &is_over));
            for byte in b"id: 1\ndata: xxx\n\nid: 2\ndata: xx\n\n: beat\n\nid: 3\ndata: x\n\n" {
                server.write_all(&[*byte])?;
            }
            cluster::wait_for(PATIENCE, "three events", || Ok((received.load(Relaxed) >= 3).then_some(())))?;
            server.write_all(b"id: 4\nevent: sse.g")?;
            server.write_all(b"ap\ndata: x\n\n")?;
            let end = counting.join().unwrap_or_else(|_| bail!("it panicked"));
            assert!(end.is_err() && received.load(Relaxed) == 3);
            anyhow::Ok(())
        })
    }
}
