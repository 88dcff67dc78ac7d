//! Fan-out: what one delivery costs, how long it takes, and what a stream costs that hears nothing.
//!
//! Not for many publishers or large events: growth.rs.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::crowd::Crowd;
use crate::drive::{self, Load, Turn};
use crate::ground::Ground;
use crate::process;
use crate::report::{Chapter, Metric};
use crate::scale::{Scale, Size};
use crate::side::{Installed, Side};

/// Bytes of an event's payload.
pub(crate) const EVENT: usize = 200;

/// Events on their way at once, with a backlog.
const BACKLOG: u64 = 32;

/// Streams and events a second where only the delay counts.
const CALM: (u32, u32) = (100, 100);

pub(crate) const SERVER: Metric =
    Metric { name: "server's CPU per delivery", unit: "µs", is_compared: true };
const SYSTEM: Metric = Metric { name: "with Postgres", unit: "µs", is_compared: false };
const RATE: Metric = Metric { name: "deliveries", unit: "1/s", is_compared: false };
pub(crate) const MEDIAN: Metric = Metric { name: "p50", unit: "ms", is_compared: true };
const LATE: Metric = Metric { name: "p99", unit: "ms", is_compared: false };
const LATEST: Metric = Metric { name: "max", unit: "ms", is_compared: false };
const GENERATOR: Metric = Metric { name: "generator's CPU", unit: "%", is_compared: false };
pub(crate) const MEMORY: Metric = Metric { name: "Pss per stream", unit: "kB", is_compared: false };

/// The loads by the names of their rows.
const LOADS: [(&str, Load); 2] = [("lock-step", Load::LockStep), ("backlog of 32", Load::Backlog(BACKLOG))];

/// Measures all of it: fan-out, calm latency, memory.
///
/// # Errors
/// A side of our own does not run, or anything is lost, doubled or out of order on it.
pub(crate) fn run(scale: &Scale, sides: &[Installed], skipped: &[String]) -> Result<Vec<Chapter>> {
    let title = "Fan-out: one publisher, events of 200 bytes; every event to every stream";
    let mut fanout = Chapter::new("fanout", title, Side::Floor).with_heads(["load", "server"]);
    let title = "Latency: one publisher, 100 streams, 100 events a second";
    let mut latency = Chapter::new("latency", title, Side::Floor).with_heads(["load", "server"]);
    let mut memory = Chapter::new(
        "memory",
        "Memory of a stream that hears nothing, without the kernel's socket",
        Side::PgSse,
    );
    if scale.size == Size::Full && scale.streams.last() != Some(&12_000) {
        fanout.note(format!(
            "Left out: more streams than {}, which is what the system permits.",
            scale.most_streams
        ));
    }
    skipped.iter().for_each(|why| fanout.note(format!("Left out: {why}")));
    {
        let ground = Ground::start(&[])?;
        for round in 0..scale.rounds {
            for place in 0..sides.len() {
                // None is always first.
                let side = &sides[(place + round) % sides.len()];
                for &streams in &scale.streams {
                    if side.side > Side::Broadcast && streams > scale.most_foreign_streams {
                        continue;
                    }
                    let turned = one(&ground, side, streams, scale.turn, &mut fanout);
                    judge(turned, side.side, &format!("{streams} streams"), &mut fanout)?;
                }
                let (streams, rate) = CALM;
                let calm = calm(&ground, side, streams, rate, scale.turn, &mut latency);
                judge(calm, side.side, "latency", &mut latency)?;
            }
        }
    }
    for side in sides {
        // A fresh server: what it keeps of earlier streams would be counted as nothing.
        let ground = Ground::start(&[])?;
        let idle = idle(&ground, side, scale.idle_streams, &mut memory);
        judge(idle, side.side, "idle streams", &mut memory)?;
    }
    Ok(vec![fanout, latency, memory])
}

/// A peer from elsewhere may fail, which is a result, too; one of our own may not.
fn judge(result: Result<()>, side: Side, row: &str, chapter: &mut Chapter) -> Result<()> {
    match result {
        Err(error) if side > Side::Broadcast => {
            chapter.note(format!("{side} failed, {row}: {error:#}"));
            Ok(())
        }
        other => other.with_context(|| format!("{side}, {row}")),
    }
}

/// Both loads on one side.
fn one(ground: &Ground, side: &Installed, streams: u32, turn: Duration, chapter: &mut Chapter) -> Result<()> {
    let running = side.start(ground)?;
    let crowd = Crowd::connect(running.address, &running.path, streams, 1)?;
    let mut publisher = running.publisher()?;
    for (name, load) in LOADS {
        let turn = drive::turn(&crowd, &mut publisher, running.served, load, EVENT, turn)?;
        let row = format!("{name}, {streams} streams");
        let figures = [(SERVER, turn.server_cost()), (SYSTEM, turn.system_cost()), (RATE, turn.rate())];
        for (metric, figure) in figures {
            chapter.add(&row, side.side, metric, figure);
        }
        add_delays(&turn, &row, side.side, chapter);
        chapter.add(&row, side.side, GENERATOR, turn.generator_percent());
    }
    Ok(())
}

/// Few events, so that the delay is nobody's queue.
fn calm(
    ground: &Ground,
    side: &Installed,
    streams: u32,
    rate: u32,
    turn: Duration,
    chapter: &mut Chapter,
) -> Result<()> {
    let running = side.start(ground)?;
    let crowd = Crowd::connect(running.address, &running.path, streams, 1)?;
    let mut publisher = running.publisher()?;
    let turn = drive::turn(&crowd, &mut publisher, running.served, Load::Paced(rate), EVENT, turn)?;
    add_delays(&turn, "100 events a second", side.side, chapter);
    Ok(())
}

fn add_delays(turn: &Turn, row: &str, side: Side, chapter: &mut Chapter) {
    for (metric, percent) in [(MEDIAN, 50), (LATE, 99), (LATEST, 100)] {
        chapter.add(row, side, metric, turn.delay(percent));
    }
}

/// Streams are opened, and memory is looked at until it stays as it is.
fn idle(ground: &Ground, side: &Installed, streams: u32, chapter: &mut Chapter) -> Result<()> {
    let running = side.start(ground)?;
    // The first half pays for what all share, and for what is on its way while many come at once.
    let first = Crowd::connect(running.address, &running.path, streams / 2, 1)?;
    let before = level(running.served.server)?;
    let crowd = Crowd::connect(running.address, &running.path, streams - streams / 2, 1)?;
    let after = level(running.served.server)?;
    for crowd in [&first, &crowd] {
        ensure!(crowd.tally().faults.closed == 0, "a stream was closed");
    }
    let each = (after as f64 - before as f64) / f64::from(streams - streams / 2) / 1000.0;
    chapter.add(format!("{streams} streams"), side.side, MEMORY, each);
    Ok(())
}

/// Memory of a process tree, once two looks a moment apart are equal within a hundredth.
fn level(pid: u32) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut before = process::tree_memory(pid)?;
    loop {
        thread::sleep(Duration::from_millis(200));
        let now = process::tree_memory(pid)?;
        if now.abs_diff(before) < now / 100 || Instant::now() > deadline {
            return Ok(now);
        }
        before = now;
    }
}
