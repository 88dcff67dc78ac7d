//! What changes while routines are called: types, tables, views, schemas, routines (C2.4, C7.4).
//!
//! Not for roles (`call_workers.rs`), nor for the URLs of streams (`endpoints.rs`).

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, PATIENCE, wait_for};
use common::calls::{Api, Findings, builder, start, told};
use common::{SOON, has_extension};
use serde_json::json;

/// Asks until the answer is `wanted`; other answers before are no failure (C7.4).
fn becomes(api: &Api<'_>, routine: &str, wanted: &str) -> Result<()> {
    let mut last = String::new();
    wait_for(SOON, &format!("{routine} is answered with {wanted}"), || {
        let answer = api.get(routine)?;
        last = told(&answer);
        ensure!(answer.status() < 500, "on the way");
        Ok((last == wanted).then_some(()))
    })
    .with_context(|| format!("the last answer was {last}"))
}

// Long because it is one list of changes.
#[test]
fn a_type_that_changes_in_whatever_way_is_taken_in() -> Result<()> {
    let api = Api::new("types")?;
    api.run("create schema types_a; create schema types_b; grant usage on schema types_a, types_b to app")?
        .ok()?;
    let mut findings = Findings::default();
    for change in [
        (
            "a column's type",
            "create table item (id int, name text); insert into item values (1, 'pen'); grant select on item to app;
             create function get_items() returns setof item language sql stable as 'select * from types.item'; comment on function get_items() is 'HTTP GET'",
            "get-items",
            r#"200 [{"id":1,"name":"pen"}]"#,
            "alter table item alter column id type bigint; alter table item add column price int",
            r#"200 [{"id":1,"name":"pen","price":null}]"#,
        ),
        (
            "a column that goes and comes again",
            "create table again (id int, name text); insert into again values (1, 'pen'); grant select on again to app;
             create function get_again() returns setof again language plpgsql as 'begin return query select * from types.again; end'; comment on function get_again() is 'HTTP GET'",
            "get-again",
            r#"200 [{"id":1,"name":"pen"}]"#,
            "alter table again drop column name; alter table again add column name int",
            r#"200 [{"id":1,"name":null}]"#,
        ),
        (
            "one row",
            "create table single (id int); insert into single values (1); grant select on single to app;
             create function get_single() returns single language sql volatile as 'select * from types.single'; comment on function get_single() is 'HTTP GET'",
            "get-single",
            r#"200 {"id":1}"#,
            "alter table single alter column id type text",
            r#"200 {"id":"1"}"#,
        ),
        (
            "a composite type",
            "create type pair as (a int, b int);
             create function get_pair() returns pair language plpgsql as $f$ declare p types.pair; begin p.a := 1; return p; end $f$; comment on function get_pair() is 'HTTP GET'",
            "get-pair",
            r#"200 {"a":1,"b":null}"#,
            "alter type pair alter attribute b type text, add attribute c int",
            r#"200 {"a":1,"b":null,"c":null}"#,
        ),
        (
            "a view",
            "create view vv as select 1 as item_id; grant select on vv to app;
             create function vall() returns setof vv language sql stable as 'select * from types.vv'; comment on function vall() is 'HTTP GET'",
            "vall",
            r#"200 [{"itemId":1}]"#,
            "create or replace view vv as select 1 as item_id, 2.5 as unit_price",
            r#"200 [{"itemId":1,"unitPrice":2.5}]"#,
        ),
        (
            "a column that goes with its type",
            "create type kind as enum ('k'); create table t2 (id int, k kind, the_note text); insert into t2 values (1, 'k', 'n'); grant select on t2 to app;
             create function t2all() returns setof t2 language sql stable as 'select * from types.t2'; comment on function t2all() is 'HTTP GET'",
            "t2all",
            r#"200 [{"id":1,"k":"k","theNote":"n"}]"#,
            "drop type kind cascade",
            r#"200 [{"id":1,"theNote":"n"}]"#,
        ),
        (
            "a type's schema",
            "create type types_a.mood as enum ('ok');
             create function mood(m types_a.mood) returns text language sql stable as 'select m::text'; comment on function mood(types_a.mood) is 'HTTP GET'",
            "mood?m=ok",
            "200 ok",
            "alter type types_a.mood set schema types_b",
            "200 ok",
        ),
        (
            "a type's name",
            "create type weather as enum ('wet');
             create function weather(w weather) returns text language sql stable as 'select w::text'; comment on function weather(weather) is 'HTTP GET'",
            "weather?w=wet",
            "200 wet",
            "alter type weather rename to climate",
            "200 wet",
        ),
        (
            "a schema's name",
            "create schema types_c; grant usage on schema types_c to app; create type types_c.size as enum ('xl');
             create function size(s types_c.size) returns text language sql stable as 'select s::text'; comment on function size(types_c.size) is 'HTTP GET'",
            "size?s=xl",
            "200 xl",
            "alter schema types_c rename to types_d",
            "200 xl",
        ),
        (
            "a domain's base",
            "create type deep as (n int); create table outer_t (d deep); insert into outer_t values (row(1)); grant select on outer_t to app;
             create function get_outer() returns setof outer_t language sql stable as 'select * from types.outer_t'; comment on function get_outer() is 'HTTP GET'",
            "get-outer",
            r#"200 [{"d":{"n":1}}]"#,
            "drop table outer_t cascade; alter type deep add attribute m int;
             create table outer_t (d deep); insert into outer_t values (row(1, 2)); grant select on outer_t to app;
             create function get_outer() returns setof outer_t language sql stable as 'select * from types.outer_t'; comment on function get_outer() is 'HTTP GET'",
            r#"200 [{"d":{"n":1,"m":2}}]"#,
        ),
    ] {
        is_taken_in(&api, &mut findings, change)?;
    }
    findings.report()
}

