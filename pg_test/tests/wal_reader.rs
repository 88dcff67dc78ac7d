//! Events through the write-ahead log, on a primary: in the order of commits, told when they can be seen and
//! not before, and the same again whoever has died meanwhile (C10.2 to C10.4, C10.6).
//!
//! Not for standbys.

mod common;

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Event, EventStream};
use cluster::{Builder, Cluster, StopMode, wait_for, wait_until};
use common::wal::{reader_pid, replace};
use common::{Corner, SOON, announcer, figure, gap_reason, gateway_pid};

const SETUP: &str = "
    create table counter (value int);
    insert into counter values (0);
    create table note (id bigint);
    create function bump() returns void language plpgsql as $f$
    declare now int;
    begin update counter set value = value + 1 returning value into now; raise info '%', now; end $f$;
    comment on function bump() is '@sse';
    create function write_down(id bigint) returns void language plpgsql as $f$
    begin insert into note values (id); raise info '%', id; end $f$;
    comment on function write_down(bigint) is '@sse';
    create procedure bumps(rounds int) language plpgsql as $f$
    begin for i in 1..rounds loop perform bump(); commit; end loop; end $f$;
    create procedure writes(of int, rounds int) language plpgsql as $f$
    begin for i in 1..rounds loop perform write_down(of * 1000000 + i); commit; end loop; end $f$;";

/// Quiet: notices are for the streams.
const QUIET: &str = "-c client_min_messages=warning";

fn builder() -> Builder {
    // Nobody but the reader of the log is to flush what sessions do not wait for.
    let builder = Cluster::builder().setting("sse.durability", "wal").setting("wal_writer_delay", "10s");
    // On a busy machine a checkpoint at once would remove what the reader has not come to.
    builder.setting("wal_keep_size", "256MB")
}

/// The cluster of the tests that leave the server as it is.
fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| builder().start().unwrap_or_else(|error| panic!("no cluster: {error:#}")))
}

fn corner(name: &str) -> Result<Corner<'static>> {
    let corner = Corner::of(shared(), name)?;
    corner.sql(SETUP)?;
    Ok(corner)
}

/// The stream of `bump` in a cluster of a test's own.
fn bumping(cluster: &Cluster) -> Result<EventStream> {
    cluster.sql(SETUP)?;
    cluster.http()?.events("/api/bump/info")?.begun()
}

/// Position and index of an id of this mode, which both rise.
fn place(event: &Event) -> Result<(u64, u32)> {
    let mut parts = event.id.strip_prefix('w').context("not of the log")?.split('-').skip(1);
    let mut next = || parts.next().with_context(|| format!("{event:?}"));
    Ok((u64::from_str_radix(next()?, 16)?, u32::from_str_radix(next()?, 16)?))
}

fn next(stream: &mut EventStream) -> Result<Event> {
    let event = stream.next_payload(SOON)?;
    ensure!(event.event != "sse.gap", "{event:?}");
    Ok(event)
}

#[test]
fn events_come_in_the_order_of_commits_and_their_ids_rise() -> Result<()> {
    const SESSIONS: i32 = 4;
    const ROUNDS: i32 = 250;
    let corner = corner("commits")?;
    let mut stream = corner.stream("bump/info")?;
    let sessions = (0..SESSIONS).map(|_| corner.session_with(QUIET)).collect::<Result<Vec<_>>>()?;
    let writers: Vec<_> = sessions
        .into_iter()
        .map(|mut session| thread::spawn(move || session.run(&format!("call bumps({ROUNDS})"))?.ok()))
        .collect();
    let mut last = (0, 0);
    for value in 1..=SESSIONS * ROUNDS {
        let event = next(&mut stream)?;
        assert_eq!(event.data, value.to_string());
        let place = place(&event)?;
        ensure!(place > last, "{place:?} behind {last:?}");
        last = place;
    }
    for writer in writers {
        writer.join().unwrap_or_else(|_| bail!("a writer has died"))?;
    }
    Ok(())
}

