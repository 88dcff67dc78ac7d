//! `/metrics` of the admin port: every figure of the views by its name, counters that rise by what was done,
//! histograms, and a scrape that does not grow with the streams.
//!
//! Not for who may ask: `admin_port.rs`. For its rules and dashboard: `admin_rules.rs`.

mod common;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use cluster::{Builder, Cluster, wait_for, wait_until};
use common::admin::{Admin, open, samples};
use common::calls::Api;
use common::{Corner, SOON, calls};

/// The samples of these columns have another name than `pg_sse_` and the column's, as docs/metrics.md says.
const OTHERWISE: [(&str, &str, &str); 4] = [
    ("stat_ring", "bytes_total", "pg_sse_ring_bytes_total"),
    ("stat_gateway", "connections", "pg_sse_connections_open"),
    ("stat_gateway", "subscribers", "pg_sse_subscribers_open"),
    ("stat_gateway", "call_workers", "pg_sse_call_workers_ready"),
];

/// The columns of a view that are figures.
fn columns(admin: &Admin, view: &str) -> Result<Vec<String>> {
    let text = admin.cluster.sql(&format!(
        "select attname from pg_attribute where attrelid = 'sse.{view}'::regclass and attnum > 0
         and atttypid = 'bigint'::regtype order by attnum"
    ))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn sample_name(view: &str, column: &str) -> String {
    let other = OTHERWISE.iter().find(|(of, known, _)| (*of, *known) == (view, column));
    other.map_or_else(|| format!("pg_sse_{column}"), |(_, _, name)| (*name).to_owned())
}

#[test]
fn every_figure_of_the_views_is_in_a_scrape_by_its_name_and_with_its_value() -> Result<()> {
    let admin = open(calls::builder(), calls::start)?;
    let corner = Corner::of(&admin.cluster, "compared")?;
    let mut stream = corner.announced("f", "@sse")?;
    corner.sql("select f('x') from generate_series(1, 5)")?;
    stream.next_data(5, SOON)?;
    let documentation = include_str!("../../docs/metrics.md");
    for view in ["stat_ring", "stat_gateway"] {
        let columns = columns(&admin, view)?;
        ensure!(columns.len() >= 16, "{view}: {columns:?}");
        for column in columns.iter().filter(|column| !["port", "pid"].contains(&column.as_str())) {
            let name = sample_name(view, column);
            wait_for(SOON, &format!("{view}.{column} is {name}"), || {
                let shown: f64 = admin.cluster.sql(&format!("select {column} from sse.{view}"))?.parse()?;
                let scrape = admin.scrape()?;
                let sample = *scrape.get(&name).with_context(|| format!("{name} is not in the scrape"))?;
                Ok((sample == shown).then_some(()))
            })?;
            ensure!(documentation.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
        }
    }
    let scrape = admin.http.get("/metrics")?.text();
    let unexplained =
        scrape.lines().filter(|line| line.ends_with(" A column of sse.stat_gateway or sse.stat_ring."));
    assert_eq!(unexplained.collect::<Vec<_>>(), [""; 0], "not in crates/gateway/src/admin/metrics/help.rs");
    Ok(())
}

#[test]
fn the_reader_of_the_log_is_in_a_scrape_where_there_is_one() -> Result<()> {
    let wal = |admin: &Admin| -> Result<BTreeMap<String, f64>> {
        Ok(admin.scrape()?.into_iter().filter(|(name, _)| name.starts_with("pg_sse_wal_")).collect())
    };
    let without = open(Cluster::builder(), Builder::start)?;
    assert_eq!(wal(&without)?, BTreeMap::new());
    // No session of the test waits for a standby.
    let builder = Cluster::builder().setting("sse.durability", "wal").setting("synchronous_commit", "local");
    let admin = open(builder, Builder::start)?;
    let corner = Corner::of(&admin.cluster, "log")?;
    let mut stream = corner.announced("f", "@sse")?;
    corner.sql("select f('x') from generate_series(1, 5)")?;
    stream.next_data(5, SOON)?;
    let documentation = include_str!("../../docs/metrics.md");
    // The timeline is no figure.
    for column in columns(&admin, "stat_wal")?.iter().filter(|column| *column != "timeline") {
        let name = format!("pg_sse_wal_{column}");
        wait_for(SOON, &format!("stat_wal.{column} is {name}"), || {
            let shown: f64 = admin.cluster.sql(&format!("select {column} from sse.stat_wal"))?.parse()?;
            let sample = *wal(&admin)?.get(&name).with_context(|| format!("{name} is not in the scrape"))?;
            Ok((sample == shown).then_some(()))
        })?;
    }
    for name in wal(&admin)?.keys() {
        ensure!(documentation.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
    wait_until(SOON, "all is read", || {
        wal(&admin).is_ok_and(|now| {
            let of = |name: &str| now.get(&format!("pg_sse_wal_{name}")).copied();
            let all = ["reader_running", "caught_up", "behind_seconds", "held_seconds"].map(of);
            all == [Some(1.0), Some(1.0), Some(0.0), Some(0.0)]
        })
    })?;
    // But what only publishes does (C10.4).
    admin.cluster.reconfigure("synchronous_standby_names", "nobody")?;
    wait_until(SOON * 2, "something is held, and behind for it", || {
        let _ = corner.sql("set synchronous_commit = on; select f('held')");
        wal(&admin)
            .is_ok_and(|now| now["pg_sse_wal_held_seconds"] >= 1.0 && now["pg_sse_wal_behind_seconds"] >= 1.0)
    })
}

#[test]
fn counters_and_histograms_rise_by_exactly_what_was_done() -> Result<()> {
    let admin = open(calls::builder(), calls::start)?;
    let api = Api::of(&admin.cluster, "counted")?;
    api.sql(
        "create function add(a int) returns int language sql as 'select a + 1';
         comment on function add(int) is 'HTTP POST';
         create function fails() returns int language plpgsql as $f$ begin raise 'no'; end $f$;
         comment on function fails() is 'HTTP POST'",
    )?;
    let corner = Corner::of(&admin.cluster, "streams")?;
    corner.announcer("f", "@sse")?;
    corner.announcer("secret", "@sse\n@sse_scope authorize id:1")?;
    let mut streams = [corner.stream("f/info")?, corner.stream("f/info")?, corner.stream("f/info")?];
    let before = admin.scrape()?;
    corner.sql(
        "select f(n::text) from generate_series(1, 7) n; select secret('x') from generate_series(1, 2)",
    )?;
    for stream in &mut streams {
        stream.next_data(7, SOON)?;
    }
    for number in 0..4 {
        api.post("add", &serde_json::json!({ "a": number }))?;
    }
    assert_eq!(api.post("fails", &serde_json::json!({}))?.status(), 400);
    let expected: BTreeMap<&str, f64> = [
        ("pg_sse_events_total", 9.0),
        ("pg_sse_deliveries_total", 21.0),
        ("pg_sse_event_streams_count", 9.0),
        ("pg_sse_event_streams_sum", 21.0),
        // Events of nobody did not come to a socket.
        ("pg_sse_event_delay_seconds_count", 7.0),
        ("pg_sse_calls_total", 5.0),
        ("pg_sse_calls_failed_total", 1.0),
        ("pg_sse_call_duration_seconds_count{method=\"POST\",status=\"200\"}", 4.0),
        ("pg_sse_call_duration_seconds_count{method=\"POST\",status=\"400\"}", 1.0),
    ]
    .into();
    let mut last = BTreeMap::new();
    wait_for(SOON, "every counter has risen", || {
        let now = admin.scrape()?;
        let risen = expected.keys().map(|name| {
            let of = |scrape: &BTreeMap<String, f64>| scrape.get(*name).copied().unwrap_or(0.0);
            (*name, of(&now) - of(&before))
        });
        last = risen.collect();
        Ok((last == expected).then_some(()))
    })
    .with_context(|| format!("{last:?}"))
}

#[test]
fn a_delay_is_measured_from_the_commit_and_for_immediate_events_from_the_raise() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let corner = Corner::of(&admin.cluster, "delays")?;
    corner.announcer("f", "@sse")?;
    corner.announcer("now", "@sse\n@sse_delivery immediate")?;
    let mut stream = corner.stream("f/info")?;
    for routine in ["f", "now"] {
        let before = admin.scrape()?;
        // The transaction goes on for a second after the RAISE.
        corner.sql(&format!("begin; select {routine}('x'); select pg_sleep(1); commit"))?;
        stream.next_data(1, SOON)?;
        let name = |part: &str| format!("pg_sse_event_delay_seconds_{part}");
        wait_until(SOON, "it is measured", || {
            admin.scrape().is_ok_and(|now| now[&name("count")] == before[&name("count")] + 1.0)
        })?;
        let took = admin.scrape()?[&name("sum")] - before[&name("sum")];
        ensure!(took > 0.0 && took < 0.9, "{routine}: {took} s");
    }
    Ok(())
}

// Attack: whatever peers send as path, query, token or execution id, so that it grows or shows up.
#[test]
fn a_scrape_with_a_thousand_streams_is_as_large_as_with_one_and_shows_nothing_of_a_url() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let corner = Corner::of(&admin.cluster, "crowd")?;
    corner.announcer("f", "@sse")?;
    let lines = || -> Result<usize> { Ok(admin.http.get("/metrics")?.text().lines().count()) };
    let one = corner.stream("f/info")?;
    let before = lines()?;
    let path = corner.path("f/info");
    let streams: Vec<_> = (0..1000)
        .map(|number| {
            admin.cluster.http()?.events(&format!("{path}?id=hush-{number}&topic=whisper-{number}"))?.begun()
        })
        .collect::<Result<_>>()?;
    for target in ["/hush", "/api/hush?token=hush"] {
        admin.cluster.http()?.request(&Request::get(target).bearer("hush"))?;
    }
    wait_until(SOON, "all are counted", || {
        admin.scrape().is_ok_and(|scrape| scrape["pg_sse_subscribers_open"] == 1001.0)
    })?;
    let text = admin.http.get("/metrics")?.text();
    assert_eq!(text.lines().count(), before);
    ensure!(!text.contains("hush") && !text.contains("whisper") && !text.contains("crowd"), "{text}");
    ensure!(text.len() < 20_000, "{}", text.len());
    drop((one, streams));
    Ok(())
}

#[test]
fn both_formats_have_the_same_samples_and_say_what_they_are() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let text = admin.http.get("/metrics")?;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let open = admin.http.request(&Request::get("/metrics").header("Accept", accept))?;
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    ensure!(open.text().ends_with("# EOF\n") && !text.text().contains("EOF"));
    let names = |text: &str| -> Result<Vec<String>> { Ok(samples(text)?.into_keys().collect()) };
    assert_eq!(names(&open.text())?, names(&text.text())?);
    // In OpenMetrics no two metrics have one name, and a counter's is without `_total`.
    let types: Vec<String> =
        open.text().lines().filter(|line| line.starts_with("# TYPE ")).map(str::to_owned).collect();
    let families: std::collections::BTreeSet<&str> =
        types.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(families.len(), types.len(), "{types:?}");
    Ok(())
}

#[test]
fn without_a_gateway_the_counters_stand_and_nothing_is_serving() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let corner = Corner::of(&admin.cluster, "stands")?;
    let mut stream = corner.announced("f", "@sse")?;
    corner.sql("select f('x')")?;
    stream.next_data(1, SOON)?;
    wait_until(SOON, "it is counted", || {
        admin.scrape().is_ok_and(|now| now["pg_sse_serving"] == 1.0 && now["pg_sse_events_total"] == 1.0)
    })?;
    admin.cluster.sql("drop extension pg_sse")?;
    wait_until(SOON, "nothing is served", || {
        admin.scrape().is_ok_and(|now| {
            now["pg_sse_serving"] == 0.0
                && now["pg_sse_subscribers_open"] == 0.0
                && !now.contains_key("pg_sse_event_streams_count")
        })
    })
}
