//! Processor time of the processes of one server, by what they do.
//!
//! Not for processes that ended meanwhile.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::Cluster;

use crate::process;

/// What runs from the first look to the second.
pub(super) struct Meter {
    postmaster: u32,
    /// What each process is, as `pg_stat_activity` has it.
    kinds: BTreeMap<u32, String>,
    before: BTreeMap<u32, Duration>,
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) all: Duration,
    pub(super) gateway: Duration,
    /// The process `pg_sse wal reader`.
    pub(super) reader: Duration,
    /// WAL senders on a primary; what receives and replays on a standby.
    pub(super) replication: Duration,
}

impl AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.gateway += other.gateway;
        self.reader += other.reader;
        self.replication += other.replication;
    }
}

impl Meter {
    /// Looks for the first time.
    pub(super) fn start(cluster: &Cluster) -> Result<Self> {
        let processes = cluster.sql("select pid, backend_type from pg_stat_activity")?;
        let kinds = processes.lines().map(|line| -> Result<_> {
            let (pid, kind) = line.split_once('|').context("no process")?;
            Ok((pid.parse::<u32>()?, kind.to_owned()))
        });
        let kinds = kinds.collect::<Result<_>>()?;
        let postmaster = cluster.postmaster_pid()?;
        Ok(Self { postmaster, kinds, before: process::exact_times(postmaster) })
    }

    /// What was used since.
    pub(super) fn used(&self) -> Used {
        let mut used = Used::default();
        for (pid, time) in process::exact_times(self.postmaster) {
            let time = time.saturating_sub(self.before.get(&pid).copied().unwrap_or_default());
            used.all += time;
            match self.kinds.get(&pid).map(String::as_str) {
                Some("pg_sse gateway") => used.gateway += time,
                Some("pg_sse wal reader") => used.reader += time,
                Some("walsender" | "walreceiver" | "startup") => used.replication += time,
                _ => {}
            }
        }
        used
    }
}
