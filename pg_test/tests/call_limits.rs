//! How much and how long: bodies, the queue, callers that go away; and requests that no client should send.
//!
//! Not for what a well-formed request means: `call_arguments.rs`.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::http::{Connection, Request};
use cluster::{Cluster, anonymous_bytes, wait_for};
use common::SOON;
use common::calls::{Api, Findings, builder, start, told};
use serde_json::json;

const SLOW: &str = "
    create function slow(s float8) returns text language sql as $$ select 'slept' from pg_sleep(s) $$;
    comment on function slow(float8) is 'HTTP POST';
    create function quick() returns text language sql as $$ select 'quick' $$;
    comment on function quick() is 'HTTP POST';";

/// Sends a call that takes so long.
fn begin(api: &Api<'_>, seconds: f64) -> Result<Connection> {
    api.begin("slow", &json!({ "s": seconds }))
}

/// How many call workers are busy.
fn busy(cluster: &Cluster) -> Result<usize> {
    let count = cluster.sql(
        "select count(*) from pg_stat_activity where backend_type = 'pg_sse call worker' and state = 'active'",
    )?;
    Ok(count.parse()?)
}

fn waits_until_busy(cluster: &Cluster, wanted: usize) -> Result<()> {
    wait_for(SOON, &format!("{wanted} workers are busy"), || Ok((busy(cluster)? == wanted).then_some(())))
}

/// Attack: a body that takes the worker's stack, or a number that no type holds. (What no parser should take
/// is refused before: `crates/gateway/tests/call_attacks.rs`.)
#[test]
fn deep_bodies_and_long_numbers_break_nothing() -> Result<()> {
    let api = Api::new("hostile")?;
    api.sql(
        "create function f(a jsonb = null, n numeric = 0) returns text language sql as $$ select coalesce(jsonb_typeof(a), 'none') || n $$;
         comment on function f(jsonb, numeric) is 'HTTP POST'",
    )?;
    let mut findings = Findings::default();
    for (number, wanted) in [("9".repeat(1000).as_str(), 200), ("1e999999", 400), ("1e-100", 200)] {
        let answer = api.post_bytes("f", format!("{{\"n\":{number}}}").as_bytes())?;
        findings.expect(&format!("{number}: {}", told(&answer)), answer.status(), wanted);
    }
    // Nobody promises that such depth is still accepted; the server must be there afterwards.
    for depth in [10, 100, 128, 1_000, 10_000, 200_000] {
        for (open, end) in [("[", "]"), ("{\"a\":", "}")] {
            let body = format!("{{\"a\":{}1{}}}", open.repeat(depth), end.repeat(depth));
            let status = api.post_bytes("f", body.as_bytes())?.status();
            let is_fine = if depth == 10 { status == 200 } else { matches!(status, 200 | 400 | 413) };
            findings.expect(&format!("{depth} deep: {status}"), is_fine, true);
        }
    }
    let answer = api.post("f", &json!({ "a": [], "n": 1 }))?;
    findings.expect("afterwards", told(&answer), "200 array1".to_owned());
    findings.report()
}

#[test]
fn a_full_queue_is_a_503_with_retry_after_and_one_address_has_half_of_it() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1").setting("sse.call_queue_size", "4"))?;
    let api = Api::of(&cluster, "queued")?;
    api.sql(SLOW)?;
    let running = begin(&api, 60.0)?;
    waits_until_busy(&cluster, 1)?;
    let waiting = [begin(&api, 0.0)?, begin(&api, 0.0)?];
    // Both have been read by the gateway once a third is refused.
    let refused = wait_for(SOON, "one is refused", || {
        let mut connection = api.http.within(Duration::from_secs(2)).connect()?;
        connection.send(&api.request("POST", "quick").json(&json!({})))?;
        Ok(connection.response("POST").ok())
    })?;
    assert_eq!(refused.status(), 503, "{}", told(&refused));
    ensure!(refused.header("retry-after").is_some(), "{:?}", refused.head);
    // A caller that gives up makes room, in the worker, too.
    drop(running);
    for mut connection in waiting {
        assert_eq!(told(&connection.response("POST")?), "200 slept");
    }
    assert_eq!(told(&api.post("quick", &json!({}))?), "200 quick");
    Ok(())
}