#[test]
fn events_of_one_transaction_have_one_position_and_come_in_their_order() -> Result<()> {
    let corner = corner("together")?;
    let mut stream = corner.stream("bump/info")?;
    corner.sql(
        "begin; select bump(), bump(); savepoint a; select bump(); rollback to a; select bump(); commit",
    )?;
    let events = [next(&mut stream)?, next(&mut stream)?, next(&mut stream)?];
    assert_eq!(events.each_ref().map(|event| event.data.as_str()), ["1", "2", "3"]);
    let places = events.iter().map(place).collect::<Result<Vec<_>>>()?;
    assert_eq!(places.iter().map(|(_, index)| *index).collect::<Vec<_>>(), [1, 2, 3]);
    ensure!(places.iter().all(|(position, _)| *position == places[0].0), "{places:?}");
    Ok(())
}

#[test]
fn whoever_is_told_of_a_commit_sees_what_it_has_changed() -> Result<()> {
    const SESSIONS: i64 = 3;
    const ROUNDS: i64 = 500;
    let corner = corner("visible")?;
    let mut stream = corner.stream("write-down/info")?;
    let mut looks = corner.session_with(QUIET)?;
    let sessions = (1..=SESSIONS).map(|_| corner.session_with(QUIET)).collect::<Result<Vec<_>>>()?;
    let writers: Vec<_> = (1..)
        .zip(sessions)
        .map(|(number, mut session)| {
            thread::spawn(move || session.run(&format!("call writes({number}, {ROUNDS})"))?.ok())
        })
        .collect();
    for _ in 0..SESSIONS * ROUNDS {
        let id = next(&mut stream)?.data;
        let seen = looks.run(&format!("select count(*) from note where id = {id}"))?.ok()?;
        assert_eq!(seen.value(), Some("1"), "{id} was told before it could be seen");
    }
    for writer in writers {
        writer.join().unwrap_or_else(|_| bail!("a writer has died"))?;
    }
    Ok(())
}

#[test]
fn what_nobody_waits_for_on_disk_is_told_soon() -> Result<()> {
    let corner = corner("lazy")?;
    corner.announcer("says", "@sse")?;
    corner.announcer("at_once", "@sse\n@sse_delivery immediate")?;
    let mut stream = corner.stream("bump/info")?;
    let mut session = corner.session_with(QUIET)?;
    for (statement, data) in [
        ("set synchronous_commit = off; select bump()", "1"),
        ("select says('changes nothing')", "changes nothing"),
        ("begin; select at_once('waits for no commit'); select pg_sleep(0); rollback", "waits for no commit"),
    ] {
        session.run(statement)?.ok()?;
        // The walwriter sleeps for ten seconds.
        let event = stream.next_payload(Duration::from_secs(4)).with_context(|| statement.to_owned())?;
        assert_eq!(event.data, data);
    }
    Ok(())
}

#[test]
fn what_rolls_back_is_not_told() -> Result<()> {
    let corner = corner("back")?;
    let mut stream = corner.stream("bump/info")?;
    let mut session = corner.session_with(QUIET)?;
    session.run("begin; select bump(); rollback")?.ok()?;
    ensure!(session.run("begin; select bump(); select 1/0; commit")?.error().is_some());
    session.run("rollback; update counter set value = 7; select bump()")?.ok()?;
    assert_eq!(next(&mut stream)?.data, "8");
    Ok(())
}

#[test]
fn nothing_is_lost_beside_a_bulk_load_a_checkpoint_and_a_switch_of_segments() -> Result<()> {
    let corner = corner("bulk")?;
    let mut stream = corner.stream("bump/info")?;
    let mut bulk = corner.session_with(QUIET)?;
    bulk.send(
        "create table load as select i, repeat(md5(i::text), 5) from generate_series(1, 200000) i;
         checkpoint; update load set i = i + 1 where i % 3 = 0",
    )?;
    let mut session = corner.session_with(QUIET)?;
    for round in 1..=60 {
        session.run("select bump()")?.ok()?;
        if round % 20 == 0 {
            session.run("select pg_switch_wal()")?.ok()?;
        }
        assert_eq!(next(&mut stream)?.data, round.to_string());
    }
    bulk.wait(SOON * 6)?.ok()?;
    // Over a segment, in parts of a record each.
    session.run("begin; select bump(); select sse.publish(repeat('x', 60000)) from generate_series(1, 300); commit")?.ok()?;
    assert_eq!(next(&mut stream)?.data, "61");
    for _ in 0..300 {
        assert_eq!(next(&mut stream)?.data.len(), 60000);
    }
    Ok(())
}

