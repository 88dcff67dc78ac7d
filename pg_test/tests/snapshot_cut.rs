//! The exact cut under load (C7.6): writers in many sessions, streams that begin at random and are broken at
//! random between every two blocks; each stream's snapshots plus events give exactly the table's state.
//!
//! `PG_SSE_SNAPSHOT_SECONDS=600` makes it run that long, `PG_SSE_SNAPSHOT_SEED` repeats its choices (not its
//! timing).
//!
//! Every row's number rises by one with each change, and every event says a row and its new number. So a
//! stream that got an event which its snapshot had seen, or missed one, sees a number that does not follow.
//! Half of the rows are told by `RAISE` in a trigger function, the other half by `sse.publish_change()`.
//!
//! A cut that nothing lies across proves nothing, and left alone nearly nothing does: the time in which a
//! commit is visible and its events are not in the ring is microseconds, and a stream usually goes on after
//! all that the run saw. So a library makes commits linger there, the function of the snapshot takes its
//! time, transactions wait between raising and commit (asleep, for a row, or for the lock that NOTIFY takes,
//! which is behind their ticket), and events of no transaction come in between. The run fails if too few
//! events lay on either side:
//!
//! - *covered*: the snapshot saw them, and in the order they come after something that it did not see;
//! - *kept*: raised before the run ended, or even before it began, and not seen by it.
//!
//! Events that are sent at once are numbered by each writer: they belong to no cut, and must come
//! nevertheless once each, except where a gap says so.

mod common;
#[path = "snapshot_cut/follower.rs"]
mod follower;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Install, Preload};
use common::calls::{ROLE, builder, start};
use common::{figure, linger};
use fastrand::Rng;
use follower::read;
use serde_json::Value;

const WRITERS: u64 = 6;
const READERS: u64 = 12;

/// Rows that a trigger function tells, and rows that `sse.publish_change()` tells.
const RAISED: std::ops::Range<u64> = 1..21;

const CHANGED: std::ops::Range<u64> = 101..121;

/// What the text of an event is cut to in the trail of a failure.
const MAX_TOLD_CHARS: usize = 60;

/// A run may take longer than the window lasts, on a busy machine.
const LEAST_SNAPSHOTS_OF_A_LACK: u64 = 20;

const STREAM: &str = "/api/cut/changed/info?topic=cut.rows";

/// Rows, with the times between which the run read them.
const STATE: &str = "
    create function cut.clock() returns bigint language sql volatile as
        'select (extract(epoch from clock_timestamp()) * 1000000)::bigint';
    create function cut.state() returns jsonb language plpgsql as $f$
    declare
        rows jsonb;
        began bigint := extract(epoch from now()) * 1000000;
    begin
        perform pg_sleep(greatest(0, random() * 0.03 - 0.01));
        select jsonb_object_agg(id, n) into rows
            from (select id, n from cut.items union all select id, n from cut.rows) r;
        perform pg_sleep(greatest(0, random() * 0.03 - 0.01));
        return jsonb_build_object('rows', rows, 'began', began, 'ended', cut.clock());
    end $f$";

/// What was seen in all, so that a run in which nothing happened proves nothing.
#[derive(Default)]
struct Seen {
    snapshots: AtomicU64,
    /// Resumed from an id that needs a snapshot; among them, from that of an event after a snapshot.
    resumed_with: AtomicU64,
    resumed_amid: AtomicU64,
    resumed_without: AtomicU64,
    events: AtomicU64,
    row_changes: AtomicU64,
    notes: AtomicU64,
    gaps: AtomicU64,
    /// Gaps in place of a snapshot.
    lacks: AtomicU64,
    /// Sent after a snapshot, although raised before its run began: the transaction was running then.
    kept_from_before: AtomicU64,
    /// The same, raised while it ran.
    kept_from_meanwhile: AtomicU64,
}