#[test]
fn an_extension_that_moves_to_another_schema_is_taken_in() -> Result<()> {
    if !has_extension(env!("CARGO_CRATE_NAME"), "citext")? {
        return Ok(());
    }
    let api = Api::new("moves")?;
    api.run("create schema moves_a; create schema moves_b; grant usage on schema moves_a, moves_b to app; create extension citext schema moves_a")?.ok()?;
    let mut findings = Findings::default();
    let change = (
        "an extension's schema",
        "create function fold(c moves_a.citext) returns text language sql stable as 'select c::text'; comment on function fold(moves_a.citext) is 'HTTP GET'",
        "fold?c=X",
        "200 X",
        "alter extension citext set schema moves_b",
        "200 X",
    );
    is_taken_in(&api, &mut findings, change)?;
    findings.report()
}

/// Name, statements before, routine, answer, statements that change something, answer then.
type Change = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

fn is_taken_in(api: &Api<'_>, findings: &mut Findings, change: Change) -> Result<()> {
    let (name, setup, request, before, change, after) = change;
    api.sql(setup)?;
    // Every worker has a plan.
    for _ in 0..6 {
        findings.expect(name, told(&api.get(request)?), before.to_owned());
    }
    api.sql(change)?;
    if let Err(error) = becomes(api, request, after) {
        findings.expect(name, format!("{error:#}"), after.to_owned());
    }
    Ok(())
}

/// How often the routines were read, in the log of a server with `log_min_messages = debug1`.
fn readings(cluster: &Cluster) -> Result<usize> {
    Ok(cluster.log()?.matches("starting background worker process \"pg_sse catalog\"").count())
}

/// Waits until the routines are not read any more.
fn quiet_readings(cluster: &Cluster) -> Result<usize> {
    let mut last = (readings(cluster)?, Instant::now());
    wait_for(SOON, "the routines are read and nothing changes", || {
        let now = readings(cluster)?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok((last.1.elapsed() > Duration::from_secs(1)).then_some(now))
    })
}

