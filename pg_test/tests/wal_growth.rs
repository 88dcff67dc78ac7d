//! How the write-ahead log grows with `sse.durability = wal`, beside `memory`, and what the processes of a
//! standby hold: the figures of docs/servers.md.
//!
//! Not for how late an event is: `wal_latency.rs`.

mod common;

use anyhow::{Context, Result};
use cluster::{Cluster, PATIENCE, Session, SessionOptions, anonymous_bytes, wait_for};
use common::{SOON, announcer};

const COMMITS: u64 = 2000;

/// By how many bytes the log grows with each of these commits. The pages that they touch have been written
/// since the last checkpoint, so none is in the log as a whole.
fn growth(cluster: &Cluster, session: &mut Session, statement: &str) -> Result<f64> {
    let position = || -> Result<u64> {
        let bytes = cluster.sql("select pg_current_wal_insert_lsn() - '0/0'")?;
        bytes.parse().context(bytes)
    };
    cluster.sql("checkpoint")?;
    let mut run = |times| (0..times).try_for_each(|_| session.run(statement)?.ok().map(drop));
    run(COMMITS / 10)?;
    let before = position()?;
    run(COMMITS)?;
    Ok((position()? - before) as f64 / COMMITS as f64)
}

fn started(durability: &str) -> Result<Cluster> {
    let cluster = Cluster::builder()
        .setting("sse.durability", durability)
        .setting("autovacuum", "off")
        .setting("max_worker_processes", 16)
        .start()?;
    cluster.sql(&format!("create table t (a int); {}", announcer("f", "@sse")))?;
    cluster.http()?;
    Ok(cluster)
}

#[test]
#[ignore = "a measurement: cargo test -p pg-test --test wal_growth -- --ignored --nocapture"]
fn by_hand_bytes_of_log_for_each_event() -> Result<()> {
    let options = SessionOptions { options: "-c client_min_messages=error".to_owned(), ..Default::default() };
    let [memory, wal] = ["memory", "wal"].map(started);
    let (memory, wal) = (memory?, wal?);
    for length in [100, 1000] {
        let event = format!("select f(repeat('x', {length}))");
        for (what, statement) in [
            ("a row alone", "insert into t values (1)".to_owned()),
            ("a row and an event", format!("begin; insert into t values (1); {event}; commit")),
            ("an event alone", event),
        ] {
            let [memory, wal] = [&memory, &wal]
                .map(|cluster| growth(cluster, &mut cluster.session_with(&options)?, &statement));
            println!("{length} B, {what}: {:.0} B in memory, {:.0} B by the log", memory?, wal?);
        }
    }
    Ok(())
}

#[test]
#[ignore = "a measurement: cargo test -p pg-test --test wal_growth -- --ignored --nocapture"]
fn by_hand_memory_of_the_processes_of_a_standby() -> Result<()> {
    let primary = started("wal")?;
    let standby = primary.standby()?;
    standby.start()?;
    standby.wait_for_replay(&primary)?;
    let mut stream = standby.http()?.events("/api/f/info")?.begun()?;
    primary.sql("select f('x') from generate_series(1, 1000)")?;
    stream.next_data(1000, SOON)?;
    let of_ours =
        "select backend_type, pid from pg_stat_activity where backend_type like 'pg_sse %' order by 1";
    let found = wait_for(PATIENCE, "they run", || {
        let found = standby.sql(of_ours)?;
        Ok((found.lines().count() >= 3).then_some(found))
    })?;
    for line in found.lines() {
        let (kind, pid) = line.split_once('|').context("no process")?;
        let own = anonymous_bytes(pid.parse()?)?;
        println!("{kind}: {:.1} MB of its own", own as f64 / 1e6);
    }
    Ok(())
}
