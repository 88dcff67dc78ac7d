//! With `sse.durability = wal` and a synchronous standby: the primary tells nothing that this standby does
//! not have, unless its publisher asked for less (C10.4).
//!
//! Not for failovers (`pg_test/ledger/src/tree`).

mod common;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use cluster::http::EventStream;
use cluster::{Cluster, Frozen, Session, StopMode, wait_for, wait_until};
use common::wal::{STREAM, next};
use common::{SOON, announcer, freeze_gateway};

/// Something that is held does not come within this time.
const A_WHILE: Duration = Duration::from_millis(300);

struct Tree {
    primary: Cluster,
    standby: Cluster,
}

impl Tree {
    /// Sessions do not wait for the standby unless they say so.
    fn plant() -> Result<Self> {
        let builder = Cluster::builder().setting("sse.durability", "wal").setting("wal_keep_size", "256MB");
        let builder = builder.setting("sse.ring_size", "1MB");
        let builder =
            builder.setting("synchronous_standby_names", "*").setting("synchronous_commit", "local");
        // Nobody but the reader of the log is to flush what sessions do not wait for.
        let primary =
            builder.setting("wal_writer_delay", "10s").setting("max_worker_processes", 16).start()?;
        primary.sql("create table note (n int)")?;
        primary.sql(&announcer("says", "@sse"))?;
        primary.sql(&announcer("at_once", "@sse\n@sse_delivery immediate"))?;
        let standby = primary.standby()?;
        standby.start()?;
        let tree = Self { primary, standby };
        tree.wait_for_standby()?;
        Ok(tree)
    }

    fn wait_for_standby(&self) -> Result<()> {
        let sql =
            "select count(*) from pg_stat_replication where sync_state <> 'async' and state = 'streaming'";
        self.primary.comes_to(SOON * 3, "the standby is a synchronous one", sql, "1")
    }

    /// The standby gets nothing until the answer is dropped.
    fn freeze(&self) -> Result<Frozen> {
        let pid = self.standby.sql("select pid from pg_stat_wal_receiver")?;
        self.standby.freeze(pid.parse().context("no receiver")?)
    }

    /// A transaction with a row and an event, of this `synchronous_commit`.
    fn commit(&self, level: &str, text: &str) -> Result<()> {
        self.primary.sql(&commit(level, text)).map(drop)
    }
}

fn commit(level: &str, text: &str) -> String {
    format!(
        "begin; set local synchronous_commit = {level}; insert into note values (1); select says('{text}'); commit"
    )
}

fn stream(cluster: &Cluster) -> Result<EventStream> {
    wait_for(SOON, "the stream is served", || Ok(cluster.http()?.events(STREAM).ok()))?.begun()
}

/// Commits, and gives up waiting for the standby: the transaction is visible on the primary.
fn give_up(tree: &Tree, text: &str) -> Result<Session> {
    let mut waiting = tree.primary.session()?;
    let pid = waiting.backend_pid()?;
    waiting.send(&commit("on", text))?;
    let waits = format!("select wait_event = 'SyncRep' from pg_stat_activity where pid = {pid}");
    tree.primary.comes_to(SOON, "it waits for the standby", &waits, "t")?;
    tree.primary.sql(&format!("select pg_cancel_backend({pid})"))?;
    waiting.wait(SOON)?.ok()?;
    Ok(waiting)
}

#[test]
fn nothing_is_told_that_the_synchronous_standby_does_not_have_unless_its_publisher_asked_for_less()
-> Result<()> {
    let tree = Tree::plant()?;
    let mut told = stream(&tree.primary)?;
    for level in ["on", "remote_write", "remote_apply"] {
        tree.commit(level, level)?;
        assert_eq!(next(&mut told)?.data, level);
    }
    let immediately = |level: &str| {
        let sql = format!("set synchronous_commit = {level}; select at_once('at once, {level}')");
        tree.primary.sql(&sql).map(drop)
    };
    let frozen = tree.freeze()?;
    // Whoever does not wait for the standby is told before it has the event, whatever the kind of the event.
    for level in ["local", "off"] {
        tree.commit(level, level)?;
        assert_eq!(next(&mut told)?.data, level);
        tree.primary.sql(&format!("set synchronous_commit = {level}; select says('lazy, {level}')"))?;
        assert_eq!(next(&mut told)?.data, format!("lazy, {level}"));
        immediately(level)?;
        assert_eq!(next(&mut told)?.data, format!("at once, {level}"));
    }
    // Whoever waits is not, even when the wait was cancelled, and holds up those behind.
    let _gave_up = give_up(&tree, "cancelled")?;
    assert_eq!(tree.primary.sql("select count(*) > 5 from note")?, "t");
    tree.primary.sql("set synchronous_commit = on; select says('lazy')")?;
    immediately("on")?;
    tree.commit("local", "behind them")?;
    let is_held = "select held_since is not null and held_by is null from sse.stat_wal";
    tree.primary.comes_to(SOON, "it is shown that standbys are waited for", is_held, "t")?;
    if let Ok(event) = told.next(A_WHILE) {
        bail!("this was told, and may be lost: {event:?}");
    }
    drop(frozen);
    assert_eq!(told.next_data(4, SOON * 2)?, ["cancelled", "lazy", "at once, on", "behind them"]);
    Ok(())
}

#[test]
fn a_primary_that_has_lost_its_synchronous_standby_serves_and_tells_the_rest_when_that_is_back() -> Result<()>
{
    let tree = Tree::plant()?;
    // Else the window of a server that is younger than a second, or has lost log, begins after it.
    let starts = tree.primary.data_dir().join("pg_sse.starts");
    wait_until(SOON, "the reader knows where to begin", || starts.exists())?;
    let first = {
        let mut told = stream(&tree.primary)?;
        tree.commit("on", "first")?;
        next(&mut told)?.id
    };
    tree.standby.stop(StopMode::Fast)?;
    let _gave_up = give_up(&tree, "cancelled")?;
    tree.primary.restart(StopMode::Fast)?;
    // Nobody knows any more what the standby has.
    let mut told = wait_for(SOON, "the stream is served", || {
        Ok(tree.primary.http()?.events_after(STREAM, &first).ok())
    })?;
    assert_eq!(told.ready()?.id, first);
    tree.commit("local", "behind it")?;
    if let Ok(event) = told.next(A_WHILE) {
        bail!("this was told, and may be lost: {event:?}");
    }
    tree.standby.start()?;
    tree.wait_for_standby()?;
    assert_eq!(told.next_data(2, SOON * 2)?, ["cancelled", "behind it"]);
    Ok(())
}

#[test]
fn what_a_primary_has_no_room_for_goes_on_to_the_standbys() -> Result<()> {
    let tree = Tree::plant()?;
    let mut told = stream(&tree.standby)?;
    let frozen = freeze_gateway(&tree.primary)?;
    let mut session = tree.primary.session()?;
    for _ in 0..40 {
        session.run(&commit("local", &"x".repeat(60_000)))?.ok()?;
    }
    for _ in 0..40 {
        assert_eq!(next(&mut told)?.data.len(), 60_000);
    }
    session.run("select says('lazy')")?.ok()?;
    // The walwriter sleeps for ten seconds.
    let lazy = told.next_payload(Duration::from_secs(5)).context("nobody flushes")?;
    assert_eq!(lazy.data, "lazy");
    drop(frozen);
    Ok(())
}
