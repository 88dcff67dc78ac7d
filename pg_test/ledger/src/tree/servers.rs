//! A primary, a standby of it, and a cascading standby of that one, in a ring: when the primary dies, the
//! standby takes its place, and the old primary comes back as the last one.
//!
//! Not for what else is broken (`faults`), nor for what is published meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result};
use cluster::{Cluster, Install, PATIENCE, StopMode, lasting_port, wait_until};

use super::Replication;

/// `sse.jwt_secret`: the same on all servers.
const SECRET: &str = "the secret of the ledger test, 32 bytes at least";

/// What the log of a server keeps behind, in megabytes: more than a round writes. `faults` takes it away.
pub(super) const KEPT: &str = "512MB";

/// How a proxy knows the primary (docs/servers.md).
const PLACE: &str = "
    create function place_in_tree() returns text language sql stable
        as $f$ select case when pg_is_in_recovery() then 'standby' else 'primary' end $f$;
    comment on function place_in_tree() is E'HTTP GET\n@anonymous'";

pub(super) struct Node {
    pub(super) cluster: Arc<Cluster>,
    port: u16,
}

impl Node {
    /// Of its gateway, which may be away.
    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn of(cluster: Cluster) -> Result<Self> {
        let port = lasting_port()?;
        cluster.configure("sse.port", &port.to_string())?;
        Ok(Self { cluster: Arc::new(cluster), port })
    }
}

pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) replication: Replication,
    /// The primary; the next one follows it, and the one after that follows the next one.
    head: AtomicUsize,
}

impl Tree {
    pub(super) fn plant(install: &Arc<Install>, replication: Replication) -> Result<Self> {
        let primary = Cluster::builder()
            .install(Arc::clone(install))
            .setting("sse.durability", "wal")
            .setting("sse.jwt_secret", SECRET)
            .setting("sse.call_role", "ledger_calls")
            .setting("sse.trusted_proxies", "127.0.0.1")
            .setting("sse.window_size", "64MB")
            .setting("sse.max_event_size", crate::writer::MAX_EVENT)
            .setting("sse.heartbeat_interval", "1s")
            .setting("wal_log_hints", "on")
            .setting("wal_keep_size", KEPT)
            .setting("min_wal_size", "32MB")
            .setting("max_wal_size", "256MB")
            .setting("wal_retrieve_retry_interval", "100ms")
            .setting("shared_buffers", "32MB")
            .setting("max_connections", "40")
            .setting("max_worker_processes", "16")
            .prepare()?;
        let mut nodes = vec![Node::of(primary)?];
        nodes[0].cluster.start()?;
        nodes[0].cluster.sql("create extension pg_sse")?;
        // The role of calls is there before somebody calls.
        crate::schema::create(&nodes[0].cluster)?;
        nodes[0].cluster.sql(PLACE)?;
        for place in 0..2 {
            let node = Node::of(nodes[place].cluster.standby()?)?;
            node.cluster.start()?;
            nodes.push(node);
        }
        let tree = Self { nodes, replication, head: AtomicUsize::new(0) };
        if replication == Replication::Synchronous {
            for node in &tree.nodes {
                node.cluster.reconfigure("synchronous_standby_names", "*")?;
            }
        }
        tree.wait_for_replay()?;
        Ok(tree)
    }

    pub(super) fn head(&self) -> &Node {
        self.at(0)
    }

    /// The one that is so far from the primary.
    pub(super) fn at(&self, distance: usize) -> &Node {
        &self.nodes[self.number_at(distance)]
    }

    pub(super) fn number_at(&self, distance: usize) -> usize {
        (self.head.load(Relaxed) + distance) % self.nodes.len()
    }

    /// Waits until all servers have what the primary has written by now.
    pub(super) fn wait_for_replay(&self) -> Result<()> {
        (1..self.nodes.len()).try_for_each(|distance| {
            let replayed = self.at(distance).cluster.wait_for_replay(&self.head().cluster);
            replayed.with_context(|| format!("server {}", self.number_at(distance)))
        })
    }

    /// The primary is killed, its standby takes its place, and it comes back as the last of the chain. `died`
    /// is called as soon as nothing of it lives.
    pub(super) fn fail_over(&self, meanwhile: impl FnOnce(), died: impl FnOnce()) -> Result<()> {
        let [old, new, last] = [0, 1, 2].map(|distance| self.at(distance));
        wait_until(PATIENCE, "the new one can be asked", || new.cluster.sql("select 1").is_ok())?;
        if self.replication == Replication::Asynchronous {
            // Some of what the old one tells is then not on the new one.
            new.cluster.follow_nobody()?;
        }
        meanwhile();
        old.cluster.kill_postmaster()?;
        died();
        new.cluster.promote()?;
        self.head.fetch_add(1, Relaxed);
        old.cluster.rewind_to(&new.cluster).context("pg_rewind")?;
        old.cluster.configure("sse.port", &old.port.to_string())?;
        old.cluster.follow(&last.cluster)?;
        old.cluster.start()
    }

    /// Ends a server, one way or the other, and starts it again.
    pub(super) fn restart(&self, distance: usize, mode: Option<StopMode>) -> Result<()> {
        let cluster = &self.at(distance).cluster;
        match mode {
            Some(mode) => cluster.restart(mode),
            None => {
                cluster.kill_postmaster()?;
                cluster.start()
            }
        }
    }

    /// Where the log of the primary ends now.
    pub(super) fn end_of_log(&self) -> Result<u64> {
        lsn(&self.head().cluster.sql("select pg_current_wal_insert_lsn()")?)
    }

    /// The timelines that have ended, each with its last position; of those the primary has taken over.
    pub(super) fn ended_timelines(&self) -> Result<Vec<(u32, u64)>> {
        let file = "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) || '.history'";
        let file = format!("select pg_read_file('pg_wal/' || {file}, 0, 1000000, true)");
        let text = self.head().cluster.sql(&file)?;
        let span = |line: &str| -> Result<(u32, u64)> {
            let mut words = line.split_whitespace();
            let mut next = || words.next().with_context(|| format!("a line of the history: {line:?}"));
            Ok((next()?.parse()?, lsn(next()?)?))
        };
        text.lines().filter(|line| !line.trim().is_empty()).map(span).collect()
    }
}

/// `16/B374D848`
fn lsn(text: &str) -> Result<u64> {
    let (high, low) = text.trim().split_once('/').with_context(|| format!("{text:?} is no position"))?;
    Ok(u64::from_str_radix(high, 16)? << 32 | u64::from_str_radix(low, 16)?)
}
