//! What is broken between two failovers: servers are restarted and killed, processes are killed and ended,
//! and a server loses the log that it has not read yet.
//!
//! Not for failovers: `servers`.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, PATIENCE, StopMode, wait_for, wait_until};
use fastrand::Rng;

use super::servers::{KEPT, Tree};

/// The process that reads the log.
const READER: &str = "pg_sse wal reader";

/// As often a new file of the log is begun: the reader may have the first one open, and reads that to its end
/// although it is gone.
const FILES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Fast(usize),
    Immediate(usize),
    Killed(usize),
    KilledReader,
    EndedReader,
    KilledReceiver,
    LostLog,
}

/// What a fault has led to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// The primary has died.
    pub(super) has_ended_primary: bool,
    /// The log of this server is gone up to this position.
    pub(super) cut: Option<(usize, u64)>,
}

impl Fault {
    const ALL: [Self; 13] = [
        Self::Fast(0),
        Self::Fast(1),
        Self::Fast(2),
        Self::Immediate(0),
        Self::Immediate(1),
        Self::Immediate(2),
        Self::Killed(0),
        Self::Killed(1),
        Self::Killed(2),
        Self::KilledReader,
        Self::EndedReader,
        Self::KilledReceiver,
        Self::LostLog,
    ];

    pub(super) fn name(self) -> String {
        match self {
            Self::Fast(distance) => format!("restart of the {}", name_at(distance)),
            Self::Immediate(distance) => format!("immediate restart of the {}", name_at(distance)),
            Self::Killed(distance) => format!("kill -9 and start of the {}", name_at(distance)),
            Self::KilledReader => "kill -9 of a reader of the log".to_owned(),
            Self::EndedReader => "end of a reader of the log".to_owned(),
            Self::KilledReceiver => "kill -9 of a receiver of the log".to_owned(),
            Self::LostLog => "unread log removed".to_owned(),
        }
    }

    /// Faults without end: shuffled rounds, each with all of them; log is lost early in the first, so that no
    /// run goes without.
    pub(super) fn deck(rng: &mut Rng) -> Vec<Self> {
        let mut deck = Self::ALL.to_vec();
        rng.shuffle(&mut deck);
        let last = deck.len() - 1;
        if let Some(place) = deck.iter().position(|fault| *fault == Self::LostLog) {
            deck.swap(place, rng.usize(last - 1..=last));
        }
        deck
    }

    pub(super) fn carry_out(self, tree: &Tree, rng: &mut Rng) -> Result<Done> {
        let mut done = Done::default();
        match self {
            Self::Fast(distance) => tree.restart(distance, Some(StopMode::Fast))?,
            Self::Immediate(distance) => tree.restart(distance, Some(StopMode::Immediate))?,
            Self::Killed(distance) => tree.restart(distance, None)?,
            Self::KilledReader => {
                let distance = rng.usize(..3);
                kill(&tree.at(distance).cluster, READER)?;
                done.has_ended_primary = distance == 0;
            }
            Self::EndedReader => {
                let end = format!(
                    "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = '{READER}'"
                );
                tree.at(rng.usize(..3)).cluster.sql(&end)?;
            }
            Self::KilledReceiver => kill(&tree.at(rng.usize(1..3)).cluster, "walreceiver")?,
            Self::LostLog => done.cut = Some(lose_log(tree, rng)?),
        }
        if let Self::Fast(0) | Self::Immediate(0) | Self::Killed(0) = self {
            done.has_ended_primary = true;
        }
        Ok(done)
    }
}

fn name_at(distance: usize) -> &'static str {
    ["primary", "standby", "cascading standby"][distance]
}

/// Its death makes the postmaster start all again.
fn kill(cluster: &Cluster, kind: &str) -> Result<()> {
    let sql = format!("select pid from pg_stat_activity where backend_type = '{kind}'");
    let Some(pid) = cluster.sql(&sql).ok().and_then(|pid| pid.parse().ok()) else { return Ok(()) };
    let _ = cluster.kill_backend(pid);
    wait_until(PATIENCE, "the server is there again", || cluster.sql("select 1").is_ok())?;
    ensure!(cluster.is_running());
    Ok(())
}

/// A server's reader of the log is stopped for a while, and what it has not read is removed meanwhile. All
/// others have it.
fn lose_log(tree: &Tree, rng: &mut Rng) -> Result<(usize, u64)> {
    let distance = rng.usize(..3);
    let cluster = &tree.at(distance).cluster;
    let reader = format!("select pid from pg_stat_activity where backend_type = '{READER}'");
    let mut pid = None;
    wait_until(PATIENCE, "there is a reader of the log", || {
        pid = cluster.sql(&reader).ok().and_then(|pid| pid.parse().ok());
        pid.is_some()
    })?;
    let frozen = cluster.freeze(pid.context("no reader of the log")?)?;
    thread::sleep(Duration::from_millis(rng.u64(100..800)));
    cluster.reconfigure("wal_keep_size", "0")?;
    let keeps = || cluster.sql("show wal_keep_size").is_ok_and(|size| size == "0");
    wait_until(PATIENCE, "the log is not kept any more", keeps)?;
    let head = &tree.head().cluster;
    for _ in 0..FILES {
        head.sql("select pg_switch_wal()")?;
        // Nobody may need what is removed.
        tree.wait_for_replay()?;
        head.sql("checkpoint")?;
        if distance > 0 {
            tree.wait_for_replay()?;
            cluster.sql("checkpoint")?;
        }
    }
    cluster.reconfigure("wal_keep_size", KEPT)?;
    drop(frozen);
    // The first of these may have been begun before.
    wait_for_marks(head, 2, || Ok(()))?;
    Ok((tree.number_at(distance), tree.end_of_log()?))
}

/// Waits for so many marks more: a reader that finds only a part of the log has what lies after the first
/// mark in it (docs/servers.md). There are marks while something is published; `publish` is called meanwhile.
pub(super) fn wait_for_marks(
    primary: &Cluster,
    count: u64,
    mut publish: impl FnMut() -> Result<()>,
) -> Result<()> {
    let marks = || primary.sql("select marks_total from sse.stat_wal").ok()?.parse::<u64>().ok();
    let mut first = None;
    wait_for(PATIENCE, "the primary marks its log", || {
        publish()?;
        let now = marks();
        first = first.or(now);
        Ok(first.zip(now).filter(|(first, now)| *now >= first + count).map(drop))
    })
}
