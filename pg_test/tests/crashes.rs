//! Whatever dies, the gateway comes back, and a subscriber that comes back is told what it may have missed
//! (C1.2, C6.4, C6.7).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::http::{EventStream, StreamError};
use cluster::{Cluster, wait_for, wait_until};
use common::{Corner, SOON, announcer, gap_reason, gateway_pid};

/// The gateway listens again, perhaps on another port.
fn stream_again(cluster: &Cluster, old_pid: u32) -> Result<EventStream> {
    wait_until(SOON, "there is another gateway", || gateway_pid(cluster).is_ok_and(|pid| pid != old_pid))?;
    wait_for(SOON, "it serves", || Ok(cluster.http().and_then(|http| http.events("/api/f/info")).ok()))
}

fn served() -> Result<(Cluster, EventStream, u32)> {
    let cluster = Cluster::builder().start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let stream = cluster.http()?.events("/api/f/info")?;
    let pid = gateway_pid(&cluster)?;
    Ok((cluster, stream, pid))
}

fn publishes(cluster: &Cluster, stream: &mut EventStream) -> Result<()> {
    cluster.sql("select f('x')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "x");
    Ok(())
}

#[test]
fn a_terminated_gateway_comes_back_with_exit_code_1_and_has_ended_its_streams() -> Result<()> {
    let (cluster, mut stream, pid) = served()?;
    let mark = cluster.log_mark()?;
    assert_eq!(cluster.sql(&format!("select pg_terminate_backend({pid})"))?, "t");
    stream.wait_for_end(SOON)?;
    let mut stream = stream_again(&cluster, pid)?;
    publishes(&cluster, &mut stream)?;
    let line = cluster.wait_for_log(mark, &format!("(PID {pid}) exited with exit code"))?;
    ensure!(line.contains("exit code 1"), "{line}");
    Ok(())
}

/// Terminates the gateway, and returns once it is away. The postmaster starts it again after a second.
fn send_away(cluster: &Cluster) -> Result<()> {
    cluster.sql(&format!("select pg_terminate_backend({})", gateway_pid(cluster)?))?;
    let gone = "select state = 'stopped' from sse.stat_gateway";
    cluster.comes_to(SOON, "the gateway is away", gone, "t")
}

// Attack, or bad luck: sessions that know the old comment must not ignore a change that narrows or ends
// publishing just then.
#[test]
fn a_comment_that_is_changed_while_the_gateway_is_away_is_known_to_every_session() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "away")?;
    corner.announcer("f", "@sse")?;
    corner.announcer("g", "@sse")?;
    let mut knows = corner.session()?;
    knows.run("select f('known')")?.ok()?;
    let mut other = corner.session()?;
    send_away(&cluster)?;
    let reply = other.run("comment on function f(text) is null; select state from sse.stat_gateway")?.ok()?;
    assert_eq!(reply.value(), Some("stopped"), "the gateway was back too early for this test");
    let mut stream = wait_for(SOON, "it serves", || {
        Ok(cluster.http().and_then(|http| http.events("/api/away/g/info")).ok())
    })?;
    knows.run("select f('not any more'); select g('end')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "end");
    Ok(())
}

#[test]
fn a_mistake_is_said_while_the_gateway_is_away() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql(&announcer("f", ""))?;
    let mut session = cluster.session()?;
    send_away(&cluster)?;
    let reply = session
        .run("comment on function f(text) is E'@sse\\n@authorise'; select state from sse.stat_gateway")?
        .ok()?;
    assert_eq!(reply.value(), Some("stopped"), "the gateway was back too early for this test");
    assert_eq!(reply.texts("WARNING").len(), 1, "{:?}", reply.messages);
    Ok(())
}

