//! The exact cut under load (C7.6): writers in many sessions, streams that begin at random and are broken at
//! random between every two blocks; each stream's snapshots plus events give exactly the table's state.
//!
//! `PG_SSE_SNAPSHOT_SECONDS=600` makes it run that long, `PG_SSE_SNAPSHOT_SEED` repeats its choices (not its
//! timing).
//!
//! Every row's number rises by one with each update, and every event says a row and its new number. So a
//! stream that got an event which its snapshot had seen, or missed one, sees a number that does not follow.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use cluster::Cluster;
use cluster::http::{Client, Event, EventStream, StreamError};
use common::SOON;
use common::calls::{ROLE, builder, start};
use serde_json::Value;

const WRITERS: u64 = 6;
const READERS: u64 = 12;
const ROWS: u64 = 20;

/// What was seen in all, so that a run in which nothing happened proves nothing.
#[derive(Default)]
struct Seen {
    snapshots: AtomicU64,
    resumed_with: AtomicU64,
    resumed_without: AtomicU64,
    events: AtomicU64,
    gaps: AtomicU64,
}

/// A number that differs from call to call.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn snapshots_and_events_together_are_exactly_the_tables_state() -> Result<()> {
    let seconds = environment("PG_SSE_SNAPSHOT_SECONDS").unwrap_or(8);
    let seed = environment("PG_SSE_SNAPSHOT_SEED").unwrap_or_else(by_the_clock);
    println!("seed {seed}, {seconds} seconds");
    // Windows small enough that a stream which stays away for a moment falls out of them.
    let cluster = start(
        builder()
            .setting("sse.window_size", "64kB")
            .setting("sse.call_workers", "3")
            .setting("sse.threads", "2")
            .setting("max_connections", "60"),
    )?;
    cluster.sql(&format!(
        "create schema cut; grant usage on schema cut to {ROLE};
         create table cut.items(id int primary key, n bigint not null) with (fillfactor = 50);
         insert into cut.items select i, 0 from generate_series(1, {ROWS}) i; grant select on cut.items to {ROLE};
         create function cut.state() returns jsonb language sql as 'select jsonb_object_agg(id, n) from cut.items';
         create function cut.changed() returns trigger language plpgsql as
         $f$ begin raise info '% %', new.id, new.n; return null; end $f$;
         create trigger changed after update on cut.items for each row execute function cut.changed();
         comment on function cut.changed() is '@sse\n@sse_snapshot state as state'"
    ))?;
    let http = cluster.http()?;
    let (is_over, seen) = (AtomicBool::new(false), Seen::default());
    let outcome = thread::scope(|scope| -> Result<()> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (cluster, is_over) = (&cluster, &is_over);
                scope.spawn(move || write(cluster, Dice(seed ^ (number + 1)), is_over))
            })
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let (is_over, seen) = (&is_over, &seen);
                scope.spawn(move || read(http, Dice(seed ^ ((number + 1) << 20)), is_over, seen))
            })
            .collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end && readers.iter().all(|reader| !reader.is_finished()) {
            thread::park_timeout(Duration::from_millis(100));
        }
        is_over.store(true, Relaxed);
        for writer in writers {
            writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        }
        let table: Value = serde_json::from_str(&cluster.sql("select cut.state()")?)?;
        for (number, reader) in readers.into_iter().enumerate() {
            let mut follower = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
            follower.catch_up(&table).with_context(|| format!("reader {number}"))?;
        }
        Ok(())
    });
    println!(
        "{} events, {} snapshots, resumed {} times with one and {} times without, {} gaps",
        seen.events.load(Relaxed),
        seen.snapshots.load(Relaxed),
        seen.resumed_with.load(Relaxed),
        seen.resumed_without.load(Relaxed),
        seen.gaps.load(Relaxed)
    );
    println!(
        "{}",
        cluster.sql("select snapshots_total, snapshots_failed_total, covered_total from sse.stat_gateway")?
    );
    outcome?;
    ensure!(
        seen.resumed_without.load(Relaxed) > 0 && seen.snapshots.load(Relaxed) > READERS,
        "too little happened"
    );
    Ok(())
}

fn by_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| since.as_micros() as u64)
}

/// Updates rows, in transactions of all kinds.
fn write(cluster: &Cluster, mut dice: Dice, is_over: &AtomicBool) -> Result<()> {
    let mut session = cluster.session()?;
    while !is_over.load(Relaxed) {
        let row = 1 + dice.roll(ROWS);
        let one = format!("update cut.items set n = n + 1 where id = {row};");
        let statement = match dice.roll(8) {
            0 => format!("begin; {one} rollback"),
            1 => format!("begin; savepoint a; {one} rollback to a; {one} commit"),
            2 => format!("begin; savepoint a; {one} release a; savepoint b; {one} commit"),
            3 => format!("begin; {one} select pg_sleep(0.005); commit"),
            // In the order of the rows, so that nobody waits in a circle.
            4 => {
                format!("begin; update cut.items set n = n + 1 where id >= {row} and id < {row} + 3; commit")
            }
            _ => one,
        };
        if session.run(&statement)?.error().is_some() {
            // A deadlock. What was rolled back says nothing.
            session.run("rollback")?;
        }
        if dice.roll(4) == 0 {
            thread::sleep(Duration::from_millis(dice.roll(10)));
        }
    }
    Ok(())
}