impl Seen {
    fn told(&self) -> String {
        let of = |count: &AtomicU64| count.load(Relaxed);
        format!(
            "{} events, {} of them row changes, and {} sent at once; {} snapshots; resumed {} times with one, \
             {} of them between a snapshot and what it saw, and {} times without; {} gaps, {} of them for want of a snapshot; kept {} events from \
             before a run, and {} from meanwhile",
            of(&self.events),
            of(&self.row_changes),
            of(&self.notes),
            of(&self.snapshots),
            of(&self.resumed_with),
            of(&self.resumed_amid),
            of(&self.resumed_without),
            of(&self.gaps),
            of(&self.lacks),
            of(&self.kept_from_before),
            of(&self.kept_from_meanwhile)
        )
    }

    /// What happened less often than it must in so many seconds.
    fn too_little(&self, seconds: u64, covered: u64) -> Vec<String> {
        let of = |count: &AtomicU64| count.load(Relaxed);
        let found = [
            ("events covered", covered, 2 * seconds),
            ("events kept from before a run", of(&self.kept_from_before), 2 * seconds),
            ("events kept from meanwhile", of(&self.kept_from_meanwhile), 2 * seconds),
            ("row changes", of(&self.row_changes), 10 * seconds),
            ("events sent at once", of(&self.notes), seconds),
            ("snapshots", of(&self.snapshots), READERS + seconds),
            ("resumed with a snapshot", of(&self.resumed_with), seconds / 2),
            ("resumed amid what a snapshot saw", of(&self.resumed_amid), seconds / 4),
            ("resumed without a snapshot", of(&self.resumed_without), seconds / 2),
            ("gaps", of(&self.gaps), seconds / 10),
        ];
        let few = found.into_iter().filter(|(_, count, least)| count < least);
        few.map(|(what, count, least)| format!("{what}: {count}, at least {least} are needed")).collect()
    }
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

// Long because it is one run: the table, writers, readers, the verdict.
#[test]
fn snapshots_and_events_together_are_exactly_the_tables_state() -> Result<()> {
    let seconds = environment("PG_SSE_SNAPSHOT_SECONDS").unwrap_or(8);
    let seed = environment("PG_SSE_SNAPSHOT_SEED").unwrap_or_else(by_the_clock);
    println!("seed {seed}, {seconds} seconds");
    if !linger::compile(Install::shared()?.as_ref())? {
        return Ok(());
    }
    // Windows small enough that a stream which stays away for a second falls out of them, and large enough
    // for the events of a snapshot's run.
    let cluster = start(
        builder()
            .preload(Preload::Libraries(format!("pg_sse, {}", linger::LIBRARY)))
            .setting("sse.window_size", "128kB")
            .setting("sse.call_workers", "3")
            .setting("sse.threads", "2")
            .setting("max_connections", "60"),
    )?;
    cluster.sql(&format!(
        "create schema cut; grant usage on schema cut to {ROLE};
         create table cut.items(id int primary key, n bigint not null, at bigint) with (fillfactor = 50);
         create table cut.rows(id int primary key, n bigint not null, at bigint) with (fillfactor = 50);
         insert into cut.items select i, 0 from generate_series({}, {}) i;
         insert into cut.rows select i, 0 from generate_series({}, {}) i;
         grant select on cut.items, cut.rows to {ROLE};
         create trigger tells after insert or update or delete on cut.rows
             for each row execute function sse.publish_change('all');
         {STATE};
         create function cut.changed() returns trigger language plpgsql as
         $f$ begin raise info '% % %', new.id, new.n, new.at; return null; end $f$;
         create trigger changed after update on cut.items for each row execute function cut.changed();
         comment on function cut.changed() is '@sse\n@sse_topic cut.items\n@sse_snapshot state as state';
         create function cut.note(who int, number int, filler text) returns void language plpgsql as
         $f$ begin raise info '% % %', who, number, filler; end $f$;
         comment on function cut.note is
             '@sse_publish\n@sse_topic cut.items\n@sse_event note\n@sse_delivery immediate'",
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
                scope.spawn(move || write(cluster, number, Rng::with_seed(seed ^ (number + 1)), is_over))
            })
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let (is_over, seen) = (&is_over, &seen);
                scope.spawn(move || read(http, Rng::with_seed(seed ^ ((number + 1) << 20)), is_over, seen))
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
        let table: Value = serde_json::from_str(&cluster.sql("select cut.state() -> 'rows'")?)?;
        for (number, reader) in readers.into_iter().enumerate() {
            let mut follower = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
            follower.catch_up(&table).with_context(|| format!("reader {number}"))?;
        }
        Ok(())
    });
    let (ran, failed, covered) = (
        figure(&cluster, "stat_gateway", "snapshots_total")?,
        figure(&cluster, "stat_gateway", "snapshots_failed_total")?,
        u64::try_from(figure(&cluster, "stat_gateway", "covered_total")?)?,
    );
    println!("{}", seen.told());
    println!("{ran} runs, {failed} of them failed; {covered} events covered");
    outcome?;
    let (lacks, snapshots) = (seen.lacks.load(Relaxed), seen.snapshots.load(Relaxed));
    ensure!(lacks * LEAST_SNAPSHOTS_OF_A_LACK <= snapshots, "{lacks} times no snapshot, beside {snapshots}");
    let too_little = seen.too_little(seconds, covered);
    ensure!(too_little.is_empty(), "the run proves too little:\n{}", too_little.join("\n"));
    Ok(())
}

