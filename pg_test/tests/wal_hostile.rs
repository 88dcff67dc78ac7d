//! With `sse.durability = wal`: what goes wrong around the log, by mistake or on purpose, costs what it must
//! and no more (C10.1 to C10.6).
//!
//! Not for failovers (`failover.rs`).

mod common;

use std::fs;

use anyhow::{Context, Result};
use cluster::http::{Client, Event, EventStream};
use cluster::{Builder, Cluster, StopMode, wait_for, wait_until};
use common::{SOON, announcer};

const STREAM: &str = "/api/says/info";

fn builder() -> Builder {
    Cluster::builder().setting("sse.durability", "wal")
}

/// With a routine that publishes what it is given, and the id of a first event.
fn furnish(cluster: &Cluster) -> Result<String> {
    cluster.sql("create table note (n int)")?;
    cluster.sql(&announcer("says", "@sse"))?;
    let mut stream = cluster.http()?.events(STREAM)?;
    stream.ready()?;
    cluster.sql("select says('first')")?;
    Ok(stream.next_payload(SOON)?.id)
}

/// The stream behind this id, as soon as it is served.
fn behind(cluster: &Cluster, id: &str) -> Result<EventStream> {
    let http: Client = cluster.http()?;
    wait_for(SOON, "the stream is served", || Ok(http.events_after(STREAM, id).ok()))
}

fn next(stream: &mut EventStream) -> Result<Event> {
    stream.next_payload(SOON * 2).context("no event")
}

#[test]
fn what_commits_before_anybody_has_looked_at_the_database_is_told_all_the_same() -> Result<()> {
    let cluster = builder().setting("max_logical_replication_workers", 0).start()?;
    let first = furnish(&cluster)?;
    // Room for the gateway and the reader alone: nobody reads the catalog.
    cluster.configure("max_worker_processes", "2")?;
    cluster.restart(StopMode::Fast)?;
    cluster.sql("insert into note values (1); select says('early')")?;
    cluster.sql("begin; insert into note values (2); select says('early, too'); commit")?;
    assert_eq!(cluster.sql("select state from sse.stat_gateway")?, "stopped", "it was early");
    cluster.configure("max_worker_processes", "8")?;
    cluster.restart(StopMode::Fast)?;
    cluster.sql("select says('late')")?;
    let mut stream = behind(&cluster, &first)?;
    for text in ["early", "early, too", "late"] {
        assert_eq!(next(&mut stream)?.data, text);
    }
    Ok(())
}

#[test]
fn a_restart_is_no_gap_where_the_log_ended_at_the_beginning_of_a_segment() -> Result<()> {
    let cluster = builder().setting("wal_keep_size", "1GB").start()?;
    let first = furnish(&cluster)?;
    cluster.sql("select says('seen')")?;
    let file = cluster.data_dir().join("pg_sse.starts");
    // Nothing is written behind it, so the next start lies there.
    let at = cluster.sql("select pg_switch_wal(); select pg_current_wal_insert_lsn() - '0/0'")?;
    let segment = at.lines().last().context("no position")?.parse::<u64>()? >> 24;
    let is_there = || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let starts = text.lines().filter_map(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok());
        starts.map(|start| start >> 24).any(|found| found >= segment)
    };
    wait_until(SOON, "a start is found there", is_there)?;
    cluster.restart(StopMode::Immediate)?;
    let mut stream = behind(&cluster, &first)?;
    assert_eq!(next(&mut stream)?.data, "seen");
    Ok(())
}
