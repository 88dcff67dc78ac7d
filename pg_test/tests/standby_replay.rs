//! Standbys that replay late, not at all, or from an archive: what they serve with `sse.durability = wal` is
//! what they have replayed, under the primary's ids (C10.2, C10.3).
//!
//! Not for what a standby does with calls and tokens: `standby.rs`.

mod common;

use std::fs;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::{Event, EventStream};
use cluster::{Cluster, PATIENCE, StopMode, lasting_port, wait_for, wait_until};
use common::wal::{reader_pid, replace};
use common::{SOON, figure};

const PATH: &str = "/api/bump/info";

const SETUP: &str = "
    create table note (n serial);
    create function bump() returns void language plpgsql as $f$ declare found int; begin
        insert into note default values returning n into found; raise info '%', found; end $f$;
    comment on function bump() is '@sse'";

/// A primary that archives its log and ends with the process; and one test at a time, because all hear what
/// each publishes.
fn primary() -> (MutexGuard<'static, ()>, &'static Cluster) {
    static TURN: Mutex<()> = Mutex::new(());
    static PRIMARY: OnceLock<Cluster> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (turn, PRIMARY.get_or_init(|| furnished().unwrap_or_else(|error| panic!("no primary: {error:#}"))))
}

fn furnished() -> Result<Cluster> {
    let primary = Cluster::builder()
        .setting("sse.durability", "wal")
        .setting("archive_mode", "on")
        .setting("wal_retrieve_retry_interval", "100ms")
        .setting("max_worker_processes", 16)
        .prepare()?;
    let archive = primary.home().join("archive");
    fs::create_dir(&archive)?;
    primary.install().account().give(&archive)?;
    primary.configure("archive_command", &format!("cp %p {}/%f", archive.display()))?;
    primary.start()?;
    primary.sql("create extension pg_sse")?;
    primary.sql(SETUP)?;
    Ok(primary)
}

/// A stream of a standby, as soon as that serves.
fn listen(standby: &Cluster) -> Result<EventStream> {
    let http = standby.http()?;
    wait_for(PATIENCE, "the standby serves it", || Ok(http.events(PATH).ok()))?.begun()
}

/// Publishes, and answers the event as the primary tells it.
fn bump(primary: &Cluster, stream: &mut EventStream) -> Result<Event> {
    primary.sql("select bump()")?;
    Ok(stream.next_payload(SOON)?)
}

#[test]
fn a_standby_whose_replay_is_paused_keeps_its_streams_and_goes_on_where_it_was() -> Result<()> {
    let (_turn, primary) = primary();
    let standby = primary.standby()?;
    standby.start()?;
    let (mut here, mut there) = (listen(primary)?, listen(&standby)?);
    let first = bump(primary, &mut here)?;
    assert_eq!(there.next_payload(PATIENCE)?, first);
    standby.sql("select pg_wal_replay_pause()")?;
    let paused = "select pg_get_wal_replay_pause_state() = 'paused'";
    standby.comes_to(PATIENCE, "it is paused", paused, "t")?;
    let second = bump(primary, &mut here)?;
    ensure!(there.next(Duration::from_millis(500)).is_err(), "it tells what it has not replayed");
    // Somebody who comes from the primary, and is ahead of this standby.
    let mut ahead = standby.http()?.events_after(PATH, &second.id)?.begun()?;
    ensure!(ahead.next(Duration::from_millis(200)).is_err(), "there is nothing behind that id");
    standby.sql("select pg_wal_replay_resume()")?;
    assert_eq!(there.next_payload(PATIENCE)?, second);
    let third = bump(primary, &mut here)?;
    assert_eq!(there.next_payload(PATIENCE)?, third);
    assert_eq!(ahead.next_payload(PATIENCE)?, third, "neither again, nor left out");
    Ok(())
}

#[test]
fn a_standby_with_an_apply_delay_tells_an_event_when_its_commit_is_replayed() -> Result<()> {
    const DELAY: Duration = Duration::from_secs(2);
    let (_turn, primary) = primary();
    let standby = primary.standby()?;
    standby.configure("recovery_min_apply_delay", &format!("{}s", DELAY.as_secs()))?;
    standby.start()?;
    let (mut here, mut there) = (listen(primary)?, listen(&standby)?);
    let begun = Instant::now();
    let event = bump(primary, &mut here)?;
    assert_eq!(there.next_payload(PATIENCE)?, event);
    // Both have one clock, and the commit was after `begun`.
    ensure!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
    Ok(())
}

