//! A server whose events go through the write-ahead log, and a stream of what it is told to say.
//!
//! Not for standbys (`standby.rs`).

use std::fs;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, Event, EventStream};
use cluster::{Builder, Cluster, Frozen, Session, wait_for, wait_until};

use super::{SOON, announcer};

/// The stream of `says`.
pub(crate) const STREAM: &str = "/api/says/info";

pub(crate) fn builder() -> Builder {
    Cluster::builder().setting("sse.durability", "wal")
}

/// With a routine that publishes what it is given, and the id of a first event.
pub(crate) fn furnish(cluster: &Cluster) -> Result<String> {
    cluster.sql("create table note (n int)")?;
    cluster.sql(&announcer("says", "@sse"))?;
    let mut stream = cluster.http()?.events(STREAM)?.begun()?;
    cluster.sql("select says('first')")?;
    Ok(stream.next_payload(SOON)?.id)
}

/// The stream after this id, as soon as it is served.
pub(crate) fn behind(cluster: &Cluster, id: &str) -> Result<EventStream> {
    let http: Client = cluster.http()?;
    wait_for(SOON, "the stream is served", || Ok(http.events_after(STREAM, id).ok()))
}

pub(crate) fn next(stream: &mut EventStream) -> Result<Event> {
    stream.next_payload(SOON * 2).context("no event")
}

/// The process id of the reader of the log; waits until there is one.
pub(crate) fn reader_pid(cluster: &Cluster) -> Result<u32> {
    let sql = "select pid from pg_stat_activity where backend_type = 'pg_sse wal reader'";
    wait_for(SOON, "there is a reader of the log", || {
        Ok(cluster.sql(sql).ok().and_then(|pid| pid.parse().ok()))
    })
}

/// Ends a process with this id, and waits until `pid` answers another one.
pub(crate) fn replace(cluster: &Cluster, pid: fn(&Cluster) -> Result<u32>) -> Result<()> {
    let old = pid(cluster)?;
    cluster.sql(&format!("select pg_terminate_backend({old})"))?;
    wait_until(SOON, "there is another process", || pid(cluster).is_ok_and(|new| new != old))
}

/// Begins a new segment of the log, and waits until the server knows a start in it.
pub(crate) fn switch_to_start(cluster: &Cluster) -> Result<()> {
    let file = cluster.data_dir().join("pg_sse.starts");
    // Nothing is written after it, so the next start lies there.
    let at = cluster.sql("select pg_switch_wal(); select pg_current_wal_insert_lsn() - '0/0'")?;
    let segment = at.lines().last().context("no position")?.parse::<u64>()? >> 24;
    wait_until(SOON, "a start is found there", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let starts = text.lines().filter_map(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok());
        starts.map(|start| start >> 24).any(|found| found >= segment)
    })
}

/// Has a checkpoint remove the log before the segment that is written now.
pub(crate) fn remove_log(cluster: &Cluster) -> Result<()> {
    let oldest = || cluster.sql("select min(name) from pg_ls_waldir()");
    let before = oldest()?;
    cluster.sql("select pg_switch_wal(); create table if not exists other ()")?;
    cluster.sql("checkpoint")?;
    ensure!(oldest()? != before, "the log is as it was");
    Ok(())
}

/// A transaction that stands still, as by a debugger: its events are in the log, its commit record is not.
pub(crate) struct Standing {
    /// It has the lock of NOTIFY, which is taken between the two, and has no events.
    holder: Session,
    slow: Session,
    frozen: Frozen,
}

impl Standing {
    /// One that publishes this. Until it goes on, commits that wait for synchronous standbys stand still,
    /// too.
    pub(crate) fn still(cluster: &Cluster, text: &str) -> Result<Self> {
        cluster.configure("synchronous_standby_names", "nobody")?;
        cluster.reload()?;
        let is = |pid: u32, what: &str| {
            let sql = format!("select count(*) from pg_stat_activity where pid = {pid} and {what}");
            cluster.sql(&sql).is_ok_and(|count| count == "1")
        };
        let (mut holder, mut slow) = (cluster.session()?, cluster.session()?);
        let (of_holder, of_slow) = (holder.backend_pid()?, slow.backend_pid()?);
        let holds = "begin; set local synchronous_commit = on; insert into note values (1); notify x; commit";
        holder.send(holds)?;
        // It takes a moment until sessions wait after a reload.
        wait_until(SOON, "it waits for the standby", || {
            let has_ended = holder.wait(Duration::from_millis(50)).is_ok();
            (!has_ended || holder.send(holds).is_ok()) && is(of_holder, "wait_event = 'SyncRep'")
        })?;
        slow.send(&format!("begin; insert into note values (2); select says('{text}'); notify x; commit"))?;
        wait_until(SOON, "it waits for the lock", || is(of_slow, "wait_event_type = 'Lock'"))?;
        let frozen = cluster.freeze(of_slow)?;
        Ok(Self { holder, slow, frozen })
    }

    /// It commits.
    pub(crate) fn go_on(mut self, cluster: &Cluster) -> Result<()> {
        cluster.configure("synchronous_standby_names", "")?;
        cluster.reload()?;
        self.holder.wait(SOON)?.ok()?;
        drop(self.frozen);
        self.slow.wait(SOON)?.ok()?;
        Ok(())
    }
}
