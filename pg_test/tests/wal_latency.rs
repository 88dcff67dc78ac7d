//! How late an event is with `sse.durability = wal`, beside `memory`.

mod common;

use std::time::{Duration, Instant};

use anyhow::Result;
use cluster::Cluster;
use common::{SOON, announcer};

const EVENTS: usize = 1000;

/// From sending the statement to having its event: the median, and what one of a hundred exceeds. With the
/// commit of a row, or of nothing but the event.
fn latency(durability: &str, statement: &str) -> Result<(Duration, Duration)> {
    let cluster = Cluster::builder().setting("sse.durability", durability).setting("fsync", "on").start()?;
    cluster.sql(&format!("create table t (); {}", announcer("f", "@sse")))?;
    let mut stream = cluster.http()?.events("/api/f/info")?.begun()?;
    let mut session = cluster.session()?;
    let mut all = Vec::with_capacity(EVENTS);
    for _ in 0..EVENTS {
        let begun = Instant::now();
        session.send(statement)?;
        stream.next_payload(SOON)?;
        all.push(begun.elapsed());
        session.wait(SOON)?.ok()?;
    }
    all.sort();
    Ok((all[EVENTS / 2], all[EVENTS * 99 / 100]))
}

#[test]
#[ignore = "a measurement: cargo test -p pg-test --release --test wal_latency -- --ignored --nocapture"]
fn by_hand_latency_beside_memory() -> Result<()> {
    for (what, statement) in [
        ("with a row", "begin; insert into t default values; select f('x'); commit"),
        ("alone", "select f('x')"),
    ] {
        for round in 1..=3 {
            let (memory, memory_99) = latency("memory", statement)?;
            let (wal, wal_99) = latency("wal", statement)?;
            let ratio = wal.as_secs_f64() / memory.as_secs_f64();
            println!(
                "{what}, round {round}: p50 {memory:?} in memory, {wal:?} by the log ({ratio:.2}); p99 {memory_99:?}, {wal_99:?}"
            );
        }
    }
    Ok(())
}