fn by_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| since.as_micros() as u64)
}

/// Updates rows, in transactions of all kinds.
fn write(cluster: &Cluster, number: u64, mut rng: Rng, is_over: &AtomicBool) -> Result<()> {
    let mut session = cluster.session()?;
    let mut notes = 0;
    while !is_over.load(Relaxed) {
        if rng.u64(..8) == 0 {
            notes += 1;
            let filler = if rng.u64(..4) == 0 { rng.u64(..4000) } else { 0 };
            session.run(&format!("select cut.note({number}, {notes}, repeat('x', {filler}))"))?.ok()?;
        }
        if rng.u64(..16) == 0 {
            // For streams of another topic: of no transaction in a snapshot, and in the order all the same.
            session
                .run("select sse.publish('aside', topic => 'cut.aside', delivery => 'immediate')")?
                .ok()?;
        }
        if session.run(&transaction(&mut rng))?.error().is_some() {
            // A deadlock. What was rolled back says nothing.
            session.run("rollback")?;
        }
        if rng.u64(..4) == 0 {
            thread::sleep(Duration::from_millis(rng.u64(..10)));
        }
    }
    Ok(())
}

/// One transaction of any kind.
fn transaction(rng: &mut Rng) -> String {
    let (table, row) = match rng.u64(..2) {
        0 => ("cut.items", rng.u64(RAISED)),
        _ => ("cut.rows", rng.u64(CHANGED)),
    };
    let set = "set n = n + 1, at = cut.clock()";
    let one = format!("update {table} {set} where id = {row};");
    // How long it stays visible without its events.
    let linger = format!("set local linger.ms = {};", 1 + rng.u64(..20));
    let linger = if rng.u64(..3) == 0 { linger.as_str() } else { "" };
    match rng.u64(..14) {
        0 => format!("begin; {one} rollback"),
        1 => format!("begin; savepoint a; {one} rollback to a; {one} {linger} commit"),
        2 => format!("begin; savepoint a; {one} release a; savepoint b; {one} {linger} commit"),
        3 => format!("begin; {one} select pg_sleep(0.005); {linger} commit"),
        4 => format!("begin; {one} select pg_sleep({}); commit", 0.001 * (1 + rng.u64(..40)) as f64),
        // In the order of the rows, so that nobody waits in a circle.
        5 => format!("begin; update {table} {set} where id >= {row} and id < {row} + 3; {linger} commit"),
        // Both kinds in one transaction.
        6 => format!(
            "begin; update cut.items {set} where id = 1; update cut.rows {set} where id = {}; {linger} commit",
            rng.u64(CHANGED)
        ),
        // The row goes, and another one comes in its place.
        7 if table == "cut.rows" => format!(
            "begin; with gone as (delete from cut.rows where id = {row} returning *)
                 insert into cut.rows select id, n + 1, cut.clock() from gone; {linger} commit"
        ),
        // Before its commit it waits for those who notify, too, and after its ticket: so one with a later
        // ticket may become visible before it.
        8..=10 => format!("begin; {one} notify cut; {linger} commit"),
        _ if linger.is_empty() => one,
        _ => format!("begin; {one} {linger} commit"),
    }
}
