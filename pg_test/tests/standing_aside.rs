//! Dropping another database and stopping the server do not wait for pg_sse, whatever it is doing (C1.4).
//!
//! Both wait for every process of the server; dropping a database waits until each has taken in that files
//! are to be closed.
//!
//! Not for statements about the served database, nor for many streams (`lifecycle.rs`).

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};
use cluster::{Cluster, Session, StopMode, wait_for, wait_until};
use common::{SOON, figure, provoke};

/// Postgres itself takes some tenths of a second for either, and this machine may be busy.
const PROMPT: Duration = Duration::from_secs(5);

/// Drops `other`.
fn drop_other(session: &mut Session) -> Result<()> {
    let start = Instant::now();
    session.run("drop database other")?.ok()?;
    ensure!(start.elapsed() < PROMPT, "DROP DATABASE took {:?}", start.elapsed());
    Ok(())
}

fn stop(cluster: &Cluster) -> Result<()> {
    let start = Instant::now();
    let status = cluster.stop(StopMode::Fast)?;
    ensure!(status.success() && start.elapsed() < PROMPT, "{status} after {:?}", start.elapsed());
    Ok(())
}

/// Waits until there is a worker that reads the routines, and is `like` this.
fn reads(session: &mut Session, within: Duration, like: &str) -> Result<()> {
    let sql =
        format!("select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog' and {like}");
    wait_for(within, "the routines are read", || {
        Ok((session.run(&sql)?.ok()?.value() == Some("1")).then_some(()))
    })
}

#[test]
fn nobody_waits_for_the_main_thread_longer_than_it_is_held() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let mut session = cluster.session()?;
    session.run("create database other")?.ok()?;
    provoke(&cluster, "pg_sse.hold")?;
    drop_other(&mut session)?;
    provoke(&cluster, "pg_sse.hold")?;
    stop(&cluster)
}

// A file of refusals, filled by a user who may log in and out.
#[test]
fn nobody_waits_for_a_hundred_thousand_refusals_to_be_read() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql("create database other")?;
    cluster.stop(StopMode::Fast)?;
    let before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let lines: String =
        (0..100_000).map(|n| format!("{{\"user_id\":\"user number {n}\",\"before\":{before}}}\n")).collect();
    let file = cluster.data_dir().join("pg_sse.revocations");
    fs::write(&file, lines)?;
    // The server runs as somebody else than the test.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    cluster.start()?;
    drop_other(&mut cluster.session()?)?;
    stop(&cluster)?;
    cluster.start()?;
    stop(&cluster)
}

/// A cluster with a ring of this size and this many routines with comments of this many bytes.
fn with_routines(ring: &str, count: usize, bytes: usize) -> Result<Cluster> {
    let cluster = Cluster::builder().setting("sse.ring_size", ring).start()?;
    cluster.sql(&format!(
        "do $d$ begin for i in 1..{count} loop
           execute format('create function f%s(a int, b text) returns void language sql as $$$$; comment on function f%s is %L', i, i, E'@sse\n' || repeat('x', {bytes}));
         end loop; end $d$",
    ))?;
    cluster.sql("create database other")?;
    cluster.http()?;
    Ok(cluster)
}

#[test]
fn nobody_waits_for_many_routines_to_be_read() -> Result<()> {
    let cluster = with_routines("16MB", 5_000, 1_000)?;
    let mut session = cluster.session()?;
    let touch = "comment on function f1 is '@sse'; comment on function f1 is '@sse live'";
    session.run(touch)?.ok()?;
    reads(&mut session, SOON, "true")?;
    drop_other(&mut session)?;
    session.run(touch)?.ok()?;
    reads(&mut session, SOON, "true")?;
    stop(&cluster)
}

/// A record is begun that is not completed for eight seconds, and the worker that reads the routines waits
/// after it.
fn reads_behind_a_hole(cluster: &Cluster, session: &mut Session) -> Result<()> {
    let is_used = || figure(cluster, "stat_ring", "used_bytes").is_ok_and(|used| used > 0);
    for attempt in 0..5 {
        wait_until(SOON, "the ring is empty", || (0..10).all(|_| !is_used()))?;
        provoke(cluster, "pg_sse.hole")?;
        let start = Instant::now();
        wait_until(SOON, "the record is begun", is_used)?;
        session.run(&format!("comment on function f1 is '@sse live{attempt}'"))?.ok()?;
        // Not when it is too soon after the last reading.
        if reads(session, Duration::from_secs(4), "wait_event_type = 'Extension'").is_ok()
            && start.elapsed() < Duration::from_secs(5)
        {
            return Ok(());
        }
    }
    bail!("nobody reads the routines")
}

// The worker that reads the routines waits for room in the ring, because a backend was stopped in the middle
// of a record, or the gateway is busy.
#[test]
fn nobody_waits_for_the_routines_to_find_room_in_the_ring() -> Result<()> {
    let cluster = with_routines("64kB", 100, 1_000)?;
    let mut session = cluster.session()?;
    reads_behind_a_hole(&cluster, &mut session)?;
    drop_other(&mut session)?;
    ensure!(figure(&cluster, "stat_ring", "used_bytes")? > 0, "DROP DATABASE went on when there was room");
    reads_behind_a_hole(&cluster, &mut session)?;
    stop(&cluster)
}
