//! Calls that go on without their callers (C7.9): their events from the first one, and how they ended, in
//! every stream that presents their execution id.
//!
//! Not for how requests ask for it: `crates/gateway/tests/call_async.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::EventStream;
use cluster::wait_for;
use common::SOON;
use common::calls::{Api, builder, start};
use common::tokens::{ALICE, BOB, listen};
use serde_json::{Value, json};

/// A procedure that waits in the middle until a gate is opened.
fn job(schema: &str) -> String {
    format!(
        "create table gate (open bool); insert into gate values (false); grant all on gate to app;
         create procedure job(n int) language plpgsql as $$
         begin
             raise info 'begun %', n;
             commit;
             while not (select open from {schema}.gate) loop perform pg_sleep(0.02); commit; end loop;
             raise info 'half'; commit;
             raise info 'lost'; rollback;
             raise info 'done';
         end $$;
         comment on procedure job(int) is E'HTTP POST\\n@sse\\n@sse_scope caller'"
    )
}

/// Begins a call that goes on, and returns where it can be followed.
fn begin(api: &Api<'_>, routine: &str, body: &Value, headers: &[(&str, &str)]) -> Result<String> {
    let mut request = api.request("POST", routine).header("Prefer", "respond-async").json(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = api.http.request(&request)?;
    ensure!(answer.status() == 202, "{} {}", answer.status(), answer.text());
    ensure!(
        answer.header("preference-applied") == Some("respond-async") && answer.text().is_empty(),
        "its head"
    );
    Ok(answer.header("location").context("no Location")?.to_owned())
}

/// The next events, as name and data.
fn next(stream: &mut EventStream, count: usize) -> Result<Vec<String>> {
    (0..count)
        .map(|_| stream.next(SOON).map(|event| format!("{} {}", event.event, event.data)))
        .map(|e| Ok(e?))
        .collect()
}

fn open(api: &Api<'_>) -> Result<()> {
    api.sql("update gate set open = true").map(drop)
}

fn token(api: &Api<'_>, person: common::tokens::Person) -> Result<String> {
    common::tokens::issue(api.cluster, person)
}

/// The status of the problem that ends a call, after these events.
fn error(stream: &mut EventStream) -> Result<(u64, Value)> {
    let event = stream.next(SOON)?;
    ensure!(event.event == "sse.error", "{event:?}");
    let problem: Value = serde_json::from_str(&event.data)?;
    Ok((problem["status"].as_u64().unwrap_or(0), problem))
}

#[test]
fn a_job_is_followed_from_its_first_event_on_by_every_tab_and_after_a_reload() -> Result<()> {
    let api = Api::new("jobs")?;
    api.sql(&job("jobs"))?;
    let location = begin(&api, "job", &json!({ "n": 7 }), &[])?;
    ensure!(location.starts_with("/api/jobs/job/info?id="), "{location}");
    // It runs, although nobody listens.
    wait_for(SOON, "it runs", || {
        let running = api.sql("select count(*) from pg_stat_activity where backend_type = 'pg_sse call worker' and query like '%jobs%'")?;
        Ok((running != "0").then_some(()))
    })?;
    let mut first = listen(api.http, &location, None)?;
    assert_eq!(next(&mut first, 1)?, ["message begun 7"]);
    let mut second = listen(api.http, &location, None)?;
    assert_eq!(next(&mut second, 1)?, ["message begun 7"]);
    drop(first);
    open(&api)?;
    assert_eq!(next(&mut second, 3)?, ["message half", "message done", "sse.result null"]);
    let mut reloaded = listen(api.http, &location, None)?;
    assert_eq!(
        next(&mut reloaded, 4)?,
        ["message begun 7", "message half", "message done", "sse.result null"]
    );
    // One that asks for topics has them, too (C7.9).
    let mut topical = listen(api.http, &format!("{location}&topic=any"), None)?;
    assert_eq!(next(&mut topical, 1)?, ["message begun 7"]);
    Ok(())
}

// Attack: the execution id of somebody else's call, guessed, seen or chosen alike.
#[test]
fn nobody_follows_somebody_elses_call() -> Result<()> {
    let api = Api::new("spies")?;
    api.sql(&job("spies"))?;
    open(&api)?;
    let (alice, bob) = (token(&api, ALICE)?, token(&api, BOB)?);
    let of_alice = api.with(ALICE)?;
    let location = begin(&of_alice, "job", &json!({ "n": 1 }), &[("X-Execution-Id", "job 1")])?;
    ensure!(location.contains("?id=job%201&"), "{location}");
    let mut hers = listen(api.http, &location, Some(&alice))?;
    assert_eq!(next(&mut hers, 4)?.last().map(String::as_str), Some("sse.result null"));
    // The same id, chosen by another user and by nobody: each gets what is for all, and nothing else.
    let of_bob = api.with(BOB)?;
    let his = begin(&of_bob, "job", &json!({ "n": 2 }), &[("X-Execution-Id", "job 1")])?;
    api.sql("do $$ begin perform sse.publish('for all'); end $$")?;
    let mut stream = listen(api.http, &location, Some(&bob))?;
    assert_eq!(next(&mut stream, 1)?, ["message begun 2"]);
    let mut stream = listen(api.http, &his, None)?;
    assert_eq!(next(&mut stream, 1)?, ["message for all"]);
    let anonymous = begin(&api, "job", &json!({ "n": 3 }), &[("X-Execution-Id", "job 1")])?;
    ensure!(!anonymous.contains("job%201"), "{anonymous}");
    Ok(())
}

#[test]
fn two_calls_with_one_execution_id_are_followed_together() -> Result<()> {
    // Both run at once: such calls leave one worker free.
    let cluster = start(builder().setting("sse.call_workers", "3"))?;
    let api = Api::of(&cluster, "twins")?;
    api.sql(&job("twins"))?;
    let (alice, of_alice) = (token(&api, ALICE)?, api.with(ALICE)?);
    let location = begin(&of_alice, "job", &json!({ "n": 1 }), &[("X-Execution-Id", "both")])?;
    begin(&of_alice, "job", &json!({ "n": 2 }), &[("X-Execution-Id", "both")])?;
    let mut stream = listen(api.http, &location, Some(&alice))?;
    let mut begun = next(&mut stream, 2)?;
    begun.sort();
    assert_eq!(begun, ["message begun 1", "message begun 2"]);
    open(&api)?;
    let rest = next(&mut stream, 6)?;
    for (event, count) in [("message half", 2), ("message done", 2), ("sse.result null", 2)] {
        assert_eq!(rest.iter().filter(|each| *each == event).count(), count, "{rest:?}");
    }
    Ok(())
}

// Attack: a server has places for fewer workers than it is to have, and somebody begins as many long calls.
#[test]
fn calls_that_go_on_leave_one_of_the_workers_for_which_there_are_places() -> Result<()> {
    // The launcher of logical replication, the gateway, the catalog worker, and two call workers of the three
    // that are wanted.
    let cluster = start(builder().setting("max_worker_processes", "5").setting("sse.call_workers", "3"))?;
    let api = Api::of(&cluster, "places")?;
    api.sql(&format!(
        "{}; create function f() returns int language sql as 'select 1'; comment on function f() is 'HTTP POST'",
        job("places")
    ))?;
    cluster.comes_to(SOON, "both workers are there", "select call_workers from sse.stat_gateway", "2")?;
    let first = begin(&api, "job", &json!({ "n": 1 }), &[])?;
    let second = begin(&api, "job", &json!({ "n": 2 }), &[])?;
    let mut first = listen(api.http, &first, None)?;
    assert_eq!(next(&mut first, 1)?, ["message begun 1"]);
    assert_eq!(api.post("f", &json!({}))?.text(), "1");
    open(&api)?;
    // It still ran, and its time was not over.
    assert_eq!(next(&mut first, 1)?, ["message half"]);
    let mut second = listen(api.http, &second, None)?;
    assert_eq!(next(&mut second, 1)?, ["message begun 2"]);
    Ok(())
}

#[test]
fn every_end_is_told_also_of_a_call_that_publishes_nothing() -> Result<()> {
    let cluster = start(builder().setting("sse.call_timeout", "2s").setting("sse.max_event_size", "1kB"))?;
    let api = Api::of(&cluster, "ends")?;
    api.sql(
        "create function silent(n int) returns text language sql as $$ select repeat('x', n) $$;
         comment on function silent(int) is E'HTTP POST\\n@sse';
         create function fails() returns void language plpgsql as $$ begin raise exception 'my own words'; end $$;
         comment on function fails() is E'HTTP POST\\n@sse';
         create function slow() returns void language sql as 'select pg_sleep(600)';
         comment on function slow() is E'HTTP POST\\n@sse';
         create function plain() returns text language sql as $$ select 'plain' $$;
         comment on function plain() is 'HTTP POST';",
    )?;
    let end = |routine: &str, body: &Value| -> Result<EventStream> {
        let location = begin(&api, routine, body, &[])?;
        listen(api.http, &location, None)
    };
    for n in [1023, 1024] {
        let event = end("silent", &json!({ "n": n }))?.next(SOON)?;
        assert_eq!((event.event.as_str(), event.data.len()), ("sse.result", n));
    }
    let (status, problem) = error(&mut end("silent", &json!({ "n": 1025 }))?)?;
    assert_eq!(status, 500);
    ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains("max_event_size")), "{problem}");
    let (status, problem) = error(&mut end("fails", &json!({}))?)?;
    assert_eq!(
        (status, &problem["detail"], &problem["sqlstate"]),
        (400, &json!("my own words"), &json!("P0001"))
    );
    assert_eq!(error(&mut end("slow", &json!({}))?)?.0, 504);
    let mut slow = end("slow", &json!({}))?;
    wait_for(SOON, "it runs", || {
        let ended = cluster.sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where backend_type = 'pg_sse call worker' and state = 'active'")?;
        Ok((ended != "0").then_some(()))
    })?;
    let (status, _) = error(&mut slow)?;
    ensure!(matches!(status, 502 | 503), "{status}");
    // Without a stream nobody could follow it.
    let answer =
        api.http.request(&api.request("POST", "plain").header("Prefer", "respond-async").json(&json!({})))?;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "plain"));
    Ok(())
}

// A restart takes the window with it: what cannot be told any more is a gap.
#[test]
fn after_a_restart_the_stream_of_a_call_says_that_it_was_restarted() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "restarts")?;
    api.sql(&job("restarts"))?;
    let location = begin(&api, "job", &json!({ "n": 1 }), &[])?;
    let mut stream = listen(api.http, &location, None)?;
    assert_eq!(next(&mut stream, 1)?, ["message begun 1"]);
    cluster.restart(cluster::StopMode::Fast)?;
    common::calls::ready(&cluster)?;
    let api = Api::again(&cluster, "restarts")?;
    let mut stream = listen(api.http, &location, None)?;
    let gap = stream.next(SOON)?;
    ensure!(gap.event == "sse.gap" && gap.data.contains("restarted"), "{gap:?}");
    Ok(())
}
