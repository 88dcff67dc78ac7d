//! `cargo xtask commit-rate`: what an event at commit costs, when many sessions commit at once.
//!
//! The same insert in a PL/pgSQL function: alone, with each way to send an event, and with `pg_notify`, which
//! commits under a lock of its own. All in one run and by turns, because a rate of one minute says nothing
//! about the next one; with the release build, WAL that is flushed, and a subscriber that gets every event.
//!
//! It measures twice: as fast as the processors go, which shows what each way costs them; and with flushes
//! that take as long as a disk's (`commit_delay`), which shows which sessions wait for others.
//!
//! Not a test: it fails when events are missing, never because of a figure.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{EventStream, StreamError};
use cluster::{Cluster, Install, PATIENCE, Profile, Scratch};

use crate::packages::{self, Purpose};
use crate::{build, progress};

/// Seconds of one turn: long enough for pgbench's connections to run together, short enough for many turns.
const TURN_SECONDS: u64 = 3;

/// How long flushes take, in microseconds: as long as on this machine, and as long as on a disk.
const FLUSHES: [u32; 2] = [0, 5000];

/// What the function does besides its insert.
struct Contender {
    name: &'static str,
    says: &'static str,
    comment: &'static str,
    body: &'static str,
}

const CONTENDERS: [Contender; 6] = [
    Contender { name: "alone", says: "the insert alone", comment: "", body: "" },
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
    Contender {
        name: "notified",
        says: "pg_notify, nobody listens",
        comment: "",
        body: "perform pg_notify('channel', message);",
    },
];

/// Measures for about this long, and prints the table.
///
/// # Errors
/// Something on the way fails, or an event is missing.
pub(crate) fn run(seconds: u64, connections: u32, pg_config: Option<&Path>) -> Result<()> {
    let pg = packages::ensure(pg_config, Purpose::BuildAndRun)?;
    let extension = build::extension(&pg, Profile::Release)?;
    let install = Install::of(&pg)?;
    ensure!(install.program("pgbench").is_file(), "this PostgreSQL comes without pgbench");
    install.put(&extension)?;
    let cluster = Cluster::builder()
        .install(Arc::new(install))
        .setting("fsync", "on")
        .setting("max_connections", connections + 20)
        .setting("sse.window_size", "16MB")
        .start()?;
    let bench = Bench::new(&cluster, connections)?;
    let turns = (seconds / (TURN_SECONDS * (CONTENDERS.len() * FLUSHES.len()) as u64)).max(1);
    println!("{}, {connections} connections, {turns} turns of {TURN_SECONDS} s each", pg.version);
    let subscriber = Subscriber::start(&cluster)?;
    for flush in FLUSHES {
        bench.table(flush, turns)?;
    }
    let received = subscriber.finish(&cluster)?;
    println!(
        "\n{received} events were sent, and the subscriber has got each of them. Server, gateway, subscriber and pgbench \
         share {} processors.",
        thread::available_parallelism()?
    );
    Ok(())
}

struct Bench<'a> {
    cluster: &'a Cluster,
    connections: u32,
    scripts: Scratch,
}

impl<'a> Bench<'a> {
    fn new(cluster: &'a Cluster, connections: u32) -> Result<Self> {
        let scripts = Scratch::create(&cluster::Account::for_servers()?)?;
        for Contender { name, comment, body, .. } in &CONTENDERS {
            cluster.sql(&format!(
                "create table rows_{name} (id bigserial primary key, data text);
                 create function insert_{name}(message text) returns void language plpgsql as $f$
                 begin insert into rows_{name} (data) values (message); {body} end $f$;
                 comment on function insert_{name}(text) is '{comment}';"
            ))?;
            let script = format!("select insert_{name}(repeat('x', 200));\n");
            fs::write(scripts.path().join(name), script)?;
        }
        Ok(Self { cluster, connections, scripts })
    }

