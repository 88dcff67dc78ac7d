//! Calls that stream (C7.8): progress while the routine runs, its result at the end.
//!
//! Not for how requests ask for it, nor for what is refused: `crates/gateway/tests/call_streams.rs`.

mod common;

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::http::{Event, EventStream};
use cluster::{Cluster, StopMode, wait_for};
use common::SOON;
use common::calls::{Api, Findings, builder, start};
use common::tokens::{ALICE, BOB};
use serde_json::{Value, json};

fn stream(api: &Api<'_>, routine: &str, body: &Value) -> Result<EventStream> {
    let request = api.request("POST", routine).header("Accept", "text/event-stream").json(body);
    api.http.events_with(&request)?.begun()
}

/// All of a stream after `sse.ready`, as name and data of each event.
fn whole(mut stream: EventStream) -> Result<Vec<String>> {
    Ok(stream.wait_for_end(SOON)?.iter().map(said).collect())
}

fn said(event: &Event) -> String {
    format!("{} {}", event.event, event.data)
}

fn run(api: &Api<'_>, routine: &str, body: &Value) -> Result<Vec<String>> {
    whole(stream(api, routine, body)?)
}

/// Number of call workers that run something.
fn busy(cluster: &Cluster) -> Result<String> {
    cluster.sql(
        "select count(*) from pg_stat_activity where backend_type = 'pg_sse call worker' and state = 'active'",
    )
}

fn until_idle(cluster: &Cluster) -> Result<()> {
    wait_for(SOON, "the statement is cancelled", || Ok((busy(cluster)? == "0").then_some(())))
}

#[test]
fn progress_comes_while_the_routine_runs_and_the_result_last() -> Result<()> {
    let api = Api::new("progress")?;
    api.sql(
        "create table gate (open bool); insert into gate values (false);
         grant all on gate to app;
         create function work(n int) returns text language plpgsql volatile as $$
         begin
             raise info 'begun';
             while not (select open from progress.gate) loop perform pg_sleep(0.02); end loop;
             raise info 'half of %', n;
             return E'done\\nwith ' || n;
         end $$;
         comment on function work(int) is E'HTTP POST\\n@sse\\n@sse_delivery immediate\\n@sse_topic jobs\\n@sse_scope caller'",
    )?;
    let mut others = api.http.events(&api.path("work/info"))?;
    let mut stream = stream(&api, "work", &json!({ "n": 7 }))?;
    assert_eq!(stream.next(SOON)?.data, "begun");
    api.sql("update gate set open = true")?;
    assert_eq!(whole(stream)?, ["message half of 7", "sse.result done\nwith 7"]);
    // Scope `caller` is for nobody else.
    api.sql("do $$ begin perform sse.publish('for all', topic => 'jobs'); end $$")?;
    assert_eq!(others.next_payload(SOON)?.data, "for all");
    Ok(())
}

#[test]
fn events_come_as_they_are_sent_at_the_commit_or_at_once_and_those_rolled_back_never() -> Result<()> {
    let api = Api::new("delivery")?;
    api.sql(
        "create procedure steps() language plpgsql as $$
         begin
             raise info 'first'; commit;
             raise info 'lost'; rollback;
             raise info 'second'; commit;
             raise info 'last';
         end $$;
         comment on procedure steps() is E'HTTP POST\\n@sse';
         create function fails() returns void language plpgsql as $$
         begin
             raise info 'never';
             raise exception 'my own words';
         end $$;
         comment on function fails() is E'HTTP POST\\n@sse'",
    )?;
    let events = run(&api, "steps", &json!({}))?;
    assert_eq!(events, ["message first", "message second", "message last", "sse.result null"]);
    let events = run(&api, "fails", &json!({}))?;
    assert_eq!(events.len(), 1, "{events:?}");
    let problem: Value = serde_json::from_str(events[0].strip_prefix("sse.error ").unwrap_or(""))?;
    assert_eq!((&problem["status"], &problem["detail"]), (&json!(400), &json!("my own words")));
    assert_eq!(problem["sqlstate"], "P0001");
    Ok(())
}

// The leak that would be worst: what another call raises, or what this caller may not see.
#[test]
fn a_stream_has_what_its_own_call_raises_below_it_and_its_caller_may_receive() -> Result<()> {
    let api = Api::new("whose")?;
    api.sql(
        "create table t (x text); grant all on t to app;
         create function hears() returns trigger language plpgsql as $$ begin raise info 'trigger %', new.x; return new; end $$;
         comment on function hears() is E'@sse_publish\\n@sse_topic other\\n@sse_event changed';
         create trigger hears after insert on t for each row execute function hears();
         create function inner_one() returns void language plpgsql as $$
         begin
             raise info 'for staff' using hint = 'authorize role:staff';
             raise info 'for alice' using hint = 'authorize id:1';
             raise info 'for the like' using hint = 'matching';
             perform set_config('sse.execution_id', 'another', true);
             raise info 'under another id' using hint = 'all';
         end $$;
         comment on function inner_one() is '@sse_publish';
         create function work(x text, wait float8) returns text language plpgsql as $$
         begin
             raise info 'work %', x;
             insert into whose.t values (x);
             perform whose.inner_one();
             perform pg_sleep(wait);
             return x;
         end $$;
         comment on function work(text, float8) is E'HTTP POST\\n@sse'",
    )?;
    let (alice, bob) = (api.with(ALICE)?, api.with(BOB)?);
    let slow = stream(&alice, "work", &json!({ "x": "a", "wait": 0.5 }))?;
    let quick = run(&bob, "work", &json!({ "x": "b", "wait": 0 }))?;
    let common = |x: &str, own: &str| {
        [
            format!("message work {x}"),
            format!("changed trigger {x}"),
            format!("message {own}"),
            "message for the like".to_owned(),
            "message under another id".to_owned(),
            format!("sse.result {x}"),
        ]
    };
    assert_eq!(quick, common("b", "for staff"));
    assert_eq!(whole(slow)?, common("a", "for alice"));
    let anonymous = run(&api, "work", &json!({ "x": "c", "wait": 0 }))?;
    assert_eq!(
        anonymous,
        ["message work c", "changed trigger c", "message under another id", "sse.result c"]
    );
    Ok(())
}