#[test]
fn a_caller_that_goes_away_has_its_statement_cancelled_and_the_next_is_not_hurt() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "leaving")?;
    api.sql(SLOW)?;
    for _ in 0..5 {
        let calls = [begin(&api, 60.0)?, begin(&api, 60.0)?];
        waits_until_busy(&cluster, 2)?;
        let started = Instant::now();
        drop(calls);
        waits_until_busy(&cluster, 0)?;
        ensure!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        for _ in 0..4 {
            assert_eq!(told(&api.post("quick", &json!({}))?), "200 quick");
        }
    }
    Ok(())
}

#[test]
fn a_cancel_of_an_idle_worker_is_harmless_and_of_a_running_one_a_504() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "cancelled")?;
    api.sql(SLOW)?;
    let pids = "select string_agg(pid::text, ' ' order by pid) from pg_stat_activity where backend_type = 'pg_sse call worker'";
    let before = cluster.sql(pids)?;
    cluster.sql(
        "select pg_cancel_backend(pid) from pg_stat_activity where backend_type = 'pg_sse call worker'",
    )?;
    assert_eq!(told(&api.post("quick", &json!({}))?), "200 quick");
    let mut running = begin(&api, 60.0)?;
    waits_until_busy(&cluster, 1)?;
    cluster.sql("select pg_cancel_backend(pid) from pg_stat_activity where backend_type = 'pg_sse call worker' and state = 'active'")?;
    assert_eq!(running.response("POST")?.status(), 504);
    for _ in 0..4 {
        assert_eq!(told(&api.post("quick", &json!({}))?), "200 quick");
    }
    assert_eq!(cluster.sql(pids)?, before, "the same workers");
    Ok(())
}

#[test]
fn events_go_out_while_every_worker_is_busy_and_the_queue_is_full() -> Result<()> {
    let cluster = start(builder().setting("sse.call_queue_size", "8"))?;
    let api = Api::of(&cluster, "undelayed")?;
    api.sql(SLOW)?;
    api.sql(&common::announcer("announced", "@sse"))?;
    let mut stream = api.http.events(&api.path("announced/info"))?.begun()?;
    let calls: Vec<Connection> = (0..6).map(|_| begin(&api, 60.0)).collect::<Result<_>>()?;
    waits_until_busy(&cluster, 2)?;
    let mut session = api.session()?;
    for number in 0..20 {
        let started = Instant::now();
        session.run(&format!("select announced('{number}')"))?.ok()?;
        assert_eq!(stream.next(SOON)?.data, number.to_string());
        ensure!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    drop(calls);
    Ok(())
}

#[test]
fn a_server_that_stops_does_not_wait_for_calls() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "stopping")?;
    api.sql(SLOW)?;
    let mut calls = [begin(&api, 60.0)?, begin(&api, 60.0)?, begin(&api, 60.0)?];
    waits_until_busy(&cluster, 2)?;
    let started = Instant::now();
    cluster.stop(cluster::StopMode::Fast)?;
    ensure!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    for call in &mut calls {
        // An answer or the end of the connection; nothing that hangs.
        if let Ok(answer) = call.response("POST") {
            ensure!(answer.status() >= 500, "{}", told(&answer));
        }
    }
    cluster.start()?;
    common::calls::ready(&cluster)?;
    let api = Api::again(&cluster, "stopping")?;
    assert_eq!(told(&api.http.request(&Request::new("POST", &api.path("quick")))?), "200 quick");
    Ok(())
}

#[test]
fn thousands_of_calls_leave_no_memory_behind() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "steady")?;
    api.sql(
        "create function work(n int) returns setof text language plpgsql as $$ begin
           if n % 3 = 0 then raise exception 'no'; end if;
           return query select repeat('x', 1000) from generate_series(1, 20); end $$;
         comment on function work(int) is 'HTTP POST'",
    )?;
    let worker: u32 =
        cluster.sql("select pid from pg_stat_activity where backend_type = 'pg_sse call worker'")?.parse()?;
    let mut connection = api.http.connect()?;
    let mut run = |calls: usize| -> Result<()> {
        for n in 0..calls {
            connection.send(&api.request("POST", "work").json(&json!({ "n": n })))?;
            let answer = connection.response("POST")?;
            ensure!(answer.status() == if n % 3 == 0 { 400 } else { 200 }, "{}", told(&answer));
        }
        Ok(())
    };
    run(1_000)?;
    let before = anonymous_bytes(worker)?;
    run(4_000)?;
    let after = anonymous_bytes(worker)?;
    ensure!(after < before + (1_000 << 10), "{before} bytes, then {after}");
    Ok(())
}