    /// Measures everything with flushes of this kind, and prints the table.
    fn table(&self, flush: u32, turns: u64) -> Result<()> {
        self.cluster.sql(&format!("alter system set commit_delay = {flush}"))?;
        self.cluster.sql("alter system set commit_siblings = 0")?;
        self.cluster.sql("select pg_reload_conf()")?;
        let gateway: u32 = self.cluster.sql("select pid from sse.stat_gateway")?.parse()?;
        let mut rates: [Vec<f64>; CONTENDERS.len()] = Default::default();
        let mut busy = [Duration::ZERO; CONTENDERS.len()];
        for turn in 0..turns as usize {
            // The order changes, so that none is always first.
            for place in 0..CONTENDERS.len() {
                let number = (place + turn) % CONTENDERS.len();
                let before = processor_time(gateway);
                rates[number].push(self.turn(&CONTENDERS[number])?);
                busy[number] += processor_time(gateway).saturating_sub(before);
            }
        }
        match flush {
            0 => println!("\nAs fast as the processors go"),
            flush => println!("\nWith flushes that take {} ms", f64::from(flush) / 1000.0),
        }
        println!(
            "{:34} {:>8}   {:>5}   {:>12}   {:>12}",
            "with each insert", "commit/s", "ratio", "of the turns", "gateway's CPU"
        );
        let alone = median(&rates[0]);
        for ((contender, rates), busy) in CONTENDERS.iter().zip(&rates).zip(busy) {
            let [low, high] =
                [f64::min, f64::max].map(|pick| rates.iter().copied().reduce(pick).unwrap_or(0.0));
            println!(
                "{:34} {:8.0}   {:5.2}   {:4.2} to {:4.2}   {:12.0}%",
                contender.says,
                median(rates),
                median(rates) / alone,
                low / alone,
                high / alone,
                busy.as_secs_f64() / (turns * TURN_SECONDS) as f64 * 100.0
            );
        }
        Ok(())
    }

    /// Commits a second in one turn.
    fn turn(&self, contender: &Contender) -> Result<f64> {
        let mut pgbench: Command = self.cluster.tool("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-c", &self.connections.to_string()]);
        pgbench.args(["-T", &TURN_SECONDS.to_string(), "-f"]).arg(self.scripts.path().join(contender.name));
        pgbench.arg("postgres").env("PGOPTIONS", "-c client_min_messages=warning");
        let output = progress::run(contender.says, pgbench)?.ok("pgbench")?;
        let rate = output.stdout.iter().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split_whitespace().next()).context("pgbench said no rate")?;
        Ok(rate.parse()?)
    }
}

/// Processor time of all threads of a process so far. Zero where the system does not say (Linux does).
fn processor_time(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let times = threads.flatten().filter_map(|thread| {
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    });
    times.sum()
}

/// Counts events on a thread of its own.
struct Subscriber {
    thread: thread::JoinHandle<Result<()>>,
    received: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Subscriber {
    fn start(cluster: &Cluster) -> Result<Self> {
        let mut stream = cluster.http()?.events("/api/insert-raised/notice")?;
        ensure!(stream.next(PATIENCE)?.event == "sse.ready", "the stream does not begin");
        let (received, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, ends) = (Arc::clone(&received), Arc::clone(&is_over));
        let thread = thread::spawn(move || count(&mut stream, &counted, &ends));
        Ok(Self { thread, received, is_over })
    }

    /// Waits for the last event.
    fn finish(self, cluster: &Cluster) -> Result<u64> {
        let sent = cluster.sql(
            "select (select count(*) from rows_raised) + (select count(*) from rows_published)
                  + (select count(*) from rows_at_once)",
        )?;
        let sent: u64 = sent.parse()?;
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

fn count(stream: &mut EventStream, received: &AtomicU64, is_over: &AtomicBool) -> Result<()> {
    while !is_over.load(Relaxed) {
        match stream.next(Duration::from_millis(100)) {
            Ok(event) if event.event == "sse.gap" => bail!("events are missing: {}", event.data),
            Ok(_) if received.fetch_add(1, Relaxed).is_multiple_of(10_000) => stream.forget_bytes(),
            Ok(_) => {}
            Err(StreamError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn median(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}
