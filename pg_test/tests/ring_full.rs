//! A full ring costs the publisher no more than its time limit, and the subscribers are told (C3.6).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::EventStream;
use cluster::{Cluster, Session, wait_for, wait_until};
use common::{
    Corner, SOON, announcer, figure, freeze_gateway, gap_reason, gateway_pid, provoke, wait_for_status,
};

/// More than a ring of 64 kB takes: 300 events of 1 kB.
const FLOOD: &str = "select f(repeat('x', 1000)) from generate_series(1, 300)";

fn small_ring() -> Result<Cluster> {
    Cluster::builder().setting("sse.ring_size", "64kB").start()
}

/// Reads up to the next gap, and returns its reason.
fn next_gap(stream: &mut EventStream) -> Result<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let event = stream.next_payload(deadline.saturating_duration_since(Instant::now()))?;
        if event.event == "sse.gap" {
            return gap_reason(&event);
        }
    }
}

#[test]
fn publishing_into_a_full_ring_succeeds_at_once_and_every_subscriber_is_told_before_the_next_event()
-> Result<()> {
    let cluster = small_ring()?;
    let corner = Corner::of(&cluster, "brimful")?;
    corner.announcer("f", "@sse")?;
    corner.announcer("now", "@sse\n@sse_delivery immediate")?;
    let mut streams = [corner.stream("f/info")?, corner.stream("f/info")?];
    let mut session = corner.session_with("-c client_min_messages=error")?;
    let dropped = || figure(&cluster, "stat_ring", "dropped_total");
    assert_eq!(dropped()?, 0);
    {
        let _frozen = freeze_gateway(&cluster)?;
        let started = Instant::now();
        session.run(FLOOD)?.ok()?;
        ensure!(started.elapsed() < Duration::from_secs(2), "at commit: {:?}", started.elapsed());
        let at_commit = dropped()?;
        ensure!(at_commit > 100, "{at_commit} of 300 dropped");
        let started = Instant::now();
        session.run(&FLOOD.replace("f(", "now("))?.ok()?;
        ensure!(started.elapsed() < Duration::from_secs(2), "immediately: {:?}", started.elapsed());
        assert_eq!(dropped()?, at_commit + 300);
    }
    session.run("select f('after')")?.ok()?;
    for stream in &mut streams {
        assert_eq!(next_gap(stream)?, "overflow");
        let mut last = stream.next_payload(SOON)?;
        while last.data != "after" {
            ensure!(last.event == "message", "one gap is enough: {last:?}");
            last = stream.next_payload(SOON)?;
        }
    }
    Ok(())
}

#[test]
fn the_loss_is_told_although_nothing_follows() -> Result<()> {
    let cluster = small_ring()?;
    let corner = Corner::of(&cluster, "last")?;
    corner.announcer("f", "@sse")?;
    let mut stream = corner.stream("f/info")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    {
        let _frozen = freeze_gateway(&cluster)?;
        session.run(FLOOD)?.ok()?;
    }
    assert_eq!(next_gap(&mut stream)?, "overflow");
    Ok(())
}

#[test]
fn a_publisher_waits_for_room_at_most_publish_timeout() -> Result<()> {
    let cluster = small_ring()?;
    let corner = Corner::of(&cluster, "waits")?;
    corner.announcer("f", "@sse")?;
    corner.announcer("now", "@sse\n@sse_delivery immediate")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    let _frozen = freeze_gateway(&cluster)?;
    session.run(FLOOD)?.ok()?;
    session.run("set sse.publish_timeout = '300ms'")?.ok()?;
    for routine in ["f", "now"] {
        let started = Instant::now();
        session.run(&format!("select {routine}(repeat('x', 2000))"))?.ok()?;
        let took = started.elapsed();
        ensure!(took >= Duration::from_millis(250), "{routine} waited only {took:?}");
        ensure!(took < Duration::from_secs(3), "{routine} waited {took:?}");
    }
    Ok(())
}

