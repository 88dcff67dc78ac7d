//! The way of an event waits for nothing but its transaction: whatever the gateway's main thread waits for, events go on.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::http::EventStream;
use cluster::{Cluster, Session, wait_until};
use common::{SOON, announcer, figure};

const QUIET: &str = "set client_min_messages = warning";

/// A cluster with a routine that publishes `message` as it commits, a session that can call it, and a stream of it.
fn served() -> Result<(Cluster, Session, EventStream)> {
    let cluster = Cluster::builder().start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mut session = cluster.session()?;
    session.run(QUIET)?.ok()?;
    let stream = cluster.http()?.events("/api/f/info")?;
    Ok((cluster, session, stream))
}

/// Asks for a fault that only a build with assertions has (`src/worker/gateway/fault.rs`), and waits until it is on its way.
fn provoke(cluster: &Cluster, fault: &str) -> Result<()> {
    let file = cluster.data_dir().join(fault);
    fs::write(&file, "")?;
    cluster.reload()?;
    wait_until(SOON, "the fault is provoked", || !file.exists())
}

/// Sends one and waits for it; how long that took.
fn round(session: &mut Session, stream: &mut EventStream, name: &str) -> Result<Duration> {
    let start = Instant::now();
    session.run(&format!("select f('{name}')"))?.ok()?;
    let event = stream.next_payload(SOON)?;
    ensure!(event.data == name, "{event:?} for {name}");
    Ok(start.elapsed())
}

#[test]
fn events_go_on_while_the_main_thread_is_held() -> Result<()> {
    const HELD: Duration = Duration::from_millis(1_800);
    let (cluster, mut session, mut stream) = served()?;
    round(&mut session, &mut stream, "before")?;
    provoke(&cluster, "pg_sse.hold")?;
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < HELD {
        times.push(round(&mut session, &mut stream, &times.len().to_string())?);
    }
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    // Held up by the main thread, there would be a single one, of nearly two seconds.
    ensure!(times.len() >= 100, "{} events, {:?}", times.len(), times.last());
    ensure!(p99 < Duration::from_millis(20), "p99 {p99:?} of {}", times.len());
    Ok(())
}

#[test]
fn a_record_that_is_begun_and_not_completed_is_said_and_nothing_behind_it_is_lost() -> Result<()> {
    let (cluster, mut session, mut stream) = served()?;
    round(&mut session, &mut stream, "before")?;
    let mark = cluster.log_mark()?;
    provoke(&cluster, "pg_sse.hole")?;
    wait_until(SOON, "the record is begun", || {
        figure(&cluster, "stat_ring", "used_bytes").is_ok_and(|used| used > 0)
    })?;
    for number in 0..10 {
        session.run(&format!("select f('{number}')"))?.ok()?;
    }
    assert_eq!(figure(&cluster, "stat_ring", "stalls_total")?, 0, "said at once");
    cluster.wait_for_log(mark, "a backend has begun to hand one over and does not finish")?;
    assert_eq!(figure(&cluster, "stat_ring", "stalls_total")?, 1);
    for number in 0..10 {
        assert_eq!(stream.next_payload(SOON)?.data, number.to_string());
    }
    round(&mut session, &mut stream, "after")?;
    assert_eq!(figure(&cluster, "stat_ring", "stalls_total")?, 1);
    Ok(())
}
