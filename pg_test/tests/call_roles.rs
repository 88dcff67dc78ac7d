//! Whose rights a call has, and that it cannot get others (C7.2).
//!
//! Not for what else a call cannot do (`call_safety.rs`).

mod common;

use anyhow::{Result, ensure};
use cluster::http::Response;
use cluster::wait_for;
use common::calls::{Api, Findings, builder, start, told};
use common::{SOON, gateway_pid};
use serde_json::{Value, json};

#[test]
fn the_search_path_is_the_roles_own_and_cannot_be_asked_for() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "paths")?;
    api.sql(
        "create function get_path() returns text language sql stable as $$ select current_setting('search_path') $$; comment on function get_path() is 'HTTP';
         create function pinned() returns text language sql set search_path = pg_catalog as $$ select current_setting('search_path') $$; comment on function pinned() is 'HTTP GET';
         create function turned() returns text language plpgsql as $$ begin perform set_config('search_path', 'pg_temp', false); return current_setting('search_path'); end $$; comment on function turned() is 'HTTP POST';
         alter role app set search_path = paths, pg_catalog;",
    )?;
    // Applies to workers that start after it: at a reload.
    cluster.reload()?;
    wait_for(SOON, "the role's path is in force", || {
        Ok((api.get("get-path")?.text() == "paths, pg_catalog").then_some(()))
    })?;
    let request = api
        .request("GET", "get-path")
        .header("search_path", "evil")
        .header("Accept-Profile", "evil")
        .header("PGOPTIONS", "-c search_path=evil");
    assert_eq!(told(&api.http.request(&request)?), "200 paths, pg_catalog");
    assert_eq!(told(&api.get("pinned")?), "200 pg_catalog");
    assert_eq!(told(&api.post("turned", &json!({}))?), "200 pg_temp");
    for _ in 0..4 {
        assert_eq!(told(&api.get("get-path")?), "200 paths, pg_catalog");
    }
    Ok(())
}

/// What a superuser's function can do, and a call must not.
const ATTEMPTS: [&str; 20] = [
    "set role postgres",
    "set session authorization postgres",
    "alter role app superuser",
    "alter role app bypassrls",
    "create role evil superuser",
    "grant postgres to app",
    "load 'plpgsql'",
    "copy (select 1) to program 'cat'",
    "copy (select 1) to '/dev/null'",
    "select pg_read_file('postgresql.conf')",
    "select * from pg_authid",
    "set session_replication_role = replica",
    "select sse.issue_token('1')",
    "select sse.disconnect('1')",
    "select sse.publish('x')",
    "select pg_reload_conf()",
    "drop extension pg_sse",
    "create schema evil",
    "create table public.evil (x int)",
    "select lo_import('/dev/null')",
];

/// What a superuser can do, and neither a call nor a superuser's function in it.
const NOBODYS: [(&str, &str); 5] = [
    ("set sse.jwt_secret = 'another secret of thirty-two bytes'", "55P02"),
    ("alter system set sse.call_role = 'postgres'", "25001"),
    ("vacuum", "25001"),
    ("begin", "0A000"),
    ("commit", "0A000"),
];

#[test]
fn a_call_cannot_become_more_than_its_role() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "escapes")?;
    let make = |name: &str, attempt: &str| {
        api.sql(&format!(
            "create function {name}() returns text language plpgsql as $f$ begin execute $e${attempt}$e$; return 'done'; end $f$;
             comment on function {name}() is 'HTTP POST'"
        ))
    };
    let mut findings = Findings::default();
    let state_of = |answer: &Response| -> Result<Value> { Ok(answer.json()?["sqlstate"].clone()) };
    // The last one, because a superuser's ends the gateway.
    let kill = format!("select pg_terminate_backend({})", gateway_pid(&cluster)?);
    let attempts: Vec<&str> = ATTEMPTS.into_iter().chain([kill.as_str()]).collect();
    let denied = attempts.iter().map(|attempt| (*attempt, "42501"));
    // Background workers have no client to tell (utility.c).
    let others = [("listen evil", "0A000")];
    for (number, (attempt, wanted)) in denied.chain(others).chain(NOBODYS).enumerate() {
        make(&format!("f{number}"), attempt)?;
        let answer = api.post(&format!("f{number}"), &json!({}))?;
        findings.expect(&format!("{attempt}: {}", told(&answer)), state_of(&answer)?, json!(wanted));
    }
    findings.report()?;
    // The control: the same functions succeed when a superuser calls them.
    let mut findings = Findings::default();
    for (number, attempt) in attempts.into_iter().enumerate() {
        let reply = api.run(&format!("begin; select f{number}(); rollback"))?;
        findings.expect(attempt, reply.error().map(|error| error.text.clone()), None);
    }
    findings.report()
}

#[test]
fn a_call_that_gives_up_a_role_has_its_own_again() -> Result<()> {
    let api = Api::new("resetting")?;
    let mut findings = Findings::default();
    for (number, (attempt, wanted)) in [
        ("reset role", "app app off"),
        ("reset session authorization", "app app off"),
        ("reset all", "app app off"),
        ("set session authorization default", "app app off"),
        ("set role none", "app app off"),
    ]
    .into_iter()
    .enumerate()
    {
        api.sql(&format!(
            "create function r{number}() returns text language plpgsql as $f$ begin execute '{attempt}';
               return concat_ws(' ', current_user, session_user, current_setting('is_superuser')); end $f$;
             comment on function r{number}() is 'HTTP POST'"
        ))?;
        findings.expect(
            attempt,
            told(&api.post(&format!("r{number}"), &json!({}))?),
            format!("200 {wanted}"),
        );
    }
    findings.report()
}

#[test]
fn a_role_that_is_too_mighty_or_missing_is_refused_and_streams_go_on() -> Result<()> {
    let cluster = cluster::Cluster::builder().without_extension().setting("sse.call_role", "app").start()?;
    cluster.sql("create extension pg_sse")?;
    cluster.sql("create function f() returns int language sql as 'select 1'; comment on function f() is e'HTTP GET\\n@sse'")?;
    let http = cluster.http()?;
    let status = |wanted: u16, why: &str| {
        wait_for(SOON, &format!("{why}: {wanted}"), || {
            Ok((http.get("/api/f")?.status() == wanted).then_some(()))
        })
    };
    status(503, "missing")?;
    ensure!(http.events("/api/f/info")?.next(SOON)?.event == "sse.ready");
    cluster.sql("create role app login")?;
    cluster.reload()?;
    status(200, "made")?;
    for (make, undo, why) in [
        ("alter role app superuser", "alter role app nosuperuser", "a superuser"),
        ("alter role app bypassrls", "alter role app nobypassrls", "above row security"),
        ("alter role app nologin", "alter role app login", "may not log in"),
        ("grant postgres to app", "revoke postgres from app", "a member of a superuser"),
    ] {
        cluster.sql(make)?;
        cluster.reload()?;
        status(503, why)?;
        ensure!(http.events("/api/f/info")?.next(SOON)?.event == "sse.ready", "{why}");
        // Some refusals reach the workers first.
        wait_for(SOON, &format!("{why}: it is shown"), || {
            let calls = cluster.sql("select calls from sse.stat_gateway")?;
            Ok((calls.starts_with("refused") && calls.contains("app")).then_some(()))
        })?;
        cluster.sql(undo)?;
        cluster.reload()?;
        status(200, &format!("no longer {why}"))?;
    }
    let log = cluster.log()?;
    ensure!(log.matches("WARNING").count() <= 12, "the log is flooded:\n{log}");
    Ok(())
}
