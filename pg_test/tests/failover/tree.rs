//! A primary, a standby of it, and a cascading standby of that one, in a ring: when the primary dies, the
//! standby takes its place, and the old primary comes back as the last one.
//!
//! Not for what is published meanwhile, nor for who reads it.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Result, ensure};
use cluster::http::Client;
use cluster::{Cluster, PATIENCE, StopMode, lasting_port, wait_until};

use crate::common::dice::Dice;

/// Whether commits wait for the standby.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replication {
    Synchronous,
    Asynchronous,
}

pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    port: u16,
}

impl Node {
    /// Of its gateway, which may be away.
    pub(crate) fn http(&self) -> Client {
        self.cluster.client_at((Ipv4Addr::LOCALHOST, self.port).into())
    }

    fn of(cluster: Cluster) -> Result<Self> {
        let port = lasting_port()?;
        cluster.configure("sse.port", &port.to_string())?;
        Ok(Self { cluster, port })
    }
}

pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) replication: Replication,
    /// The primary; the next one follows it, and the one behind that follows the next one.
    head: AtomicUsize,
    /// How often a primary has died.
    pub(crate) lives: AtomicUsize,
}

impl Tree {
    pub(crate) fn plant(replication: Replication, setup: &str) -> Result<Self> {
        let primary = Cluster::builder()
            .setting("sse.durability", "wal")
            .setting("sse.window_size", "512MB")
            .setting("wal_log_hints", "on")
            .setting("wal_keep_size", "1GB")
            .setting("max_wal_size", "1GB")
            .setting("wal_retrieve_retry_interval", "100ms")
            .setting("max_connections", "40")
            .prepare()?;
        let mut nodes = vec![Node::of(primary)?];
        nodes[0].cluster.start()?;
        nodes[0].cluster.sql("create extension pg_sse")?;
        nodes[0].cluster.sql(setup)?;
        for place in 0..2 {
            let node = Node::of(nodes[place].cluster.standby()?)?;
            node.cluster.start()?;
            nodes.push(node);
        }
        let tree = Self { nodes, replication, head: AtomicUsize::new(0), lives: AtomicUsize::new(0) };
        if replication == Replication::Synchronous {
            for node in &tree.nodes {
                node.cluster.configure("synchronous_standby_names", "*")?;
                node.cluster.reload()?;
            }
        }
        tree.wait_for_replay()?;
        Ok(tree)
    }

    pub(crate) fn head(&self) -> &Node {
        self.at(0)
    }

    /// The one that is so far from the primary.
    fn at(&self, distance: usize) -> &Node {
        &self.nodes[(self.head.load(Relaxed) + distance) % self.nodes.len()]
    }

    pub(crate) fn wait_for_replay(&self) -> Result<()> {
        (1..self.nodes.len())
            .try_for_each(|distance| self.at(distance).cluster.wait_for_replay(&self.head().cluster))
    }

    /// Ends something that comes again by itself, or is started again.
    pub(crate) fn disturb(&self, dice: &mut Dice) -> Result<String> {
        let distance = dice.roll(self.nodes.len());
        let cluster = &self.at(distance).cluster;
        let what = match dice.roll(6) {
            0 if distance > 0 => {
                cluster.restart(StopMode::Fast)?;
                "restart"
            }
            1 if distance > 0 => {
                cluster.restart(StopMode::Immediate)?;
                "immediate restart"
            }
            2 => {
                cluster.kill_postmaster()?;
                cluster.start()?;
                "kill of the postmaster"
            }
            3 => {
                kill(cluster, "pg_sse wal reader")?;
                "kill of the reader of the log"
            }
            4 => {
                let end = "select pg_terminate_backend(pid) from pg_stat_activity
                    where backend_type = 'pg_sse wal reader'";
                let _ = cluster.sql(end);
                "end of the reader of the log"
            }
            _ => {
                kill(cluster, "walreceiver")?;
                "kill of the receiver"
            }
        };
        if distance == 0 && !what.starts_with("end") {
            self.lives.fetch_add(1, Relaxed);
        }
        Ok(format!("{what} at distance {distance}"))
    }

    /// The primary is killed, its standby takes its place, and it comes back behind all others.
    pub(crate) fn fail_over(&self, meanwhile: impl FnOnce()) -> Result<()> {
        let [old, new, last] = [0, 1, 2].map(|distance| self.at(distance));
        wait_until(PATIENCE, "the new one can be asked", || new.cluster.sql("select 1").is_ok())?;
        if self.replication == Replication::Asynchronous {
            // Some of what the old one tells is then not on the new one.
            new.cluster.follow_nobody()?;
        }
        meanwhile();
        old.cluster.kill_postmaster()?;
        self.lives.fetch_add(1, Relaxed);
        new.cluster.promote()?;
        self.head.fetch_add(1, Relaxed);
        old.cluster.rewind_to(&new.cluster)?;
        old.cluster.configure("sse.port", &old.port.to_string())?;
        old.cluster.follow(&last.cluster)?;
        old.cluster.start()
    }
}

fn kill(cluster: &Cluster, kind: &str) -> Result<()> {
    let sql = format!("select pid from pg_stat_activity where backend_type = '{kind}'");
    let Ok(pid) = cluster.sql(&sql) else { return Ok(()) };
    let Ok(pid) = pid.parse() else { return Ok(()) };
    let _ = cluster.kill_backend(pid);
    wait_until(PATIENCE, "the server is there again", || cluster.sql("select 1").is_ok())?;
    ensure!(cluster.is_running());
    Ok(())
}
