//! A server whose events go through the write-ahead log, and a stream of what it is told to say.
//!
//! Not for standbys (`standby.rs`).

use std::fs;

use anyhow::{Context, Result};
use cluster::http::{Client, Event, EventStream};
use cluster::{Builder, Cluster, wait_for, wait_until};

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
    let mut stream = cluster.http()?.events(STREAM)?;
    stream.ready()?;
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