#[test]
fn a_commit_that_nobody_can_see_yet_holds_up_all_behind_it_and_says_so() -> Result<()> {
    // In force from the beginning: it takes a moment until sessions wait after a reload.
    let alone =
        builder().setting("synchronous_commit", "local").setting("synchronous_standby_names", "nobody");
    let cluster = alone.start()?;
    let mut stream = bumping(&cluster)?;
    cluster.sql(&announcer("says", "@sse"))?;
    let mut waiting = cluster.session()?;
    let pid = waiting.backend_pid()?;
    waiting.send("begin; set local synchronous_commit = on; select bump(); commit")?;
    let waits = format!("select wait_event = 'SyncRep' from pg_stat_activity where pid = {pid}");
    cluster.comes_to(SOON, "it waits for the standby", &waits, "t")?;
    cluster.sql("insert into note values (1); select write_down(2)")?;
    assert_eq!(cluster.sql("select count(*) from note")?, "2", "it has committed, and can be seen");
    let held = format!("select held_by = {pid} and held_since < now() from sse.stat_wal");
    cluster.comes_to(SOON, "it is shown who holds up the others", &held, "t")?;
    ensure!(stream.next(Duration::from_millis(500)).is_err(), "something overtakes");
    cluster.reconfigure("synchronous_standby_names", "")?;
    assert_eq!(stream.next_data(2, SOON)?, ["1", "2"]);
    waiting.wait(SOON)?.ok()?;
    assert_eq!(cluster.sql("select held_since is null and held_by is null from sse.stat_wal")?, "t");
    // What nobody waits for but this (C10.4).
    cluster.reconfigure("synchronous_standby_names", "nobody")?;
    let is_set = "select current_setting('synchronous_standby_names') = 'nobody'";
    cluster.comes_to(SOON, "the setting is in force", is_set, "t")?;
    let held = "select held_by is null and held_since < now() from sse.stat_wal";
    // The reader may take the setting a moment after others.
    wait_until(SOON, "it is held", || {
        cluster.sql("set synchronous_commit = on; select says('lazy')").is_ok()
            && cluster.sql(held).is_ok_and(|held| held == "t")
    })?;
    cluster.reconfigure("synchronous_standby_names", "")?;
    assert_eq!(next(&mut stream)?.data, "lazy");
    Ok(())
}

/// Everything that a stream has from its beginning on, which is behind the first event.
fn again(cluster: &Cluster, first: &Event, count: usize) -> Result<Vec<Event>> {
    let mut stream =
        wait_for(SOON, "it serves", || Ok(cluster.http()?.events_after("/api/bump/info", &first.id).ok()))?;
    (1..count).map(|_| next(&mut stream)).collect()
}

#[test]
fn whatever_dies_the_same_events_come_again_with_the_same_ids_and_without_a_gap() -> Result<()> {
    let cluster = builder().start()?;
    let mut stream = bumping(&cluster)?;
    let mut told = Vec::new();
    type End = fn(&Cluster) -> Result<()>;
    let ends: [(&str, End); 6] = [
        ("restart", |cluster| cluster.restart(StopMode::Fast)),
        ("kill of the postmaster", |cluster| {
            cluster.kill_postmaster()?;
            cluster.start()
        }),
        ("kill of the reader", |cluster| {
            let pid = reader_pid(cluster)?;
            cluster.kill_backend(pid)?;
            wait_until(SOON, "there is another", || reader_pid(cluster).is_ok_and(|other| other != pid))
        }),
        ("end of the reader alone", |cluster| replace(cluster, reader_pid)),
        ("end of the gateway alone", |cluster| replace(cluster, gateway_pid)),
        ("immediate stop", |cluster| cluster.restart(StopMode::Immediate)),
    ];
    for (what, end) in ends {
        for _ in 0..20 {
            cluster.sql("select bump()")?;
            told.push(next(&mut stream).with_context(|| format!("before the {what}"))?);
        }
        end(&cluster).context(what)?;
        let first = told.first().context("nothing was told")?;
        let found = again(&cluster, first, told.len()).with_context(|| format!("after the {what}"))?;
        assert_eq!(found, told[1..], "after the {what}");
        let last = told.last().context("nothing was told")?.id.clone();
        stream =
            wait_for(SOON, "it serves", || Ok(cluster.http()?.events_after("/api/bump/info", &last).ok()))?;
    }
    assert_eq!(cluster.sql("select unreadable_total from sse.stat_wal")?, "0");
    Ok(())
}