/// Attack: any role may make temporary objects; that must not keep a superuser's worker reading.
#[test]
fn what_no_routine_rests_on_does_not_make_the_catalog_be_read() -> Result<()> {
    let cluster = start(builder().setting("log_min_messages", "debug1"))?;
    let api = Api::of(&cluster, "temporary")?;
    api.sql(
        "create table used (id int); grant select on used to app;
         create function get_used() returns setof used language sql stable as 'select * from temporary.used'; comment on function get_used() is 'HTTP GET';
         create role nobody_in_particular",
    )?;
    ensure!(api.text("get-used")? == "[]");
    let before = quiet_readings(&cluster)?;
    let mut session = api.session()?;
    session.run("set role nobody_in_particular")?.ok()?;
    for round in 0..40 {
        session
            .run(&format!(
                "create temp table t{round} (id int primary key, name text); insert into t{round} values (1); analyze t{round};
                 create function pg_temp.f() returns int language sql as 'select 1'; comment on function pg_temp.f() is '@sse';
                 drop function pg_temp.f(); create type pg_temp.p as (a int); drop type pg_temp.p; drop table t{round}"
            ))?
            .ok()?;
    }
    session.run("reset role; create schema elsewhere; create table elsewhere.t (id int); alter table elsewhere.t add column c int; drop schema elsewhere cascade")?.ok()?;
    session.run("insert into used select generate_series(1, 1000); analyze used; vacuum used")?.ok()?;
    session.run("create function unannotated() returns int language sql as 'select 1'; drop function unannotated()")?.ok()?;
    let after = quiet_readings(&cluster)?;
    ensure!(after == before, "{} readings", after - before);
    // And reading still works.
    api.sql("alter table used add column name text")?;
    ensure!(quiet_readings(&cluster)? > after, "a change of what is used was not read");
    Ok(())
}

/// A request, and the answers that are right after a COMMIT that has changed what it asks for.
fn at_once(
    api: &Api<'_>,
    findings: &mut Findings,
    what: &str,
    request: &cluster::http::Request,
    right: &[&str],
) -> Result<()> {
    let answer = told(&api.http.request(request)?);
    if !right.iter().any(|right| answer.starts_with(right)) {
        findings.expect(what, answer, right.join(" or "));
    }
    Ok(())
}

// Long because it is one list of calls before and after one commit.
#[test]
fn right_behind_a_commit_a_call_is_answered_by_the_routine_that_is_there() -> Result<()> {
    let api = Api::new("behind")?;
    let mut session = api.session()?;
    let mut findings = Findings::default();
    for round in 0..5 {
        session.run(&format!(
            "begin; create function sig{round}(a int) returns int language sql as 'select 1'; comment on function sig{round}(int) is 'HTTP GET';
             create function gone{round}() returns int language sql as 'select 1'; comment on function gone{round}() is 'HTTP GET';
             create function verb{round}(a int) returns int language sql as 'select a'; comment on function verb{round}(int) is 'HTTP GET';
             create type kind{round} as enum ('k'); create function kind{round}(k kind{round}) returns text language sql as 'select k::text'; comment on function kind{round}(kind{round}) is 'HTTP POST'; commit",
        ))?.ok()?;
        let get = |routine: &str| api.request("GET", routine);
        let post = |routine: &str, body: &serde_json::Value| api.request("POST", routine).json(body);
        for _ in 0..4 {
            at_once(&api, &mut findings, "before", &get(&format!("sig{round}?a=1")), &["200 1"])?;
            at_once(&api, &mut findings, "before", &get(&format!("gone{round}")), &["200 1"])?;
            at_once(&api, &mut findings, "before", &get(&format!("verb{round}?a=3")), &["200 3"])?;
            at_once(
                &api,
                &mut findings,
                "before",
                &post(&format!("kind{round}"), &json!({"k": "k"})),
                &["200 k"],
            )?;
        }
        session.run(&format!(
            "begin; drop function sig{round}(int); create function sig{round}(a int, b int) returns int language sql as 'select a + b'; comment on function sig{round}(int, int) is 'HTTP GET'; commit"
        ))?.ok()?;
        at_once(&api, &mut findings, "a new parameter", &get(&format!("sig{round}?a=1&b=2")), &["200 3"])?;
        session.run(&format!("drop function gone{round}()"))?.ok()?;
        at_once(&api, &mut findings, "a dropped routine", &get(&format!("gone{round}")), &["404"])?;
        session.run(&format!("comment on function verb{round}(int) is 'HTTP POST'"))?.ok()?;
        at_once(
            &api,
            &mut findings,
            "another method",
            &post(&format!("verb{round}"), &json!({"a": 4})),
            &["200 4"],
        )?;
        session.run(&format!("alter type kind{round} rename to sort{round}"))?.ok()?;
        at_once(
            &api,
            &mut findings,
            "a type's new name",
            &post(&format!("kind{round}"), &json!({"k": "k"})),
            &["200 k"],
        )?;
        session.run(&format!("alter function kind{round}(sort{round}) rename to sort{round}"))?.ok()?;
        at_once(
            &api,
            &mut findings,
            "a routine's new name",
            &post(&format!("kind{round}"), &json!({"k": "k"})),
            &["404"],
        )?;
        // A body that is not kept.
        let long = "k".repeat(20_000);
        session.run(&format!("drop function sort{round}(sort{round})"))?.ok()?;
        at_once(
            &api,
            &mut findings,
            "a long body",
            &post(&format!("sort{round}"), &json!({ "k": long })),
            &["400", "404", "409"],
        )?;
    }
    findings.report()
}