#[test]
fn a_server_that_takes_no_connections_serves_nothing_until_it_is_promoted_and_then_knows_the_ids()
-> Result<()> {
    let (_turn, primary) = primary();
    let standby = primary.standby()?;
    let port = lasting_port()?;
    standby.configure("sse.port", &port.to_string())?;
    standby.configure("hot_standby", "off")?;
    // What it archives after its promotion is nothing for the others.
    standby.configure("archive_mode", "off")?;
    standby.start()?;
    let http = standby.client_at((Ipv4Addr::LOCALHOST, port).into());
    let mut here = listen(primary)?;
    // The window of a server that has no file of starts begins at the first mark in its log.
    let marks = || primary.sql("select marks_total from sse.stat_wal");
    let before = marks()?;
    wait_until(PATIENCE, "a mark is in it", || {
        bump(primary, &mut here).is_ok() && marks().is_ok_and(|now| now != before)
    })?;
    let (first, second) = (bump(primary, &mut here)?, bump(primary, &mut here)?);
    let written = primary.sql("select pg_current_wal_flush_lsn()")?;
    let sent = format!("select count(*) from pg_stat_replication where flush_lsn >= '{written}'");
    wait_until(PATIENCE, "it has the log", || primary.sql(&sent).is_ok_and(|count| count != "0"))?;
    ensure!(http.get("/healthz").is_err(), "it serves");
    let mut promote = standby.install().account().command(&standby.install().program("pg_ctl"));
    let promoted = promote.arg("promote").arg("-D").arg(standby.data_dir()).current_dir("/").output()?;
    ensure!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
    let mut stream = wait_for(PATIENCE, "it serves", || Ok(http.events_after(PATH, &first.id).ok()))?;
    assert_eq!(stream.next_payload(PATIENCE)?, second);
    Ok(())
}

#[test]
fn a_standby_that_has_an_archive_alone_tells_what_it_restores_from_there() -> Result<()> {
    let (_turn, primary) = primary();
    let mut here = listen(primary)?;
    let standby = primary.standby()?;
    let archive = primary.home().join("archive");
    standby.configure("restore_command", &format!("cp {}/%f %p", archive.display()))?;
    standby.start()?;
    let mut there = listen(&standby)?;
    let first = bump(primary, &mut here)?;
    assert_eq!(there.next_payload(PATIENCE)?, first);
    // From the next mark on it knows that it has everything.
    let knows = "select begin_position is not null from sse.stat_wal";
    standby.comes_to(PATIENCE, "a mark comes", knows, "t")?;
    standby.follow_nobody()?;
    let second = bump(primary, &mut here)?;
    // It is restored as soon as its file is whole, in place of the part of it that came by the stream.
    primary.sql("select pg_switch_wal()")?;
    assert_eq!(there.next_payload(PATIENCE)?, second);
    let mut again = standby.http()?.events_after(PATH, &first.id)?;
    assert_eq!(again.next_payload(PATIENCE)?, second);
    Ok(())
}

/// A primary of the test's own, on which nothing was published yet.
fn quiet() -> Result<Cluster> {
    let builder = Cluster::builder().setting("sse.durability", "wal").setting("max_worker_processes", 16);
    let primary = builder.setting("wal_retrieve_retry_interval", "100ms").start()?;
    primary.sql(SETUP)?;
    Ok(primary)
}

