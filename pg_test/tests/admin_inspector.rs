//! What the inspector is told of the gateway, as JSON (C8.2): the overview, endpoints, subscribers.
//!
//! Not for live events and calls: `admin_inspector_live.rs`. Not for names and methods of the port:
//! `admin_port.rs`.

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use cluster::http::{Request, StreamError, Transport};
use cluster::{Builder, Cluster, wait_for};
use common::admin::{Admin, TOKEN, open};
use common::calls::Api;
use common::tokens::{ALICE, issue, listen};
use common::{Corner, SOON, announcer, calls, is_problem, tokens};
use serde_json::{Value, json};

fn get(admin: &Admin, path: &str) -> Result<Value> {
    let answer = admin.get(path)?;
    ensure!(answer.status() == 200, "{path}: {}", answer.text());
    answer.json()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Waits until the list has so many, and returns it.
fn list(admin: &Admin, path: &str, name: &str, total: u64) -> Result<Vec<Value>> {
    wait_for(SOON, &format!("{path} has {total}"), || {
        let answer = admin.get(path)?;
        // Before anything is served.
        let found = if answer.status() == 503 { Value::Null } else { answer.json()? };
        Ok((found["total"] == total).then(|| found[name].as_array().cloned().unwrap_or_default()))
    })
}

// Attack: whoever reaches the port reads who listens to what, or ends streams, without the token.
#[test]
fn everything_of_the_inspector_needs_the_token_and_is_never_kept_by_a_cache() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let paths =
        ["/api/overview", "/api/endpoints", "/api/subscribers", "/api/subscribers/0-0-0", "/api/x", "/api/"];
    for path in paths {
        for method in ["GET", "HEAD", "DELETE", "POST", "OPTIONS"] {
            let plain = Request::new(method, path).header("Origin", "https://x.example");
            for request in [plain.clone(), plain.clone().bearer("not the token of this test")] {
                let answer = admin.http.request(&request)?;
                assert_eq!(answer.status(), 401, "{method} {path}");
                assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path}");
            }
            let evil = plain.bearer(TOKEN).header("Host", "evil.example");
            assert_eq!(admin.http.request(&evil)?.status(), 421, "{method} {path}");
        }
    }
    for path in &paths[..3] {
        let answer = wait_for(SOON, "it is served", || {
            Ok(Some(admin.get(path)?).filter(|answer| answer.status() == 200))
        })?;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        let head = admin.http.request(&Request::new("HEAD", path).bearer(TOKEN))?;
        ensure!(head.status() == 200 && head.text().is_empty(), "{path}");
        for method in ["POST", "DELETE", "PUT", "OPTIONS"] {
            let answer = admin.http.request(&Request::new(method, path).bearer(TOKEN))?;
            is_problem(&answer, 405, path)?;
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
    }
    is_problem(&admin.get("/api/subscribers/0-0-0")?, 405, "a GET of one stream")?;
    is_problem(&admin.get("/api/x")?, 404, "what there is not")
}