#[test]
fn while_columns_change_all_the_time_no_call_fails() -> Result<()> {
    let api = Api::new("steady")?;
    api.sql(
        "create table item (id int, name text); insert into item select i, 'n' from generate_series(1, 5) i; grant select on item to app;
         create function get_items() returns setof item language sql stable as 'select * from steady.item'; comment on function get_items() is 'HTTP GET';
         create function get_more() returns setof item language plpgsql as 'begin return query select * from steady.item; end'; comment on function get_more() is 'HTTP GET'",
    )?;
    let over = AtomicBool::new(false);
    let (failed, answered) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    thread::scope(|scope| -> Result<()> {
        for caller in 0..3 {
            let (api, over, failed, answered) = (&api, &over, &failed, &answered);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    let routine = if caller == 0 { "get-more" } else { "get-items" };
                    match api.get(routine) {
                        Ok(answer) if answer.status() == 200 => drop(answered.fetch_add(1, Relaxed)),
                        Ok(answer) if answer.status() < 500 => {}
                        Ok(answer) => {
                            failed.lock().unwrap_or_else(PoisonError::into_inner).push(told(&answer));
                        }
                        Err(error) => {
                            failed.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
                        }
                    }
                }
            });
        }
        // Five seconds, and on a busy machine until there were calls enough.
        let (began, mut session) = (Instant::now(), api.session()?);
        let goes_on = || match answered.load(Relaxed) {
            0..=20 => began.elapsed() < PATIENCE,
            _ => began.elapsed() < Duration::from_secs(5),
        };
        let mut outcome = Ok(());
        while goes_on() && outcome.is_ok() {
            outcome = [
                "alter column id type bigint",
                "add column extra int",
                "alter column id type int",
                "drop column extra",
            ]
            .iter()
            .try_for_each(|change| session.run(&format!("alter table item {change}"))?.ok().map(drop));
        }
        over.store(true, Relaxed);
        outcome
    })?;
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "{} failed, the first: {}", failed.len(), failed[0]);
    ensure!(answered.load(Relaxed) > 20, "only {} calls", answered.load(Relaxed));
    Ok(())
}

#[test]
fn what_a_routine_itself_does_not_find_is_its_own_error_and_it_runs_once() -> Result<()> {
    // A cluster of its own: a failure is tried again if the change of something else may have caused it.
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "own")?;
    api.sql(
        "create sequence runs; grant usage on runs to app;
         create function ask() returns void language plpgsql as $f$ begin perform nextval('own.runs'); execute 'select own.nothing_of_this_name()'; end $f$;
         comment on function ask() is 'HTTP POST'",
    )?;
    let answer = api.post("ask", &json!({}))?;
    ensure!(answer.status() == 500 && answer.text().contains("42883"), "{}", told(&answer));
    ensure!(api.sql("select last_value from own.runs")? == "1", "it ran more than once");
    Ok(())
}