#[test]
fn a_standby_without_starts_tells_its_first_event_also_when_its_reader_was_away_meanwhile() -> Result<()> {
    let primary = quiet()?;
    let mut here = listen(&primary)?;
    // No mark is in its log before the event.
    let of_primary = primary.freeze(reader_pid(&primary)?)?;
    let standby = primary.standby()?;
    let _ = fs::remove_file(standby.data_dir().join("pg_sse.starts"));
    standby.start()?;
    let mut there = listen(&standby)?;
    let reader = reader_pid(&standby)?;
    let frozen = standby.freeze(reader)?;
    primary.sql("select bump()")?;
    let marks = || figure(&primary, "stat_wal", "marks_total");
    let before = marks()?;
    drop(of_primary);
    let first = here.next_payload(SOON)?;
    wait_until(PATIENCE, "a mark lies behind it", || marks().is_ok_and(|now| now > before))?;
    // Which is flushed with this.
    primary.sql("create table another ()")?;
    standby.wait_for_replay(&primary)?;
    standby.sql(&format!("select pg_terminate_backend({reader})"))?;
    drop(frozen);
    assert_eq!(there.next_payload(PATIENCE)?, first);
    let second = bump(&primary, &mut here)?;
    assert_eq!(there.next_payload(PATIENCE)?, second);
    Ok(())
}

// Its reader has read the log that goes, and has found nothing in it; no mark says so.
#[test]
fn log_that_goes_when_it_was_read_is_no_gap_on_a_standby_whose_reader_is_replaced() -> Result<()> {
    let primary = quiet()?;
    drop(listen(&primary)?);
    let of_primary = primary.freeze(reader_pid(&primary)?)?;
    let standby = primary.standby()?;
    let _ = fs::remove_file(standby.data_dir().join("pg_sse.starts"));
    standby.start()?;
    let mut there = listen(&standby)?;
    let oldest = || standby.sql("select min(name) from pg_ls_waldir()");
    let before = oldest()?;
    primary.sql("create table another (); select pg_switch_wal()")?;
    primary.sql("checkpoint")?;
    standby.wait_for_replay(&primary)?;
    let has_read = "select position >= pg_last_wal_replay_lsn() from sse.stat_wal";
    standby.comes_to(PATIENCE, "it is read", has_read, "t")?;
    standby.sql("checkpoint")?;
    ensure!(oldest()? != before, "the log is as it was");
    replace(&standby, reader_pid)?;
    primary.sql("select bump()")?;
    let event = there.next_payload(PATIENCE)?;
    assert_eq!((event.event.as_str(), event.data.as_str()), ("message", "1"));
    drop(of_primary);
    Ok(())
}

// The id is where the log of the primary begins. Its standby has all of the log, and has not replayed so far.
#[test]
fn who_comes_from_a_primary_before_its_first_event_goes_on_on_a_standby_that_lags() -> Result<()> {
    let primary = quiet()?;
    let standby = primary.standby()?;
    standby.start()?;
    drop(listen(&standby)?);
    standby.wait_for_replay(&primary)?;
    standby.sql("select pg_wal_replay_pause()")?;
    let paused = "select pg_get_wal_replay_pause_state() = 'paused'";
    standby.comes_to(PATIENCE, "it is paused", paused, "t")?;
    // So that its window begins with what it writes then.
    primary.sql("select pg_switch_wal()")?;
    primary.stop(StopMode::Fast)?;
    let _ = fs::remove_file(primary.data_dir().join("pg_sse.starts"));
    primary.start()?;
    // The end of the log is not on the disk.
    primary.sql("set synchronous_commit = off; create table another ()")?;
    let http = primary.http()?;
    let mut here = wait_for(PATIENCE, "it serves", || Ok(http.events(PATH).ok()))?;
    let id = here.ready()?.id;
    let position = id.split('-').nth(1).context("no position")?;
    let position = u64::from_str_radix(position, 16)?;
    let is_ahead = |server: &Cluster, end: &str| {
        server.sql(&format!("select {end} - '0/0' < {position}")).map(|is_ahead| is_ahead == "t")
    };
    ensure!(!is_ahead(&primary, "pg_current_wal_flush_lsn()")?, "{id} is not on the disk");
    ensure!(is_ahead(&standby, "pg_last_wal_replay_lsn()")?, "{id} is nothing new");
    let mut there = standby.http()?.events_after(PATH, &id)?;
    assert_eq!(there.ready()?.id, id);
    ensure!(there.next(Duration::from_millis(500)).is_err(), "there is nothing behind that id");
    standby.sql("select pg_wal_replay_resume()")?;
    let event = bump(&primary, &mut here)?;
    assert_eq!(there.next_payload(PATIENCE)?, event);
    Ok(())
}