#[test]
fn the_overview_has_the_checks_all_figures_and_the_distributions() -> Result<()> {
    let began = now();
    let admin = open(calls::builder().setting("sse.window_size", "1MB"), calls::start)?;
    let corner = Corner::of(&admin.cluster, "corner")?;
    corner.announcer("f", "@sse")?;
    let api = Api::of(&admin.cluster, "api")?;
    api.sql("create function one() returns int language sql as 'select 1'; comment on function one() is 'HTTP GET'")?;
    let mut stream = corner.stream("f/info")?;
    corner.sql("select f('x')")?;
    stream.next_payload(SOON)?;
    ensure!(admin.cluster.http()?.get("/api/api/one")?.status() == 200);
    let overview = wait_for(SOON, "the event and the call are counted", || {
        let overview = get(&admin, "/api/overview")?;
        let calls = overview["call_duration"]["total"].as_u64();
        let counted = overview["event_delay"]["total"] == 1 && calls > Some(0);
        ensure!(overview["event_delay"]["total"].as_u64() < Some(2), "{overview}");
        Ok(counted.then_some(overview))
    })?;
    assert_eq!(
        (&overview["state"], &overview["database"]),
        (&json!("serving"), &json!(admin.cluster.sql("select current_database()")?))
    );
    assert_eq!(overview["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(overview["port"].to_string(), admin.cluster.sql("select port from sse.stat_gateway")?);
    let times = [&overview["started"], &overview["now"]].map(Value::as_f64);
    let [Some(started), Some(at)] = times else { anyhow::bail!("{times:?}") };
    ensure!(began - 5.0 < started && started < at && at < now() + 5.0, "{began} {started} {at}");
    let names: Vec<&str> = overview["checks"]
        .as_array()
        .context("checks")?
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    assert_eq!(names, ["database", "extension", "routes", "call_role", "keys", "ring", "canary"]);
    // Each figure of a scrape that has no labels and is no histogram.
    let scrape = admin.scrape()?;
    let figures = overview["figures"].as_object().context("figures")?;
    let others = ["serving", "start_time_seconds"];
    for name in scrape.keys().filter_map(|name| name.strip_prefix("pg_sse_")) {
        let is_histogram = name.contains('{') || name.ends_with("_sum") || name.ends_with("_count");
        ensure!(is_histogram || others.contains(&name) || figures.contains_key(name), "{name}");
    }
    for (name, value) in [("events_total", 1), ("subscribers_open", 1)] {
        assert_eq!(figures[name], value, "{name}");
    }
    assert_eq!(overview["window"]["size"], 1 << 20);
    assert_eq!(overview["window"]["events"], 1);
    ensure!(
        overview["window"]["used"].as_u64() > Some(0) && overview["ring"]["size"].as_u64() > Some(1 << 20)
    );
    ensure!(overview["window"]["seconds"].as_f64().is_some_and(|age| age >= 0.0 && age < now() - began));
    for name in ["event_delay", "call_duration"] {
        let found = &overview[name];
        let counts: Vec<u64> =
            found["count"].as_array().context("count")?.iter().filter_map(Value::as_u64).collect();
        assert_eq!(counts.len(), found["le"].as_array().context("le")?.len());
        ensure!(counts.is_sorted() && counts.last().copied() <= found["total"].as_u64(), "{found}");
        ensure!(found["sum"].as_f64() > Some(0.0), "{found}");
    }
    Ok(())
}

#[test]
fn the_overview_says_whether_streams_and_calls_are_over_tls() -> Result<()> {
    for (transport, is_tls) in [(Transport::Plain, false), (Transport::Tls, true)] {
        let admin = open(Cluster::builder().transport(transport), Builder::start)?;
        let overview = wait_for(SOON, "something listens", || {
            let overview = get(&admin, "/api/overview")?;
            Ok((!overview["port"].is_null()).then_some(overview))
        })?;
        assert_eq!(overview["tls"], is_tls);
    }
    Ok(())
}

#[test]
fn without_a_database_the_overview_says_so_and_lists_are_refused() -> Result<()> {
    let admin = open(Cluster::builder().setting("sse.database", "nowhere"), Builder::start)?;
    let overview = wait_for(SOON, "it has looked", || {
        let overview = get(&admin, "/api/overview")?;
        Ok((overview["state"] == "waiting for database").then_some(overview))
    })?;
    assert_eq!((&overview["database"], &overview["window"]["events"]), (&json!("nowhere"), &json!(0)));
    assert_eq!((&overview["port"], &overview["tls"]), (&Value::Null, &Value::Null));
    for path in ["/api/endpoints", "/api/subscribers"] {
        is_problem(&admin.get(path)?, 503, path)?;
    }
    Ok(())
}

#[test]
fn endpoints_are_listed_with_what_is_wrong_with_them_problems_first() -> Result<()> {
    let admin = open(calls::builder(), calls::start)?;
    let api = Api::of(&admin.cluster, "shop")?;
    api.sql(
        "set client_min_messages = error;
         create function send(a text, b int[]) returns void language plpgsql as 'begin raise info ''%'', a; end';
         comment on function send is E'HTTP POST\\n@sse\\n@authorize staff';
         create function wrong() returns int language sql as 'select 1';
         comment on function wrong() is E'prose\\n@sse\\n@sse_scope sombody';
         create function quiet() returns int language sql as 'select 1';
         comment on function quiet() is '@sse_publish on notice';
         create function plain() returns int language sql as 'select 1';
         comment on function plain() is 'of nobody''s concern'",
    )?;
    let endpoints = list(&admin, "/api/endpoints", "endpoints", 5)?;
    let wrong = &endpoints[0];
    assert_eq!(
        (&wrong["routine"], &wrong["url"], &wrong["kind"]),
        (&json!("shop.wrong"), &Value::Null, &Value::Null)
    );
    ensure!(
        wrong["problem"].as_str().is_some_and(|problem| problem.starts_with("line 3: \"sombody\"")),
        "{wrong}"
    );
    let is_of = |row: &&Value, kind: &str| row["kind"] == kind && row["url"] != "/api/call-ready";
    let row = |kind: &str| endpoints.iter().find(|row| is_of(row, kind)).cloned().context("no row");
    assert_eq!(
        row("stream")?,
        json!({"routine": "shop.send(text, integer[])", "kind": "stream", "method": "GET", "url": "/api/shop/send/info",
               "scope": "authorize staff", "level": "info", "subscribers": 0, "problem": null})
    );
    assert_eq!(
        row("call")?,
        json!({"routine": "shop.send(text, integer[])", "kind": "call", "method": "POST", "url": "/api/shop/send",
               "scope": null, "level": null, "subscribers": null, "problem": null})
    );
    assert_eq!(
        row("publisher")?,
        json!({"routine": "shop.quiet", "kind": "publisher", "method": null, "url": null,
               "scope": "all", "level": "notice", "subscribers": null, "problem": null})
    );
    Ok(())
}

#[test]
fn where_calls_are_off_each_call_says_so() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    admin.cluster.sql(
        "create function f() returns int language sql as 'select 1'; comment on function f() is 'HTTP GET'",
    )?;
    let endpoints = list(&admin, "/api/endpoints", "endpoints", 1)?;
    let problem = endpoints[0]["problem"].as_str().context("no problem")?;
    ensure!(problem.contains("calls are off") && endpoints[0]["url"].is_null(), "{problem}");
    Ok(())
}

// Attack: comments of one role, so long or so many that the gateway grows with each question.
#[test]
fn long_comments_and_many_routines_are_cut_and_counted() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    admin.cluster.sql(
        "do $$ begin
           for n in 1 .. 2005 loop
             execute format('create function f%s() returns int language sql as ''select 1''', n);
             execute format('comment on function f%s() is ''@sse''', n);
           end loop;
           execute 'create function mistaken() returns int language sql as ''select 1''';
           execute format('comment on function mistaken() is %L', '@sse' || chr(10) || '@sse_topic ' || repeat('x', 60000));
         end $$",
    )?;
    let endpoints = list(&admin, "/api/endpoints", "endpoints", 2006)?;
    assert_eq!(endpoints.len(), 2000);
    assert_eq!(endpoints[0]["routine"], "public.mistaken");
    let problem = endpoints[0]["problem"].as_str().context("no problem")?;
    ensure!(!problem.is_empty() && problem.len() <= 1003, "{}", problem.len());
    Ok(())
}

