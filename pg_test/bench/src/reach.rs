//! Reach (`sse.durability = wal`): how late an event is on each server, beside replay and beside a load, what
//! it adds to the log, and what a standby costs.
//!
//! All servers are on this machine and share its processors: what is to be read off is what one of them costs
//! another, not what they can do together.

mod delays;
mod latency;
mod line;
mod load;
mod log;
mod looker;
mod meter;
mod standbys;
mod tree;

use std::time::Duration;

use anyhow::Result;
use cluster::StopMode;

use self::line::Line;
use self::tree::{Durability, Tree};
use crate::report::Chapter;
use crate::scale::{Scale, Size};

/// How much of it.
struct Extent {
    rounds: usize,
    /// A turn in which little happens.
    calm: Duration,
    /// Events that come each after a silence.
    rare: usize,
    /// Size of the table that is loaded.
    megabytes: u64,
    /// Commits whose log is measured.
    commits: usize,
    standbys: usize,
    /// Of each server.
    streams: u32,
    /// A turn of one number of standbys.
    turn: Duration,
}

impl Extent {
    fn new(scale: &Scale) -> Self {
        let mut extent = match scale.size {
            Size::Smoke => Self {
                rounds: 1,
                calm: Duration::from_millis(300),
                rare: 0,
                megabytes: 3,
                commits: 50,
                standbys: 1,
                streams: 10,
                turn: Duration::from_millis(100),
            },
            Size::Quick => Self {
                rounds: 1,
                calm: Duration::from_secs(1),
                rare: 2,
                megabytes: 100,
                commits: 500,
                standbys: 1,
                streams: 500,
                turn: Duration::from_secs(1),
            },
            Size::Full => Self {
                rounds: 3,
                calm: Duration::from_secs(6),
                rare: 8,
                megabytes: 1000,
                commits: 2000,
                standbys: 3,
                streams: 500,
                turn: Duration::from_secs(3),
            },
        };
        let servers = u32::try_from(extent.standbys + 1).unwrap_or(u32::MAX);
        extent.streams = extent.streams.min(scale.most_streams / servers);
        extent
    }
}

/// Measures all of it.
///
/// # Errors
/// A server does not start, or an event is lost, doubled or out of order.
pub(crate) fn run(scale: &Scale) -> Result<Vec<Chapter>> {
    let extent = Extent::new(scale);
    let heads = ["load", "server"];
    let title = "Reach: from before the commit of a row and an event to the reader";
    let mut latency = Chapter::new("reach", title, "").with_heads(heads);
    let title = "Reach: 100 events a second beside a load";
    let mut load = Chapter::new("reach-load", title, "").with_heads(heads);
    let title = "Reach: what an event of 200 bytes adds to the log";
    let mut log = Chapter::new("reach-log", title, "").with_heads(["a commit of", "durability"]);
    let mut standbys = Chapter::new("reach-standbys", "Reach: what a standby costs", "").with_heads(heads);
    standbys.note(format!("{} streams of each server.", extent.streams));

    let (mut memory, mut wal) = (Line::start(Durability::Memory)?, Line::start(Durability::Wal)?);
    for round in 0..extent.rounds {
        // None is always first.
        let lines = if round.is_multiple_of(2) { [&mut memory, &mut wal] } else { [&mut wal, &mut memory] };
        for line in lines {
            latency::calm(line, extent.calm, &mut latency)?;
        }
        latency::looked_for(&mut wal, extent.calm, &mut latency)?;
        load::both(&mut memory, &mut wal, round, extent.megabytes, &mut load)?;
    }
    if extent.rare > 0 {
        latency::rare(&mut wal, extent.rare, &mut latency)?;
    }
    log::measure([&memory.tree, &wal.tree], extent.commits, &mut log)?;
    drop(memory);
    let tree = with_standbys(wal.into_tree(), extent.standbys)?;
    for _ in 0..extent.rounds {
        in_growing_numbers(&tree, &extent, &mut standbys)?;
    }
    Ok(vec![latency, load, log, standbys])
}

fn with_standbys(mut tree: Tree, standbys: usize) -> Result<Tree> {
    while tree.standbys.len() < standbys {
        tree.add_standby()?;
    }
    Ok(tree)
}

/// Without standbys, with one, and so on.
fn in_growing_numbers(tree: &Tree, extent: &Extent, chapter: &mut Chapter) -> Result<()> {
    for standby in &tree.standbys {
        standby.stop(StopMode::Fast)?;
    }
    standbys::measure(tree, extent.streams, extent.turn, chapter)?;
    for standby in &tree.standbys {
        standby.start()?;
        standby.wait_for_replay(&tree.primary)?;
        standbys::measure(tree, extent.streams, extent.turn, chapter)?;
    }
    Ok(())
}
