//! Those who write: sessions on whichever server is the primary, and a caller by way of the proxy. They work
//! from the beginning of a round to its end, and go on with their numbers in the next one.
//!
//! Not for what a transaction does: `crate::writer`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cluster::http::Client;
use cluster::{Clock, PATIENCE};
use fastrand::Rng;

use super::Replication;
use super::channel::Channel;
use super::servers::Tree;
use crate::caller::Caller;
use crate::history::Key;
use crate::plan::{ALICE, MARKS};
use crate::schema;
use crate::writer::{Pace, Primary, Writer, Written};

/// What sessions wait for when they commit. With a synchronous standby it has at least got it.
const SETTINGS: [&str; 4] =
    ["", "-c synchronous_commit=remote_apply", "", "-c synchronous_commit=remote_write"];

/// The same without one: for the disk, or for nothing.
const WITHOUT_STANDBY: [&str; 4] = ["", "-c synchronous_commit=local", "", "-c synchronous_commit=off"];

/// Who raises marks, and who calls.
const MARKER: u16 = SETTINGS.len() as u16;
const CALLER: u16 = MARKER + 1;

/// For how long a call waits for its answer.
const FOR_AN_ANSWER: Duration = Duration::from_secs(5);

pub(super) struct Crew {
    pace: Arc<Pace>,
    resting: Vec<Writer>,
    working: Vec<JoinHandle<Writer>>,
    caller: Option<Caller>,
    calling: Option<JoinHandle<Caller>>,
    marker: Writer,
}

impl Crew {
    pub(super) fn new(
        tree: &Arc<Tree>,
        proxy: SocketAddr,
        replication: Replication,
        clock: Clock,
        rng: &mut Rng,
    ) -> Result<Self> {
        let primary: Primary = {
            let tree = Arc::clone(tree);
            Arc::new(move || Arc::clone(&tree.head().cluster))
        };
        let settings = match replication {
            Replication::Synchronous => SETTINGS,
            Replication::Asynchronous => WITHOUT_STANDBY,
        };
        let resting = (0..)
            .zip(settings)
            .map(|(number, settings)| {
                Writer::on(number, Arc::clone(&primary), settings, clock, rng.u64(..)).also_lazily()
            })
            .collect();
        let marker = Writer::on(MARKER, primary, "", clock, rng.u64(..));
        let cluster = &tree.head().cluster;
        cluster.sql(&format!("insert into called values ({CALLER}, 0)"))?;
        let tokens = schema::tokens(cluster)?;
        let token = tokens.into_iter().find(|(person, _)| **person == ALICE).context("no token for alice")?.1;
        let client = Client::at(proxy).within(FOR_AN_ANSWER);
        let caller = Some(Caller::new(CALLER, client, token, clock, rng.u64(..)));
        let (pace, working) = (Arc::default(), Vec::new());
        Ok(Self { pace, resting, working, caller, calling: None, marker })
    }

    /// All begin to work.
    pub(super) fn start(&mut self) {
        self.pace = Arc::default();
        for writer in self.resting.drain(..) {
            let pace = Arc::clone(&self.pace);
            self.working.push(thread::spawn(move || writer.work(&pace)));
        }
        let pace = Arc::clone(&self.pace);
        self.calling = self.caller.take().map(|caller| thread::spawn(move || caller.work(&pace)));
    }

    /// All end what they are at.
    pub(super) fn rest(&mut self) -> Result<()> {
        self.pace.is_over.store(true, Relaxed);
        for writer in self.working.drain(..) {
            self.resting.push(writer.join().ok().context("a writer has panicked")?);
        }
        if let Some(calling) = self.calling.take() {
            self.caller = Some(calling.join().ok().context("the caller has panicked")?);
        }
        Ok(())
    }

    /// What they wrote since they were asked last, when none of it can still commit.
    pub(super) fn take(&mut self, tree: &Tree) -> Result<Written> {
        let cluster = &tree.head().cluster;
        let mut all = Written { attempts: Vec::new(), transactions: 0, surprise: None };
        if let Some(caller) = &mut self.caller {
            all.attempts.extend(caller.take(cluster)?);
        }
        for writer in self.resting.iter_mut().chain([&mut self.marker]) {
            let Written { attempts, transactions, surprise } = writer.take();
            all.attempts.extend(attempts);
            all.transactions += transactions;
            all.surprise = all.surprise.or(surprise);
        }
        // Whoever was given up may still wait for the standby.
        let busy = "select count(*) from pg_stat_activity where backend_type in ('client backend', 'pg_sse call worker')
                    and state <> 'idle' and pid <> pg_backend_pid()";
        cluster.comes_to(PATIENCE, "all transactions have ended", busy, "0")?;
        match &all.surprise {
            Some(surprise) => bail!("an error that nobody asked for: {surprise}"),
            None => Ok(all),
        }
    }

    /// Raises the last events of all channels, for now; the last of each is the answer.
    pub(super) fn mark(&mut self, channels: &[Channel]) -> Result<Vec<Key>> {
        self.marker.mark()?;
        let marks = self.marker.attempts().iter().rev();
        let last = |channel: &Channel| {
            let is_meant = |audience| MARKS.contains(&audience) && channel.listener.is_meant(audience);
            let last = marks.clone().find(|attempt| is_meant(attempt.audience));
            Ok(last.with_context(|| format!("no mark for {}", channel.name))?.key)
        };
        channels.iter().map(last).collect()
    }

    /// What has committed since this was asked last.
    pub(super) fn ledger(&self, tree: &Tree) -> Result<BTreeSet<(u16, u32)>> {
        let cluster = &tree.head().cluster;
        let rows = cluster.sql("select writer, number from ledger")?;
        let row = |line: &str| -> Result<(u16, u32)> {
            let (writer, number) = line.split_once('|').context("not a row of the ledger")?;
            Ok((writer.parse()?, number.parse()?))
        };
        let committed = rows.lines().map(row).collect();
        cluster.sql("truncate ledger")?;
        committed
    }
}
