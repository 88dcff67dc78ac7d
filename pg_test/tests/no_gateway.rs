//! Where no gateway will come, nothing is put into the ring, and nobody waits for room in it (C1.2). Where
//! one is about to come, what is published waits for it.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{Cluster, Session, wait_until};
use common::{Corner, SOON, announcer, figure, wait_for_status};

/// Much more than a ring of 64 kB takes, each in a transaction of its own.
const FLOOD: &str =
    "select sse.publish(repeat('x', 10000), delivery => d) from unnest(array['commit', 'immediate']) d;";

fn flood(session: &mut Session) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let started = Instant::now();
    for _ in 0..20 {
        let reply = session.run(FLOOD)?.ok()?;
        warnings.extend(reply.texts("WARNING").into_iter().map(str::to_owned));
        // Each that has to wait does so for a minute.
        ensure!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
    Ok(warnings)
}

#[test]
fn a_standby_keeps_nothing_in_the_ring_waits_for_nobody_and_says_so_once_a_session() -> Result<()> {
    let primary =
        Cluster::builder().setting("sse.ring_size", "64kB").setting("sse.publish_timeout", "60s").start()?;
    primary.sql(&announcer("f", "@sse"))?;
    let (standby, port) = common::standby::of(&primary)?;
    standby.start()?;
    standby.comes_to(SOON, "the standby follows", "select sse.url('f(text)')", "/api/f/info")?;
    for _ in 0..2 {
        let mut session = standby.session()?;
        session.run("select f('of a standby')")?.ok()?;
        let warnings = flood(&mut session)?;
        assert_eq!(warnings, ["sse.publish does nothing here: this server is a standby"]);
    }
    let ring = "select used_bytes, records_total, dropped_total from sse.stat_ring";
    assert_eq!(standby.sql(ring)?, "0|0|0");
    let mut old_session = standby.session()?;
    assert_eq!(flood(&mut old_session)?.len(), 1);
    standby.sql("select pg_promote()")?;
    let http = standby.client_at(([127, 0, 0, 1], port).into());
    wait_until(SOON, "the promoted server listens", || http.connect().is_ok())?;
    wait_for_status(http, "/api/f/info", 200, SOON)?;
    let mut stream = http.events("/api/f/info")?;
    old_session.run("select sse.publish('promoted')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "promoted", "and nothing from before");
    Ok(())
}

#[test]
fn nobody_waits_for_a_gateway_that_found_no_place_among_the_workers() -> Result<()> {
    let cluster = Cluster::builder()
        .setting("max_worker_processes", 1)
        .setting("sse.ring_size", "64kB")
        .setting("sse.publish_timeout", "60s")
        .start()?;
    let mut session = cluster.session()?;
    flood(&mut session)?;
    // More than any ring of this size takes, which elsewhere fails because of its size; here nothing is put
    // into the ring.
    session.run("select sse.publish(repeat('x', 10000)) from generate_series(1, 20)")?.ok()?;
    ensure!(figure(&cluster, "stat_ring", "dropped_total")? > 0, "it is counted");
    Ok(())
}

#[test]
fn what_is_published_while_the_gateway_starts_again_waits_for_it() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.publish_timeout", "20s").start()?;
    let corner = Corner::of(&cluster, "again")?;
    corner.announcer("f", "@sse")?;
    corner.sql("select f('before')")?;
    let pid = common::gateway_pid(&cluster)?;
    let mut session = corner.session()?;
    {
        // A stopped postmaster starts no other gateway, and lets nobody connect.
        let _frozen = cluster.freeze(cluster.postmaster_pid()?)?;
        let mut ask = |sql: &str| -> Result<String> { Ok(session.run(sql)?.ok()?.text()) };
        ask(&format!("select pg_terminate_backend({pid})"))?;
        let running = "select count(*) from pg_stat_activity where backend_type = 'pg_sse gateway'";
        wait_until(SOON, "the gateway has gone", || ask(running).is_ok_and(|count| count == "0"))?;
        for publish in ["f('while it is away')", "sse.publish('by hand')"] {
            let pushed = "select records_total from sse.stat_ring";
            let before = ask(pushed)?;
            ask(&format!("select {publish}"))?;
            ensure!(ask(pushed)? != before, "{publish} does not wait for it");
        }
    }
    wait_until(SOON, "another gateway", || common::gateway_pid(&cluster).is_ok_and(|other| other != pid))?;
    wait_until(SOON, "it has taken what waited", || {
        figure(&cluster, "stat_ring", "used_bytes").is_ok_and(|used| used == 0)
    })?;
    assert_eq!(figure(&cluster, "stat_ring", "dropped_total")?, 0);
    Ok(())
}