#[test]
fn subscribers_are_listed_without_their_secrets_and_those_that_lag_come_first() -> Result<()> {
    let admin = open(tokens::builder().setting("sse.window_size", "64MB"), Builder::start)?;
    let cluster = &admin.cluster;
    cluster.sql(&announcer("closed", "@sse\n@authorize"))?;
    cluster.sql(&announcer("open", "@sse\n@sse_topic news"))?;
    let http = cluster.http()?;
    let began = now();
    let token = issue(cluster, ALICE)?;
    let mut alice = listen(http, "/api/closed/info", Some(&token))?;
    let mut slow = listen(http, "/api/open/info?topic=weather&id=a-secret-id", None)?;
    let rows = list(&admin, "/api/subscribers", "subscribers", 2)?;
    let text = Value::from(rows.clone()).to_string();
    ensure!(!text.contains("a-secret-id") && !text.contains('?') && !text.contains(&token), "{text}");
    assert_eq!(rows[0]["path"], "/api/open/info", "the newest first");
    assert_eq!((&rows[0]["user"], &rows[0]["topics"]), (&Value::Null, &json!(["news", "weather"])));
    let row = &rows[1];
    for (name, value) in [
        ("path", json!("/api/closed/info")),
        ("user", json!("alice")),
        ("address", json!("127.0.0.1")),
        ("delivered", json!(0)),
        ("lag_events", json!(0)),
        ("lag_bytes", json!(0)),
        ("topics", json!([])),
        ("protocol", json!("http/1.1")),
        ("tls", json!(false)),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    ensure!(row["since"].as_f64().is_some_and(|since| began - 5.0 < since && since < now() + 5.0), "{row}");
    let endpoints = list(&admin, "/api/endpoints", "endpoints", 2)?;
    ensure!(endpoints.iter().all(|endpoint| endpoint["subscribers"] == 1), "{endpoints:?}");
    // Forty megabytes that one of them does not read.
    for _ in 0..40 {
        cluster.sql("select open(repeat('x', 100000)) from generate_series(1, 10)")?;
    }
    cluster.sql("select closed('y')")?;
    while alice.next_payload(SOON)?.data != "y" {}
    let rows = wait_for(SOON, "one of them lags", || {
        let rows = list(&admin, "/api/subscribers", "subscribers", 2)?;
        Ok((rows[0]["lag_events"].as_u64() > Some(10)).then_some(rows))
    })?;
    assert_eq!((&rows[0]["path"], &rows[1]["path"]), (&json!("/api/open/info"), &json!("/api/closed/info")));
    ensure!(rows[0]["lag_bytes"].as_u64() > Some(1_000_000), "{rows:?}");
    assert_eq!(rows[1]["lag_events"], 0);
    ensure!(rows[1]["delivered"].as_u64() > Some(0), "{rows:?}");
    slow.next_payload(SOON)?;
    Ok(())
}

// Attack: ending somebody's stream by a name that is guessed, old, or of another life of the gateway.
#[test]
fn a_stream_that_is_named_is_ended_and_no_other_one_ever() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let corner = Corner::of(&admin.cluster, "corner")?;
    let mut first = corner.announced("f", "@sse")?;
    let name = |rows: &[Value]| rows[0]["id"].as_str().map(str::to_owned).context("no id");
    let id = name(&list(&admin, "/api/subscribers", "subscribers", 1)?)?;
    let end = |id: &str| {
        admin.http.request(&Request::new("DELETE", &format!("/api/subscribers/{id}")).bearer(TOKEN))
    };
    let answer = end(&id)?;
    ensure!(answer.status() == 204 && answer.text().is_empty(), "{}", answer.text());
    ensure!(matches!(first.next(SOON), Err(StreamError::Ended)), "a clean end");
    list(&admin, "/api/subscribers", "subscribers", 0)?;
    // The next one gets its place.
    let mut second = corner.stream("f/info")?;
    let other = name(&list(&admin, "/api/subscribers", "subscribers", 1)?)?;
    ensure!(other != id);
    let (place, epoch) = other.rsplit_once('-').context("no epoch")?;
    for wrong in [
        &*id,
        "0",
        "",
        "0-0-0",
        place,
        &format!("{other}0"),
        &format!("{place}-1{epoch}"),
        &format!("1{other}"),
    ] {
        is_problem(&end(wrong)?, 404, wrong)?;
    }
    corner.sql("select f('still here')")?;
    assert_eq!(second.next_payload(SOON)?.data, "still here");
    Ok(())
}