#[test]
fn waiting_for_room_ends_as_soon_as_there_is_room_and_nothing_is_lost() -> Result<()> {
    let cluster = small_ring()?;
    let corner = Corner::of(&cluster, "room")?;
    corner.announcer("f", "@sse\n@sse_delivery immediate")?;
    let mut stream = corner.stream("f/info")?;
    let mut session = corner.session_with("-c client_min_messages=error -c sse.publish_timeout=20s")?;
    {
        let _frozen = freeze_gateway(&cluster)?;
        session.send(FLOOD)?;
        cluster::wait_until(SOON, "the ring is full", || {
            figure(&cluster, "stat_ring", "full_total").is_ok_and(|full| full > 0)
        })?;
    }
    session.wait(SOON)?.ok()?;
    assert_eq!(stream.next_data(300, SOON)?, vec!["x".repeat(1000); 300]);
    assert_eq!(figure(&cluster, "stat_ring", "dropped_total")?, 0);
    Ok(())
}

#[test]
fn waiting_for_room_can_be_cancelled_before_the_commit() -> Result<()> {
    let cluster = small_ring()?;
    let corner = Corner::of(&cluster, "cancel")?;
    corner.announcer("f", "@sse")?;
    corner.sql("create table t (id int)")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    let frozen = freeze_gateway(&cluster)?;
    session.run(FLOOD)?.ok()?;
    session.run("set sse.publish_timeout = '60s'")?.ok()?;
    let pid = session.backend_pid()?;
    let started = Instant::now();
    // statement_timeout would not do: Postgres switches it off before it commits.
    session.send("with x as (insert into t values (1) returning id) select f(repeat('x', 2000)) from x")?;
    let waits = format!("select wait_event_type = 'Extension' from pg_stat_activity where pid = {pid}");
    cluster::wait_until(SOON, "it waits, and shows it", || {
        cluster.sql(&waits).is_ok_and(|waits| waits == "t")
    })?;
    cluster.sql(&format!("select pg_cancel_backend({pid})"))?;
    let reply = session.wait(SOON)?;
    let error = reply.error().context("the statement was not cancelled")?;
    assert_eq!(error.sqlstate.as_deref(), Some("57014"), "{error:?}");
    ensure!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(corner.sql("select count(*) from t")?, "0", "nothing was committed");
    drop(frozen);
    Ok(())
}

// Somebody drops another database, or asks what this session's memory is used for: both interrupt it, and
// neither ends what it does.
#[test]
fn an_immediate_event_waits_for_room_whatever_interrupts_it_and_only_a_cancel_or_the_end_lets_it_go()
-> Result<()> {
    let cluster = small_ring()?;
    let corner = Corner::of(&cluster, "interrupted")?;
    corner.announcer("f", "@sse\n@sse_delivery immediate")?;
    let mut stream = corner.stream("f/info")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    let pid = session.backend_pid()?;
    let ask = |what: &str| cluster.sql(&format!("select {what}({pid})")).map(drop);
    let dropped = || figure(&cluster, "stat_ring", "dropped_total");
    let waits = format!("select wait_event_type = 'Extension' from pg_stat_activity where pid = {pid}");
    let begin = |session: &mut Session, name: &str| -> Result<()> {
        session.send(&format!("select f('{name}' || repeat('x', 2000))"))?;
        cluster::wait_until(SOON, "it waits", || cluster.sql(&waits).is_ok_and(|waits| waits == "t"))
    };
    let before = {
        let _frozen = freeze_gateway(&cluster)?;
        session.run(FLOOD)?.ok()?;
        session.run("set sse.publish_timeout = '60s'")?.ok()?;
        let before = dropped()?;
        begin(&mut session, "patient")?;
        ask("pg_log_backend_memory_contexts")?;
        // It is told within milliseconds, and looks at it each millisecond.
        let asked = Instant::now();
        wait_for(SOON, "it has been interrupted", || {
            Ok((asked.elapsed() > Duration::from_millis(500)).then_some(()))
        })?;
        assert_eq!(dropped()?, before, "it did not wait");
        assert_eq!(cluster.sql(&waits)?, "t", "it does not wait any more");
        before
    };
    session.wait(SOON)?.ok()?;
    assert_eq!(dropped()?, before);
    let deadline = Instant::now() + SOON;
    while !stream.next(deadline.saturating_duration_since(Instant::now()))?.data.starts_with("patient") {}
    let _frozen = freeze_gateway(&cluster)?;
    session.run("set sse.publish_timeout = 0")?.ok()?;
    session.run(FLOOD)?.ok()?;
    session.run("set sse.publish_timeout = '60s'")?.ok()?;
    begin(&mut session, "cancelled")?;
    ask("pg_cancel_backend")?;
    let reply = session.wait(SOON)?;
    assert_eq!(reply.error().and_then(|error| error.sqlstate.as_deref()), Some("57014"));
    begin(&mut session, "ended")?;
    ask("pg_terminate_backend")?;
    cluster::wait_until(SOON, "the session has ended", || {
        cluster
            .sql(&format!("select count(*) from pg_stat_activity where pid = {pid}"))
            .is_ok_and(|n| n == "0")
    })
}

