//! A full ring costs the publisher no more than its time limit, and the subscribers are told (C3.6).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::EventStream;
use cluster::{Session, wait_for};
use common::ring::{FLOOD, small_ring};
use common::{Corner, SOON, figure, freeze_gateway, gap_reason};

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
    let mut stream = corner.announced("f", "@sse")?;
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
    let mut stream = corner.announced("f", "@sse\n@sse_delivery immediate")?;
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
    cluster.comes_to(SOON, "it waits, and shows it", &waits, "t")?;
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
    let mut stream = corner.announced("f", "@sse\n@sse_delivery immediate")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    let pid = session.backend_pid()?;
    let ask = |what: &str| cluster.sql(&format!("select {what}({pid})")).map(drop);
    let dropped = || figure(&cluster, "stat_ring", "dropped_total");
    let waits = format!("select wait_event_type = 'Extension' from pg_stat_activity where pid = {pid}");
    let begin = |session: &mut Session, name: &str| -> Result<()> {
        session.send(&format!("select f('{name}' || repeat('x', 2000))"))?;
        cluster.comes_to(SOON, "it waits", &waits, "t")
            .with_context(|| {
                let shown = "select state, wait_event_type, wait_event, query, pg_blocking_pids(pid) from pg_stat_activity";
                let ring = "select * from sse.stat_ring";
                format!("{name}: {:?} {:?}", cluster.sql(shown), cluster.sql(ring))
            })
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
    assert_eq!(reply.sqlstate(), Some("57014"));
    begin(&mut session, "ended")?;
    ask("pg_terminate_backend")?;
    cluster.comes_to(
        SOON,
        "the session has ended",
        &format!("select count(*) from pg_stat_activity where pid = {pid}"),
        "0",
    )
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
    let mut stream = corner.announced("f", "@sse")?;
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
