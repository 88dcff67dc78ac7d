//! Log goes that has the events of a transaction which commits later (C10.3): whoever then begins to read has
//! not its events, and says so when it commits.
//!
//! Not for log that goes with all of a transaction in it (`wal_hostile.rs`).

mod common;

use anyhow::{Result, ensure};
use cluster::http::EventStream;
use cluster::{Cluster, wait_for, wait_until};
use common::wal::{STREAM, Standing, behind, builder, furnish, next, reader_pid, remove_log, replace};
use common::{SOON, figure, gap_reason, gateway_pid};

/// A server on which a transaction is told that waits for no standby.
fn server() -> Result<(Cluster, String)> {
    let cluster = builder().setting("synchronous_commit", "local").start()?;
    let first = furnish(&cluster)?;
    Ok((cluster, first))
}

fn publish(cluster: &Cluster, text: &str) -> Result<()> {
    cluster.sql(&format!("begin; insert into note values (3); select says('{text}'); commit")).map(drop)
}

/// A stream of who comes without an id, as soon as that is served.
fn listen(cluster: &Cluster) -> Result<EventStream> {
    let mut stream = wait_for(SOON, "it serves", || Ok(cluster.http()?.events(STREAM).ok()))?;
    stream.ready()?;
    Ok(stream)
}

/// The transaction commits, and the stream gets a gap in its place, and what comes later.
fn ends_in_a_gap(primary: &Cluster, slow: Standing, stream: &mut EventStream) -> Result<()> {
    slow.go_on(primary)?;
    publish(primary, "later")?;
    let gap = next(stream)?;
    ensure!(gap.event == "sse.gap", "{} in place of what is lost", gap.data);
    assert_eq!(gap_reason(&gap)?, "expired");
    assert_eq!(next(stream)?.data, "later");
    Ok(())
}

#[test]
fn a_commit_whose_events_have_gone_with_the_log_is_a_gap_after_the_next_reader_too() -> Result<()> {
    let (cluster, first) = server()?;
    let slow = Standing::still(&cluster, "slow")?;
    remove_log(&cluster)?;
    publish(&cluster, "quick")?;
    let mut stream = behind(&cluster, &first)?;
    assert_eq!(next(&mut stream)?.data, "quick");
    replace(&cluster, reader_pid)?;
    publish(&cluster, "quick, too")?;
    assert_eq!(next(&mut stream)?.data, "quick, too", "it holds up nobody, and is no gap yet");
    // Nor is this known by the reader that follows on that one.
    replace(&cluster, reader_pid)?;
    ends_in_a_gap(&cluster, slow, &mut stream)
}

#[test]
fn a_commit_whose_events_have_gone_with_the_log_is_a_gap_for_the_next_gateway() -> Result<()> {
    let (cluster, _) = server()?;
    let slow = Standing::still(&cluster, "slow")?;
    remove_log(&cluster)?;
    replace(&cluster, gateway_pid)?;
    let mut stream = listen(&cluster)?;
    publish(&cluster, "quick")?;
    assert_eq!(next(&mut stream)?.data, "quick");
    ends_in_a_gap(&cluster, slow, &mut stream)
}

#[test]
fn a_commit_whose_events_were_in_log_that_was_passed_over_is_a_gap_of_its_own() -> Result<()> {
    let (cluster, first) = server()?;
    let mut stream = behind(&cluster, &first)?;
    let pid = reader_pid(&cluster)?;
    let frozen = cluster.freeze(pid)?;
    let slow = Standing::still(&cluster, "slow")?;
    remove_log(&cluster)?;
    cluster.sql(&format!("select pg_terminate_backend({pid})"))?;
    drop(frozen);
    // Nobody is told so before the standbys have what comes after it.
    let is_held = "select held_since is not null from sse.stat_wal";
    wait_until(SOON, "it is passed over", || cluster.sql(is_held).is_ok_and(|is_held| is_held == "t"))?;
    slow.go_on(&cluster)?;
    publish(&cluster, "later")?;
    for what in ["the log", "the commit"] {
        let gap = next(&mut stream)?;
        ensure!(gap.event == "sse.gap", "{} in place of a gap for {what}", gap.data);
        assert_eq!(gap_reason(&gap)?, "expired");
    }
    assert_eq!(next(&mut stream)?.data, "later");
    Ok(())
}

#[test]
fn a_commit_whose_events_a_new_standby_has_not_is_a_gap_there() -> Result<()> {
    let (primary, _) = server()?;
    let slow = Standing::still(&primary, "slow")?;
    let standby = primary.standby()?;
    standby.start()?;
    let mut stream = listen(&standby)?;
    publish(&primary, "quick")?;
    assert_eq!(next(&mut stream)?.data, "quick");
    ends_in_a_gap(&primary, slow, &mut stream)
}

// Ordinary transactions are in flight at any time.
#[test]
fn a_commit_without_events_is_no_gap_on_a_new_standby() -> Result<()> {
    let (primary, _) = server()?;
    let mut session = primary.session()?;
    session.run("begin; insert into note values (1)")?.ok()?;
    let standby = primary.standby()?;
    standby.start()?;
    let mut stream = listen(&standby)?;
    let marks = || figure(&primary, "stat_wal", "marks_total");
    let before = marks()?;
    publish(&primary, "quick")?;
    assert_eq!(next(&mut stream)?.data, "quick");
    // It says that nobody has events from before.
    wait_until(SOON, "a mark comes after it", || marks().is_ok_and(|now| now > before))?;
    session.run("commit")?.ok()?;
    publish(&primary, "later")?;
    assert_eq!(next(&mut stream)?.data, "later");
    Ok(())
}