/// The bound of the ring to the byte, one below, at, and above: what fits is delivered whole, what does not
/// is not committed, and with nobody else publishing nothing is ever dropped.
#[test]
fn a_transaction_that_an_empty_ring_does_not_take_fails_before_it_commits_if_it_may_wait() -> Result<()> {
    let cluster = small_ring()?;
    let corner = Corner::of(&cluster, "larger")?;
    corner.announcer("f", "@sse")?;
    corner.sql("create table t (id int)")?;
    let mut stream = corner.stream("f/info")?;
    let mut session = corner.session_with("-c client_min_messages=error -c sse.publish_timeout=20s")?;
    let statements = |size: usize| {
        format!(
            "begin; insert into t values (1); select f(repeat('x', 1000)) from generate_series(1, 40); select f(repeat('y', {size})); commit"
        )
    };
    let mut fits = |size: usize| -> Result<bool> {
        let started = Instant::now();
        let reply = session.run(&statements(size))?;
        // What an empty ring can take finds room at once, and waiting makes no room for the rest.
        ensure!(started.elapsed() < Duration::from_secs(10), "{size}: {:?}", started.elapsed());
        let Some(error) = reply.error() else {
            let received = stream.next_data(41, SOON)?;
            ensure!(received.last().is_some_and(|last| last.len() == size), "{size}");
            return Ok(true);
        };
        assert_eq!(error.sqlstate.as_deref(), Some("54000"), "{error:?}");
        ensure!(error.text.contains("sse.ring_size"), "{error:?}");
        session.run("rollback")?;
        Ok(false)
    };
    let (mut low, mut high, mut committed) = (1000, 30_000, 1);
    ensure!(fits(low)? && !fits(high)?, "the bound is not where the ring's size is");
    while high - low > 1 {
        let middle = low.midpoint(high);
        if fits(middle)? {
            (low, committed) = (middle, committed + 1);
        } else {
            high = middle;
        }
    }
    assert_eq!(
        cluster.sql("select count(*) from larger.t")?,
        committed.to_string(),
        "what failed is not committed"
    );
    assert_eq!(figure(&cluster, "stat_ring", "dropped_total")?, 0);
    // A publisher that does not wait goes on as ever: what finds no room becomes a gap.
    let mut hasty = corner.session_with("-c client_min_messages=error")?;
    hasty.run(&statements(high))?.ok()?;
    Ok(())
}

#[test]
fn an_event_larger_than_the_ring_takes_is_refused_like_one_that_is_too_large() -> Result<()> {
    let cluster = small_ring()?;
    let corner = Corner::of(&cluster, "half")?;
    corner.announcer("f", "@sse")?;
    let mut stream = corner.stream("f/info")?;
    let mut session = corner.session()?;
    let reply = session.run("select f(repeat('x', 60000))")?.ok()?;
    assert_eq!(
        reply.texts("WARNING").len(),
        1,
        "{:?}",
        reply.messages.iter().map(|m| &m.severity).collect::<Vec<_>>()
    );
    assert_eq!(gap_reason(&stream.next_payload(SOON)?)?, "too_large");
    assert_eq!(figure(&cluster, "stat_ring", "too_large_total")?, 1);
    Ok(())
}

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
