//! The routines on their way through the ring: how much of it they take, and how long their worker waits
//! for room.
//!
//! Not for events (`ring_full.rs`).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{Cluster, Session, wait_for, wait_until};
use common::ring::{FLOOD, small_ring};
use common::{SOON, announcer, figure, gateway_pid, provoke, wait_for_status};

/// Attack: a role with thousands of commented routines changes one of them while others publish.
#[test]
fn the_routines_take_a_quarter_of_the_ring_at_most() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.ring_size", "4MB").start()?;
    cluster.sql(
        "do $d$ begin for i in 1..200 loop
           execute format('create function f%s() returns void language sql as $$$$; comment on function f%s() is %L', i, i, E'@sse\\n' || repeat('prose ', 8000));
         end loop; end $d$",
    )?;
    let used = || figure(&cluster, "stat_ring", "used_bytes");
    let quarter = figure(&cluster, "stat_ring", "capacity_bytes")? / 4;
    let reads = "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog'";
    let gateway = gateway_pid(&cluster)?;
    wait_for(SOON, "the gateway is stopped while the routines are handed over", || {
        cluster.sql("comment on function f1() is '@sse'; comment on function f1() is '@sse live'")?;
        wait_for(SOON, "they are read", || Ok((cluster.sql(reads)? != "0").then_some(())))?;
        let frozen = cluster.freeze(gateway)?;
        let mut last = -1;
        let settled = wait_for(SOON, "the worker has pushed what it may, or has left", || {
            let (before, now) = (last, used()?);
            last = now;
            Ok((before == now && now > 0 || cluster.sql(reads)? == "0").then_some(now))
        })?;
        drop(frozen);
        ensure!(settled <= quarter, "{settled} bytes of a ring of four times {quarter}");
        // Less would prove nothing: the worker would not have been stopped by its share.
        Ok((settled > quarter / 2).then_some(()))
    })?;
    wait_for(SOON, "all routines are there", || {
        Ok((cluster.http()?.get("/api/f1/none")?.status() == 404 && used()? == 0).then_some(()))
    })
}

/// Routines that together do not fit into a ring of 64 kB, and a function that publishes.
fn with_routines() -> Result<Cluster> {
    let cluster = small_ring()?;
    cluster.sql(
        "do $d$ begin for i in 1..100 loop
           execute format('create function r%s() returns void language sql as $$$$; comment on function r%s() is %L', i, i, E'@sse\n' || repeat('x', 1000));
         end loop; end $d$",
    )?;
    cluster.sql(&announcer("f", "@sse"))?;
    wait_for_status(cluster.http()?, "/api/r100/info", 200, SOON)?;
    Ok(cluster)
}

/// From now on the worker that reads the routines waits for room this long, instead of half a minute.
fn limit_wait(cluster: &Cluster, milliseconds: u32) -> Result<()> {
    Ok(std::fs::write(cluster.data_dir().join("pg_sse.max_wait"), milliseconds.to_string())?)
}

/// The worker that reads the routines has come to wait for room, behind a record that is not completed for
/// eight seconds. Returns since when the record is there.
fn waits_for_room(cluster: &Cluster, session: &mut Session, before: &str) -> Result<Instant> {
    let is_used = || figure(cluster, "stat_ring", "used_bytes").is_ok_and(|used| used > 0);
    for attempt in 0..5 {
        wait_until(SOON, "the ring is empty", || (0..10).all(|_| !is_used()))?;
        provoke(cluster, "pg_sse.hole")?;
        let begun = Instant::now();
        wait_until(SOON, "the record is begun", is_used)?;
        session.run(before)?.ok()?;
        session.run(&format!("comment on function r1() is '@sse live{attempt}'"))?.ok()?;
        let waits = "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog' and wait_event_type = 'Extension'";
        while begun.elapsed() < Duration::from_secs(3) {
            if session.run(waits)?.ok()?.value() == Some("1") {
                return Ok(begun);
            }
        }
    }
    anyhow::bail!("nobody reads the routines")
}

const READS: &str = "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog'";
const GAVE_UP: &str = "the worker that reads the routines left before it was done";

// A second and a half stand for the half minute.
#[test]
fn the_worker_that_reads_the_routines_gives_up_when_there_is_no_room_for_so_long_and_they_are_read_later()
-> Result<()> {
    const WAIT: Duration = Duration::from_millis(1500);
    let cluster = with_routines()?;
    let mut session = cluster.session()?;
    limit_wait(&cluster, 1500)?;
    let mark = cluster.log_mark()?;
    let begun = waits_for_room(
        &cluster,
        &mut session,
        &FLOOD.replace("select f", "set client_min_messages = error; select f"),
    )?;
    let waits = Instant::now();
    wait_for(SOON, "it gives up", || Ok((session.run(READS)?.ok()?.value() == Some("0")).then_some(())))?;
    let (waited, age) = (waits.elapsed(), begun.elapsed());
    ensure!(age < Duration::from_secs(8), "too late to say what made it leave");
    // Up to two records find a place between the events, and each waits by itself.
    ensure!(waited > WAIT / 2 && waited < WAIT * 4, "{waited:?}");
    cluster.wait_for_log(mark, GAVE_UP)?;
    cluster.sql("comment on function r1() is null")?;
    wait_for_status(cluster.http()?, "/api/r1/info", 404, SOON * 3)
}

#[test]
fn the_worker_that_reads_the_routines_goes_on_when_there_is_room_within_its_time() -> Result<()> {
    let cluster = with_routines()?;
    let mut session = cluster.session()?;
    limit_wait(&cluster, 20_000)?;
    let mark = cluster.log_mark()?;
    waits_for_room(
        &cluster,
        &mut session,
        &FLOOD.replace("select f", "set client_min_messages = error; select f"),
    )?;
    wait_for(SOON * 2, "it is done", || Ok((session.run(READS)?.ok()?.value() == Some("0")).then_some(())))?;
    ensure!(!cluster.log_since(mark)?.contains(GAVE_UP), "{}", cluster.log_since(mark)?);
    Ok(())
}

// Three seconds stand for a quarter of a minute.
#[test]
fn the_routines_take_more_than_their_share_of_the_ring_after_half_of_that_time_and_not_before() -> Result<()>
{
    const PATIENCE: Duration = Duration::from_secs(3);
    let cluster = with_routines()?;
    let mut session = cluster.session()?;
    limit_wait(&cluster, 6000)?;
    let quarter = figure(&cluster, "stat_ring", "capacity_bytes")? / 4;
    let begun = waits_for_room(&cluster, &mut session, "")?;
    let waits = Instant::now();
    wait_until(SOON, "they take more", || {
        figure(&cluster, "stat_ring", "used_bytes").is_ok_and(|used| used > quarter)
    })?;
    ensure!(waits.elapsed() > PATIENCE / 2, "after {:?}", waits.elapsed());
    ensure!(begun.elapsed() < Duration::from_secs(8), "the record was completed before");
    Ok(())
}