#[test]
fn the_result_is_the_body_of_the_ordinary_answer() -> Result<()> {
    let api = Api::new("results")?;
    let mut findings = Findings::default();
    for (name, declared, body, wanted) in [
        ("a", "text", "select E'x\\n\\ny\\r\\nz'", "x\n\ny\nz"),
        ("b", "text", "select null::text", "null"),
        ("c", "text", "select ''", ""),
        ("d", "void", "select", "null"),
        ("e", "json", "select '{\"a\": 1}'::json", "{\"a\": 1}"),
        ("f", "table (x int, some_name text)", "select 1, 'y'", "[{\"x\":1,\"someName\":\"y\"}]"),
        ("g", "setof int", "select 1 where false", "[]"),
        ("h", "int", "select 7", "7"),
    ] {
        let body = if declared == "void" { "" } else { body };
        api.sql(&format!(
            "create function {name}() returns {declared} language sql as $f${body}$f$; comment on function {name}() is 'HTTP POST'"
        ))?;
        findings.expect(name, run(&api, name, &json!({}))?, vec![format!("sse.result {wanted}")]);
    }
    findings.report()
}

#[test]
fn a_caller_that_goes_away_has_its_statement_cancelled() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "gone")?;
    api.sql(
        "create function work() returns void language sql as 'select pg_sleep(600)'; comment on function work() is 'HTTP POST'",
    )?;
    drop(stream(&api, "work", &json!({}))?);
    until_idle(&cluster)?;
    // So it has when its user is disconnected in the middle: the stream ends cleanly, without a result.
    let alice = api.with(ALICE)?;
    let stream = stream(&alice, "work", &json!({}))?;
    cluster.sql("select sse.disconnect('1')")?;
    assert_eq!(whole(stream)?, Vec::<String>::new());
    until_idle(&cluster)
}

#[test]
fn a_call_that_takes_too_long_or_loses_its_worker_is_told_as_an_error() -> Result<()> {
    let cluster = start(builder().setting("sse.call_timeout", "1s"))?;
    let api = Api::of(&cluster, "ends")?;
    api.sql(
        "create function work() returns void language plpgsql as $$ begin raise info 'begun'; perform pg_sleep(600); end $$;
         comment on function work() is E'HTTP POST\\n@sse\\n@sse_delivery immediate'",
    )?;
    let status = |events: &[String]| -> Result<(u64, String)> {
        ensure!(events.len() == 2 && events[0] == "message begun", "{events:?}");
        let problem: Value = serde_json::from_str(events[1].strip_prefix("sse.error ").unwrap_or(""))?;
        Ok((problem["status"].as_u64().unwrap_or(0), problem["sqlstate"].as_str().unwrap_or("").to_owned()))
    };
    assert_eq!(status(&run(&api, "work", &json!({}))?)?, (504, "57014".to_owned()));
    let stream = stream(&api, "work", &json!({}))?;
    cluster.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'pg_sse call worker' and state = 'active'",
    )?;
    let events = whole(stream)?;
    let (status, _) = status(&events)?;
    assert!(matches!(status, 502 | 503), "{events:?}");
    Ok(())
}

#[test]
fn a_stop_ends_the_stream_with_an_error_and_cleanly() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "stops")?;
    api.sql(
        "create function work() returns void language sql as 'select pg_sleep(600)'; comment on function work() is 'HTTP POST'",
    )?;
    let stream = stream(&api, "work", &json!({}))?;
    // The stream begins a moment before its statement does.
    wait_for(SOON, "the statement runs", || Ok((busy(&cluster)? == "1").then_some(())))?;
    cluster.stop(StopMode::Fast)?;
    let events = whole(stream)?;
    // Its worker may have been told to leave before the gateway was.
    let is_told = |event: &String| event.starts_with("sse.error ") && event.contains("may have taken effect");
    ensure!(events.len() == 1 && is_told(&events[0]), "{events:?}");
    Ok(())
}

// Attack: results of a hundred megabytes, asked for many times over.
#[test]
fn a_large_result_arrives_whole_and_one_beyond_the_bound_is_an_error() -> Result<()> {
    let api = Api::new("large")?;
    api.sql(
        "create function big(n int) returns text language sql as $$ select repeat(E'0123456789abcde\\n', n) $$;
         comment on function big(int) is 'HTTP POST'",
    )?;
    let mut stream = stream(&api, "big", &json!({ "n": 2 << 20 }))?;
    let result = stream.next(Duration::from_secs(120))?;
    ensure!(result.event == "sse.result" && result.data.len() == 32 << 20, "{}", result.data.len());
    ensure!(result.data.ends_with("\n0123456789abcde\n"), "its end");
    stream.wait_for_end(SOON)?;
    let mut stream = self::stream(&api, "big", &json!({ "n": 100 << 16 }))?;
    let result = stream.next(Duration::from_secs(120))?;
    ensure!(result.event == "sse.error" && result.data.contains("\"status\":5"), "{}", said(&result));
    stream.wait_for_end(SOON)?;
    Ok(())
}
