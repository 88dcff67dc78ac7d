//! How late events are while a large table is loaded: with `wal`, where all that the load writes has to be
//! read, beside `memory` with the same load and the same standby.
//!
//! Not for what a load costs.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::Session;

use super::delays::{AFTER, Delays, OVER_REPLAY};
use super::latency::PAUSE;
use super::line::{Line, Turn};
use super::looker::Visible;
use crate::report::{Chapter, Metric};

/// How often a session of the standby looks for rows: seldom, because a load and its replay take both
/// processors.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long a load may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Events that are sent in any case, where a load is over at once.
const LEAST: usize = 20;

/// Bytes that a row takes in the table: the header of its tuple, its number, 100 characters, and its pointer.
const ROW: u64 = 140;

/// How much later one of a hundred is than the same with `memory`.
const ABOVE: Metric = Metric { name: "p99 above memory", unit: "ms", is_compared: false };
const TAKES: Metric = Metric { name: "the load takes", unit: "s", is_compared: false };
const LOG: Metric = Metric { name: "log", unit: "MB", is_compared: false };

/// What came of one load.
struct Loaded {
    turn: Turn,
    visible: Vec<Visible>,
    takes: Duration,
    log: u64,
}

impl Loaded {
    /// Of the reader of the primary, and of the session that looks on the standby.
    fn controls(&self) -> Result<[Delays; 2]> {
        let (_, primary) = self.turn.delays().next().context("nobody reads the primary")?;
        Ok([primary, self.turn.until_visible(&self.visible)])
    }
}

/// The same load on both trees.
///
/// # Errors
/// It fails, or an event is lost, doubled or out of order.
pub(super) fn both(
    memory: &mut Line,
    wal: &mut Line,
    round: usize,
    megabytes: u64,
    chapter: &mut Chapter,
) -> Result<()> {
    // The two alternate in going first.
    let (memory, wal) = if round.is_multiple_of(2) {
        let memory = load(memory, megabytes)?;
        (memory, load(wal, megabytes)?)
    } else {
        let wal = load(wal, megabytes)?;
        (load(memory, megabytes)?, wal)
    };
    let row = format!("a load of {megabytes} MB");
    let looks = ["standby, memory: the row is visible", "standby, wal: the row is visible"];
    let controls = memory.controls()?;
    for (side, control) in ["primary, memory", looks[0]].into_iter().zip(&controls) {
        control.add_to(chapter, &row, side, &AFTER);
    }
    let mut add = |side: &str, delays: &Delays, control: &Delays| {
        delays.add_to(chapter, &row, side, &AFTER);
        chapter.add(&row, side, ABOVE, delays.percent(99) - control.percent(99));
    };
    add(looks[1], &wal.controls()?[1], &controls[1]);
    for ((side, delays), control) in wal.turn.delays().zip(&controls) {
        add(side, &delays, control);
    }
    wal.turn.over_replay(&wal.visible)?.add_to(chapter, &row, "standby, wal", &OVER_REPLAY);
    for (side, loaded) in [("primary, memory", &memory), ("primary, wal", &wal)] {
        chapter.add(&row, side, TAKES, loaded.takes.as_secs_f64());
        chapter.add(&row, side, LOG, loaded.log as f64 / 1e6);
    }
    Ok(())
}

/// Fills a table of so many megabytes, and publishes until that is done.
fn load(line: &mut Line, megabytes: u64) -> Result<Loaded> {
    line.tree.primary.sql("checkpoint")?;
    let looker = line.looker(LOOK_EVERY)?;
    let mut session = line.tree.primary.session()?;
    let before = line.tree.end_of_log()?;
    let is_over = AtomicBool::new(false);
    let (turn, takes) = thread::scope(|scope| {
        let filling = scope.spawn(|| {
            let takes = fill(&mut session, megabytes);
            is_over.store(true, Relaxed);
            takes
        });
        let turn = line.publish(PAUSE, Some(&looker), |sent| !is_over.load(Relaxed) || sent < LEAST);
        let takes = filling.join().unwrap_or_else(|_| bail!("the load panicked"));
        anyhow::Ok((turn?, takes?))
    })?;
    let log = line.tree.end_of_log()? - before;
    let visible = looker.finish()?;
    line.tree.primary.sql("truncate bulk; checkpoint")?;
    Ok(Loaded { turn, visible, takes, log })
}

/// How long one statement takes to fill the table.
fn fill(session: &mut Session, megabytes: u64) -> Result<Duration> {
    let start = Instant::now();
    let rows = megabytes * 1_000_000 / ROW;
    session
        .send(&format!("insert into bulk select n, repeat('x', 100) from generate_series(1, {rows}) as n"))?;
    session.wait(PATIENCE)?.ok()?;
    Ok(start.elapsed())
}
