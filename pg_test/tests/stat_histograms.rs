//! `sse.stat_histograms` (C8.2): the histograms of the admin port in SQL, for those who open no port.
//!
//! Not for what they measure: `admin_metrics.rs`.

mod common;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, StopMode, wait_for};
use common::admin::{Admin, open};
use common::calls::Api;
use common::{Corner, SOON, calls};

/// What a scrape has of histograms, by the names of its samples.
fn scraped(admin: &Admin) -> Result<BTreeMap<String, f64>> {
    let families = ["event_delay_seconds", "event_streams", "call_duration_seconds"];
    let is_of = |name: &str| families.iter().any(|family| name.starts_with(&format!("pg_sse_{family}_")));
    Ok(admin.scrape()?.into_iter().filter(|(name, _)| is_of(name)).collect())
}

/// What the view has, by the same names.
fn viewed(cluster: &Cluster) -> Result<BTreeMap<String, f64>> {
    let rows = cluster.sql(
        "select name, coalesce(method, ''), coalesce(status, ''), upper_bound, count, sum, total
           from sse.stat_histograms",
    )?;
    let mut found = BTreeMap::new();
    for row in rows.lines() {
        let cells: Vec<&str> = row.split('|').collect();
        let [name, method, status, bound, count, sum, total] = cells[..] else {
            anyhow::bail!("not a row: {row}")
        };
        let labels = if method.is_empty() {
            String::new()
        } else {
            format!("method=\"{method}\",status=\"{status}\"")
        };
        let bound: f64 = bound.parse()?;
        let le = if bound.is_infinite() { "+Inf".to_owned() } else { shown(bound) };
        let before = if labels.is_empty() { String::new() } else { format!("{labels},") };
        let all = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        // Labels come in an order that nobody promises.
        let bucket = [format!("{before}le=\"{le}\""), format!("le=\"{le}\",{labels}")]
            .map(|labels| format!("pg_sse_{name}_bucket{{{}}}", labels.trim_end_matches(',')));
        for name in bucket {
            found.insert(name, count.parse()?);
        }
        found.insert(format!("pg_sse_{name}_sum{all}"), sum.parse()?);
        found.insert(format!("pg_sse_{name}_count{all}"), total.parse()?);
    }
    Ok(found)
}

/// As a scrape writes a bound: always with a point.
fn shown(bound: f64) -> String {
    format!("{bound:?}")
}

#[test]
fn the_view_has_every_number_of_a_scrape() -> Result<()> {
    let admin = open(calls::builder(), calls::start)?;
    let api = Api::of(&admin.cluster, "measured")?;
    api.sql(
        "create function add(a int) returns int language sql as 'select a + 1';
         comment on function add(int) is 'HTTP POST'",
    )?;
    let corner = Corner::of(&admin.cluster, "streams")?;
    corner.announcer("f", "@sse")?;
    let mut streams = [corner.stream("f/info")?, corner.stream("f/info")?];
    corner.sql("select f(n::text) from generate_series(1, 7) n")?;
    for stream in &mut streams {
        stream.next_data(7, SOON)?;
    }
    for number in 0..3 {
        ensure!(api.post("add", &serde_json::json!({ "a": number }))?.status() == 200);
    }
    ensure!(api.post("add", &serde_json::json!({ "a": "x" }))?.status() == 400);
    let mut last = (BTreeMap::new(), BTreeMap::new());
    wait_for(SOON, "the view has what the scrape has", || {
        last = (scraped(&admin)?, viewed(&admin.cluster)?);
        let (scraped, viewed) = &last;
        let of = |part: &str| scraped.iter().any(|(name, value)| name.contains(part) && *value > 0.0);
        let is_there = of("event_delay_seconds_count")
            && of("method=\"POST\",status=\"200\"")
            && of("method=\"POST\",status=\"400\"");
        let same = scraped.iter().all(|(name, value)| {
            viewed.get(name).is_some_and(|shown| (shown - value).abs() <= value.abs() * 1e-12)
        });
        Ok((is_there && same).then_some(()))
    })
    .with_context(|| format!("{last:#?}"))?;
    let rows: usize = admin.cluster.sql("select count(*) from sse.stat_histograms")?.parse()?;
    let buckets = last.0.keys().filter(|name| name.contains("_bucket{")).count();
    assert_eq!(rows, buckets, "no row of the view is anything else");
    let last_ones = admin
        .cluster
        .sql("select bool_and(count = total) from sse.stat_histograms where upper_bound = 'Infinity'")?;
    assert_eq!(last_ones, "t");
    Ok(())
}

// Attack: learning how busy a server is without being allowed to.
#[test]
fn only_pg_monitor_sees_the_histograms() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql("create role plain; create role watcher in role pg_monitor")?;
    for (role, sql, is_allowed) in [
        ("plain", "select count(*) from sse.stat_histograms", false),
        ("plain", "select sse._histograms()", false),
        ("watcher", "select count(*) from sse.stat_histograms", true),
    ] {
        let mut session = cluster.session()?;
        session.run(&format!("set role {role}"))?;
        assert_eq!(session.run(sql)?.error().is_none(), is_allowed, "{role}: {sql}");
    }
    Ok(())
}

#[test]
fn without_a_gateway_the_view_says_so_and_comes_back_with_it() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let read = "select count(*) from sse.stat_histograms";
    // While nothing is served yet there are none.
    wait_for(SOON, "the gateway has histograms", || {
        let rows = cluster.sql(read).ok().and_then(|rows| rows.parse::<u32>().ok());
        Ok(rows.filter(|rows| *rows > 20).map(drop))
    })?;
    let frozen = common::freeze_gateway(&cluster)?;
    let reply = cluster.session()?.run(read)?;
    let error = format!("{:?}", reply.error().context("nobody has answered, and no error")?);
    ensure!(error.contains("could not get the histograms from the gateway"), "{error}");
    drop(frozen);
    wait_for(SOON, "the gateway answers again", || Ok(cluster.sql(read).ok().map(drop)))?;
    cluster.restart(StopMode::Fast)?;
    wait_for(SOON, "the new gateway has histograms", || {
        Ok((cluster.sql(read).is_ok_and(|rows| rows != "0")).then_some(()))
    })
}
