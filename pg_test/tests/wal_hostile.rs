//! With `sse.durability = wal`: what goes wrong around the log, by mistake or on purpose, costs what it must
//! and no more (C10.1 to C10.6).
//!
//! Not for failovers (`pg_test/ledger/src/tree`).

mod common;

use std::fs;
use std::time::Duration;

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

// A debugger, or a lock: the events of a transaction are in the log, its commit record is not.
#[test]
fn who_stands_still_before_its_commit_holds_up_nobody_and_is_told_when_it_commits() -> Result<()> {
    let cluster = builder().setting("synchronous_commit", "local").start()?;
    let first = furnish(&cluster)?;
    // Told now, and read again by the next reader of the log: what nobody would wait for then any more.
    cluster.sql("set synchronous_commit = on; select says('lazy')")?;
    assert_eq!(next(&mut behind(&cluster, &first)?)?.data, "lazy");
    cluster.configure("synchronous_standby_names", "nobody")?;
    cluster.reload()?;
    let is = |pid: u32, what: &str| {
        let sql = format!("select count(*) from pg_stat_activity where pid = {pid} and {what}");
        cluster.sql(&sql).is_ok_and(|count| count == "1")
    };
    // It has the lock of NOTIFY, which is taken between PRE_COMMIT and the commit record, and has no events.
    let (mut holder, mut slow) = (cluster.session()?, cluster.session()?);
    let (of_holder, of_slow) = (holder.backend_pid()?, slow.backend_pid()?);
    let holds = "begin; set local synchronous_commit = on; insert into note values (1); notify x; commit";
    holder.send(holds)?;
    // It takes a moment until sessions wait after a reload.
    wait_until(SOON, "it waits for the standby", || {
        let has_ended = holder.wait(Duration::from_millis(50)).is_ok();
        (!has_ended || holder.send(holds).is_ok()) && is(of_holder, "wait_event = 'SyncRep'")
    })?;
    slow.send("begin; insert into note values (2); select says('slow'); notify x; commit")?;
    wait_until(SOON, "it waits for the lock", || is(of_slow, "wait_event_type = 'Lock'"))?;
    let frozen = cluster.freeze(of_slow)?;
    let mut stream = behind(&cluster, &first)?;
    assert_eq!(next(&mut stream)?.data, "lazy");
    cluster.sql("begin; insert into note values (3); select says('quick'); commit")?;
    assert_eq!(next(&mut stream)?.data, "quick");
    let ends =
        "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'pg_sse wal reader'";
    cluster.sql(&format!("checkpoint; {ends}"))?;
    cluster.sql("begin; insert into note values (4); select says('quick, too'); commit")?;
    assert_eq!(next(&mut stream)?.data, "quick, too");
    cluster.configure("synchronous_standby_names", "")?;
    cluster.reload()?;
    holder.wait(SOON)?.ok()?;
    drop(frozen);
    slow.wait(SOON)?.ok()?;
    assert_eq!(next(&mut stream)?.data, "slow");
    Ok(())
}