/// A client that keeps its state over broken connections.
struct Follower<'s> {
    http: Client,
    seen: &'s Seen,
    stream: Option<EventStream>,
    /// `None`: it waits for a snapshot.
    state: Option<HashMap<u64, u64>>,
    last_event_id: String,
    /// The id that the stream was opened with, until the block after `sse.ready`.
    resumed: Option<String>,
    trail: Vec<String>,
}

fn read<'s>(http: Client, mut dice: Dice, is_over: &AtomicBool, seen: &'s Seen) -> Result<Follower<'s>> {
    let mut follower = Follower {
        http,
        seen,
        stream: None,
        state: None,
        last_event_id: String::new(),
        resumed: None,
        trail: Vec::new(),
    };
    while !is_over.load(Relaxed) {
        if dice.roll(30) == 0 {
            // Somebody new.
            (follower.state, follower.last_event_id) = (None, String::new());
        }
        let blocks = match dice.roll(3) {
            0 => dice.roll(4),
            1 => dice.roll(40),
            _ => dice.roll(400),
        };
        follower.stream = None;
        for _ in 0..blocks {
            if is_over.load(Relaxed) || !follower.step(Duration::from_secs(1))? {
                break;
            }
        }
        if dice.roll(20) == 0 {
            thread::sleep(Duration::from_millis(dice.roll(1500)));
        }
    }
    Ok(follower)
}

impl Follower<'_> {
    /// Reads one block. `false`: none came in time.
    fn step(&mut self, within: Duration) -> Result<bool> {
        if self.stream.is_none() {
            let path = "/api/cut/changed/info";
            self.trail.push(format!("opens after {:?}", self.last_event_id));
            self.stream = Some(match self.last_event_id.as_str() {
                "" => self.http.events(path)?,
                id => self.http.events_after(path, id)?,
            });
        }
        let Some(stream) = &mut self.stream else { bail!("no stream") };
        match stream.next(within) {
            Ok(event) => {
                self.trail.push(format!("{event:?}"));
                if self.trail.len() > 60 {
                    self.trail.drain(..20);
                }
                self.take(&event).with_context(|| self.trail.join("\n"))?;
                Ok(true)
            }
            Err(StreamError::TimedOut) => Ok(false),
            Err(error) => bail!("{error}"),
        }
    }

    fn take(&mut self, event: &Event) -> Result<()> {
        let resumed = self.resumed.take();
        match event.event.as_str() {
            "sse.ready" => self.resumed = Some(self.last_event_id.clone()),
            "sse.gap" => {
                self.seen.gaps.fetch_add(1, Relaxed);
                ensure!(!event.data.contains("\"snapshot\""), "no snapshot");
                ensure!(event.id.ends_with('s'), "a gap without a mark");
                self.state = None;
            }
            "state" => {
                self.seen.snapshots.fetch_add(1, Relaxed);
                if let Some(id) = resumed.filter(|id| !id.is_empty()) {
                    ensure!(id.ends_with('s'), "resumed from {id} without a gap, and got a snapshot");
                    self.seen.resumed_with.fetch_add(1, Relaxed);
                }
                let state: HashMap<String, u64> = serde_json::from_str(&event.data)?;
                let rows = state.into_iter().map(|(row, n)| Ok((row.parse()?, n)));
                self.state = Some(rows.collect::<Result<_>>()?);
            }
            _ => {
                self.seen.events.fetch_add(1, Relaxed);
                if let Some(id) = resumed {
                    ensure!(!id.is_empty() && !id.ends_with('s'), "resumed from {id:?}, and got no snapshot");
                    self.seen.resumed_without.fetch_add(1, Relaxed);
                }
                let (row, n) = event.data.split_once(' ').context("no number")?;
                let (row, n): (u64, u64) = (row.parse()?, n.parse()?);
                let state = self.state.as_mut().context("an event between a gap and its snapshot")?;
                let before = state.insert(row, n).context("an unknown row")?;
                ensure!(n == before + 1, "row {row} goes from {before} to {n}");
            }
        }
        self.last_event_id.clone_from(&event.id);
        Ok(())
    }

    /// Reads until its state is the table's, which does not change any more.
    fn catch_up(&mut self, table: &Value) -> Result<()> {
        let deadline = Instant::now() + 3 * SOON;
        loop {
            let is_same = self.state.as_ref().is_some_and(|state| {
                (1..=ROWS).all(|row| table[row.to_string()].as_u64() == state.get(&row).copied())
            });
            if is_same {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{:?} is not {table}\n{}", self.state, self.trail.join("\n"));
            self.step(Duration::from_millis(500))?;
        }
    }
}
