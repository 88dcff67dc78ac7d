//! The exact cut under load (C7.6): writers in many sessions, streams that begin at random and are broken at
//! random between every two blocks; each stream's snapshots plus events give exactly the table's state.
//!
//! `PG_SSE_SNAPSHOT_SECONDS=600` makes it run that long, `PG_SSE_SNAPSHOT_SEED` repeats its choices (not its
//! timing).
//!
//! Every row's number rises by one with each change, and every event says a row and its new number. So a
//! stream that got an event which its snapshot had seen, or missed one, sees a number that does not follow.
//! Half of the rows are told by `RAISE` in a trigger function, the other half by `sse.publish_change()`.

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

/// Rows that a trigger function tells, and rows that `sse.publish_change()` tells.
const RAISED: std::ops::Range<u64> = 1..21;
const CHANGED: std::ops::Range<u64> = 101..121;

const STREAM: &str = "/api/cut/changed/info?topic=cut.rows";

/// What was seen in all, so that a run in which nothing happened proves nothing.
#[derive(Default)]
struct Seen {
    snapshots: AtomicU64,
    resumed_with: AtomicU64,
    resumed_without: AtomicU64,
    events: AtomicU64,
    row_changes: AtomicU64,
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
    // Windows small enough that a stream which stays away for a second falls out of them, and large enough
    // for the events of a snapshot's run.
    let cluster = start(
        builder()
            .setting("sse.window_size", "256kB")
            .setting("sse.call_workers", "3")
            .setting("sse.threads", "2")
            .setting("max_connections", "60"),
    )?;
    cluster.sql(&format!(
        "create schema cut; grant usage on schema cut to {ROLE};
         create table cut.items(id int primary key, n bigint not null) with (fillfactor = 50);
         create table cut.rows(id int primary key, n bigint not null) with (fillfactor = 50);
         insert into cut.items select i, 0 from generate_series({}, {}) i;
         insert into cut.rows select i, 0 from generate_series({}, {}) i;
         grant select on cut.items, cut.rows to {ROLE};
         create trigger tells after insert or update or delete on cut.rows
             for each row execute function sse.publish_change('all');
         create function cut.state() returns jsonb language sql as
         'select jsonb_object_agg(id, n) from (select * from cut.items union all select * from cut.rows) r';
         create function cut.changed() returns trigger language plpgsql as
         $f$ begin raise info '% %', new.id, new.n; return null; end $f$;
         create trigger changed after update on cut.items for each row execute function cut.changed();
         comment on function cut.changed() is '@sse\n@sse_topic cut.items\n@sse_snapshot state as state'",
        RAISED.start,
        RAISED.end - 1,
        CHANGED.start,
        CHANGED.end - 1
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
        "{} events, {} of them row changes, {} snapshots, resumed {} times with one and {} times without, {} gaps",
        seen.events.load(Relaxed),
        seen.row_changes.load(Relaxed),
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
        seen.resumed_without.load(Relaxed) > 0
            && seen.snapshots.load(Relaxed) > READERS
            && seen.row_changes.load(Relaxed) > 0,
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
        let (table, row) = match dice.roll(2) {
            0 => ("cut.items", RAISED.start + dice.roll(RAISED.end - RAISED.start)),
            _ => ("cut.rows", CHANGED.start + dice.roll(CHANGED.end - CHANGED.start)),
        };
        let one = format!("update {table} set n = n + 1 where id = {row};");
        let statement = match dice.roll(10) {
            0 => format!("begin; {one} rollback"),
            1 => format!("begin; savepoint a; {one} rollback to a; {one} commit"),
            2 => format!("begin; savepoint a; {one} release a; savepoint b; {one} commit"),
            3 => format!("begin; {one} select pg_sleep(0.005); commit"),
            // In the order of the rows, so that nobody waits in a circle.
            4 => {
                format!("begin; update {table} set n = n + 1 where id >= {row} and id < {row} + 3; commit")
            }
            // Both kinds in one transaction.
            5 => {
                let other = CHANGED.start + dice.roll(CHANGED.end - CHANGED.start);
                format!(
                    "begin; update cut.items set n = n + 1 where id = 1; update cut.rows set n = n + 1 where id = {other}; commit"
                )
            }
            // The row goes, and another one comes in its place.
            6 if table == "cut.rows" => format!(
                "with gone as (delete from cut.rows where id = {row} returning *) insert into cut.rows select id, n + 1 from gone"
            ),
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

/// What a client has of the tables.
#[derive(Debug, Default)]
struct State {
    rows: HashMap<u64, u64>,
    /// Rows that have gone, and the numbers that they had.
    gone: HashMap<u64, u64>,
}

impl State {
    /// Takes a change of a row: its number before, if it was there, and behind, if it still is.
    fn change(&mut self, row: u64, before: Option<u64>, after: Option<u64>) -> Result<()> {
        ensure!(self.rows.remove(&row) == before, "row {row} was not {before:?} before");
        let last = before.or_else(|| self.gone.remove(&row)).context("an unknown row")?;
        match after {
            Some(n) => {
                ensure!(n == last + 1, "row {row} goes from {last} to {n}");
                self.rows.insert(row, n);
            }
            None => _ = self.gone.insert(row, last),
        }
        Ok(())
    }
}

/// The row of an event, and its numbers before and behind it.
fn change_of(event: &Event) -> Result<(u64, Option<u64>, Option<u64>)> {
    if event.event == "message" {
        let (row, n) = event.data.split_once(' ').context("no number")?;
        let (row, n): (u64, u64) = (row.parse()?, n.parse()?);
        return Ok((row, n.checked_sub(1), Some(n)));
    }
    let change: Value = serde_json::from_str(&event.data)?;
    let row = change["key"]["id"].as_u64().context("no key")?;
    Ok((row, change["old"]["n"].as_u64(), change["new"]["n"].as_u64()))
}

/// A client that keeps its state over broken connections.
struct Follower<'s> {
    http: Client,
    seen: &'s Seen,
    stream: Option<EventStream>,
    /// `None`: it waits for a snapshot.
    state: Option<State>,
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
            self.trail.push(format!("opens after {:?}", self.last_event_id));
            self.stream = Some(match self.last_event_id.as_str() {
                "" => self.http.events(STREAM)?,
                id => self.http.events_after(STREAM, id)?,
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
                self.state = Some(State { rows: rows.collect::<Result<_>>()?, gone: HashMap::new() });
            }
            _ => {
                self.seen.events.fetch_add(1, Relaxed);
                if let Some(id) = resumed {
                    ensure!(!id.is_empty() && !id.ends_with('s'), "resumed from {id:?}, and got no snapshot");
                    self.seen.resumed_without.fetch_add(1, Relaxed);
                }
                if event.event != "message" {
                    self.seen.row_changes.fetch_add(1, Relaxed);
                }
                let (row, before, after) = change_of(event)?;
                let state = self.state.as_mut().context("an event between a gap and its snapshot")?;
                state.change(row, before, after)?;
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
                RAISED
                    .chain(CHANGED)
                    .all(|row| table[row.to_string()].as_u64() == state.rows.get(&row).copied())
            });
            if is_same {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{:?} is not {table}\n{}", self.state, self.trail.join("\n"));
            self.step(Duration::from_millis(500))?;
        }
    }
}
