//! `/readyz` of the admin port: each check fails for its own cause, and is good again when that is mended.
//!
//! Not for who may ask: `admin_port.rs`.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Builder, Cluster, wait_for, wait_until};
use common::admin::open;
use common::{Corner, SOON, calls, figure};

const NAMES: [&str; 7] = ["call_role", "canary", "database", "extension", "keys", "ring", "routes"];

#[test]
fn all_checks_are_good_on_a_server_that_serves_and_say_how_long_they_took() -> Result<()> {
    let admin = open(calls::builder(), calls::start)?;
    let checks = admin.wait_for_failing(&[])?;
    assert_eq!(checks.keys().map(String::as_str).collect::<Vec<_>>(), NAMES);
    for (name, check) in &checks {
        ensure!(check["ms"].as_f64().is_some_and(|ms| (0.0..10_000.0).contains(&ms)), "{name}: {check}");
    }
    Ok(())
}

#[test]
fn without_database_or_extension_it_says_which_and_is_ready_when_they_are_there() -> Result<()> {
    let builder = Cluster::builder().setting("sse.database", "later").without_extension();
    let admin = open(builder, Builder::start)?;
    admin.wait_for_failing(&["canary", "database", "extension", "routes"])?;
    admin.cluster.sql("create database later")?;
    admin.wait_for_failing(&["canary", "extension", "routes"])?;
    admin.cluster.sql_in("later", "create extension pg_sse")?;
    admin.wait_for_failing(&[])?;
    admin.cluster.sql_in("later", "drop extension pg_sse")?;
    admin.wait_for_failing(&["canary", "extension", "routes"])?;
    admin.cluster.sql_in("later", "create extension pg_sse")?;
    admin.wait_for_failing(&[]).map(drop)
}

#[test]
fn a_role_for_calls_that_is_gone_is_told() -> Result<()> {
    let admin = open(calls::builder(), calls::start)?;
    admin.wait_for_failing(&[])?;
    admin.cluster.sql("drop role app")?;
    admin.wait_for_failing(&["call_role"])?;
    admin.cluster.sql("create role app login")?;
    admin.wait_for_failing(&[]).map(drop)
}

#[test]
fn a_file_with_keys_that_cannot_be_read_is_told_and_one_whose_keys_are_in_use_does_not_fail() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let path = admin.cluster.data_dir().join("secret");
    let text = path.to_str().context("a path")?;
    admin.cluster.reconfigure("sse.jwt_secret_file", text)?;
    let checks = admin.wait_for_failing(&["keys"])?;
    ensure!(!checks["keys"].to_string().contains(text), "no path is told: {}", checks["keys"]);
    let program = format!("umask 077; cat > {text}.new && mv {text}.new {text}");
    admin.cluster.sql(&format!("copy (select repeat('k', 32)) to program '{program}'"))?;
    admin.wait_for_failing(&[])?;
    fs::remove_file(&path)?;
    wait_until(SOON, "the check says that the keys are kept", || {
        admin.readiness().is_ok_and(|(status, checks)| {
            status == 200
                && checks["keys"]["detail"].as_str().is_some_and(|detail| detail.contains("stay in use"))
        })
    })
}

#[test]
fn a_setting_that_was_refused_at_start_is_told() -> Result<()> {
    let admin = open(Cluster::builder().setting("sse.retry", "soon"), Builder::start)?;
    admin.wait_for_failing(&["routes"]).map(drop)
}

#[test]
fn a_ring_that_fills_fails_from_80_per_cent_on_and_so_does_the_canary_that_cannot_pass() -> Result<()> {
    let admin = open(Cluster::builder().setting("sse.ring_size", "64kB"), Builder::start)?;
    let corner = Corner::of(&admin.cluster, "filling")?;
    corner.announcer("f", "@sse\n@sse_delivery immediate")?;
    admin.wait_for_failing(&[])?;
    provoke_hole(&admin.cluster)?;
    admin.wait_for_failing(&["canary"])?;
    corner.sql("set client_min_messages = error; select f(repeat('x', 1000)) from generate_series(1, 60)")?;
    let (used, capacity) = (
        figure(&admin.cluster, "stat_ring", "used_bytes")?,
        figure(&admin.cluster, "stat_ring", "capacity_bytes")?,
    );
    ensure!(used * 100 >= capacity * 80, "{used} of {capacity}");
    admin.wait_for_failing(&["canary", "ring"])?;
    fs::write(admin.cluster.data_dir().join("pg_sse.hole_end"), "")?;
    admin.wait_for_failing(&[]).map(drop)
}

/// A record is begun in the ring, and completed a minute later, or when the test says so.
fn provoke_hole(cluster: &Cluster) -> Result<()> {
    let file = cluster.data_dir().join("pg_sse.hole");
    fs::write(&file, "60000")?;
    cluster.reload()?;
    wait_until(SOON, "the hole is there", || !file.exists())
}

#[test]
fn the_canary_is_in_no_counter_of_deliveries_and_comes_only_when_somebody_asks() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let corner = Corner::of(&admin.cluster, "canaries")?;
    let mut stream = corner.announced("f", "@sse")?;
    let records = || figure(&admin.cluster, "stat_ring", "records_total");
    // The reading of the catalog goes through the ring, too.
    let mut last = (-1, Instant::now());
    wait_for(SOON, "nothing comes any more", || {
        let now = records()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok((last.1.elapsed() > Duration::from_millis(1500)).then_some(()))
    })?;
    let before = records()?;
    let scrape = admin.scrape()?;
    admin.wait_for_failing(&[])?;
    // Within a second the same report is given.
    for _ in 0..20 {
        admin.readiness()?;
    }
    let asked = records()? - before;
    ensure!((1..=4).contains(&asked), "{asked} canaries for twenty requests");
    let after = admin.scrape()?;
    for name in ["pg_sse_events_total", "pg_sse_deliveries_total", "pg_sse_event_streams_count"] {
        assert_eq!(after[name], scrape[name], "{name}");
    }
    ensure!(stream.next_payload(Duration::from_millis(500)).is_err(), "nobody gets it");
    corner.sql("select f('after')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "after");
    Ok(())
}