#[test]
fn a_transaction_that_was_open_when_the_server_was_killed_is_not_told_and_hinders_nobody() -> Result<()> {
    let cluster = builder().start()?;
    let mut stream = bumping(&cluster)?;
    cluster.sql("select bump()")?;
    let first = next(&mut stream)?;
    let mut open = cluster.session()?;
    open.run("begin; insert into note values (1); select write_down(2)")?.ok()?;
    cluster.sql("checkpoint")?;
    cluster.kill_postmaster()?;
    cluster.start()?;
    again(&cluster, &first, 1)?;
    cluster.sql("select bump()")?;
    let events = again(&cluster, &first, 2)?;
    assert_eq!(events.iter().map(|event| event.data.as_str()).collect::<Vec<_>>(), ["2"]);
    Ok(())
}

#[test]
fn log_that_has_gone_before_it_was_read_is_a_gap_and_the_rest_is_told() -> Result<()> {
    let builder = builder().setting("max_wal_size", "32MB").setting("min_wal_size", "32MB");
    let cluster = builder.setting("wal_keep_size", "0").start()?;
    let mut stream = bumping(&cluster)?;
    cluster.sql("select bump()")?;
    assert_eq!(next(&mut stream)?.data, "1");
    let frozen = cluster.freeze(reader_pid(&cluster)?)?;
    cluster.sql("select bump()")?;
    for _ in 0..6 {
        cluster.sql("create table t (); drop table t; select pg_switch_wal()")?;
        cluster.sql("checkpoint")?;
    }
    drop(frozen);
    let gap = stream.next_payload(SOON * 2)?;
    assert_eq!(gap_reason(&gap)?, "expired");
    cluster.sql("select bump()")?;
    assert_eq!(next(&mut stream)?.data, "3");
    ensure!(cluster.log()?.contains("is not read"), "the log says why");
    Ok(())
}

#[test]
fn a_message_that_anybody_may_write_is_no_event() -> Result<()> {
    let corner = corner("forged")?;
    let mut stream = corner.stream("bump/info")?;
    let before = figure(corner.cluster, "stat_wal", "foreign_total")?;
    corner.sql("select pg_logical_emit_message(true, 'pg_sse', 'x'); select pg_logical_emit_message(false, 'pg_sse', 'x')")?;
    corner.sql("select bump()")?;
    assert_eq!(next(&mut stream)?.data, "1");
    assert_eq!(figure(corner.cluster, "stat_wal", "foreign_total")?, before + 2);
    Ok(())
}

#[test]
fn the_view_says_how_far_the_reader_is() -> Result<()> {
    let corner = corner("figures")?;
    let mut stream = corner.stream("bump/info")?;
    corner.sql("select bump()")?;
    next(&mut stream)?;
    let row = "select pid is not null, timeline, behind_bytes >= 0, caught_up, begin_position <= position,
        position <= end_position, retained_bytes > 0, events_total > 0, marks_total > 0, unreadable_total from sse.stat_wal";
    corner
        .cluster
        .comes_to(SOON, "it is all there", row, "t|1|t|t|t|t|t|t|t|0")
        .with_context(|| corner.cluster.sql(row).unwrap_or_default())?;
    let without = Cluster::builder().start()?;
    assert_eq!(without.sql("select count(*) from sse.stat_wal")?, "0");
    Ok(())
}

#[test]
fn an_idle_server_writes_no_marks() -> Result<()> {
    let cluster = builder().start()?;
    let mut stream = bumping(&cluster)?;
    cluster.sql("select bump()")?;
    next(&mut stream)?;
    let marks = || figure(&cluster, "stat_wal", "marks_total");
    // One of the start, and one of the event.
    wait_until(SOON, "a mark is written", || marks().is_ok_and(|marks| marks >= 2))?;
    let quiet = Instant::now();
    let written = marks()?;
    while quiet.elapsed() < Duration::from_millis(2500) {
        ensure!(marks()? <= written + 1, "marks of nothing");
        thread::yield_now();
    }
    assert_eq!(marks()?, written, "a mark is no reason for another one");
    Ok(())
}