#[test]
fn publishing_while_the_gateway_is_away_is_not_taken_for_a_database_that_is_not_served() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    send_away(&cluster)?;
    let reply =
        cluster.session()?.run("select sse.publish('x'); select state from sse.stat_gateway")?.ok()?;
    assert_eq!(
        reply.rows.last().and_then(|row| row[0].as_deref()),
        Some("stopped"),
        "back too early for this test"
    );
    ensure!(reply.messages.is_empty(), "{:?}", reply.messages);
    Ok(())
}

#[test]
fn a_cancelled_gateway_goes_on() -> Result<()> {
    let (cluster, mut stream, pid) = served()?;
    cluster.sql(&format!("select pg_cancel_backend({pid})"))?;
    publishes(&cluster, &mut stream)?;
    assert_eq!(gateway_pid(&cluster)?, pid);
    Ok(())
}

#[test]
fn a_terminated_catalog_worker_is_replaced() -> Result<()> {
    let (cluster, ..) = served()?;
    let http = cluster.http()?;
    let mut killer = cluster.session()?;
    killer.send("do $d$ declare until timestamptz := clock_timestamp() + interval '1 second'; begin loop perform pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'pg_sse catalog'; perform pg_stat_clear_snapshot(); exit when clock_timestamp() > until; end loop; end $d$")?;
    for n in 0..5 {
        cluster.sql(&announcer(&format!("f{n}"), "@sse"))?;
    }
    killer.wait(SOON)?.ok()?;
    for n in 0..5 {
        common::wait_for_status(http, &format!("/api/f{n}/info"), 200, SOON)?;
    }
    Ok(())
}

#[test]
fn after_a_killed_backend_the_gateway_serves_again() -> Result<()> {
    let (cluster, mut stream, pid) = served()?;
    let mut victim = cluster.session()?;
    let victim_pid = victim.backend_pid()?;
    let killed = Instant::now();
    cluster.kill_backend(victim_pid)?;
    match stream.wait_for_end(SOON) {
        Ok(_) | Err(StreamError::Cut) => {}
        Err(error) => return Err(error.into()),
    }
    wait_until(SOON, "the cluster takes connections", || cluster.sql("select 1").is_ok())?;
    let mut stream = stream_again(&cluster, pid)?;
    ensure!(killed.elapsed() < Duration::from_secs(8), "{:?}", killed.elapsed());
    publishes(&cluster, &mut stream)
}

#[test]
fn after_a_killed_gateway_the_gateway_serves_again() -> Result<()> {
    let (cluster, _stream, pid) = served()?;
    cluster.kill_backend(pid)?;
    wait_until(SOON, "the cluster takes connections", || cluster.sql("select 1").is_ok())?;
    let mut stream = stream_again(&cluster, pid)?;
    publishes(&cluster, &mut stream)
}

#[test]
fn the_gateway_goes_away_with_a_killed_postmaster_and_the_next_start_serves() -> Result<()> {
    let (cluster, mut stream, pid) = served()?;
    let http = cluster.http()?;
    cluster.kill_postmaster()?;
    match stream.wait_for_end(SOON) {
        Ok(_) | Err(StreamError::Cut) => {}
        Err(error) => return Err(error.into()),
    }
    ensure!(http.connect().is_err(), "something still listens");
    cluster.start()?;
    let mut stream = stream_again(&cluster, pid)?;
    publishes(&cluster, &mut stream)
}

#[test]
fn an_id_that_is_older_than_window_age_is_answered_by_a_gap() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.window_age", "1s").start()?;
    let corner = Corner::of(&cluster, "aged")?;
    corner.announcer("f", "@sse")?;
    let id = corner.stream("f/info")?.last_event_id().to_owned();
    let mut session = corner.session()?;
    session.run("select f('old')")?.ok()?;
    wait_until(SOON, "the event has left the window", || {
        // Time alone is enough, but the window is looked at when something comes.
        session.run("select f('later')").is_ok()
            && corner.http.events_after("/api/aged/f/info", &id).is_ok_and(|mut stream| {
                stream
                    .next_payload(SOON)
                    .is_ok_and(|event| gap_reason(&event).is_ok_and(|reason| reason == "expired"))
            })
    })
}
