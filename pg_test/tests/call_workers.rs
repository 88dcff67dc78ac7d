//! The life of call workers (C7.2): what ends them, what replaces them, what they take in while they run; and
//! they leave nothing behind.
//!
//! Not for what a call may do (`call_safety.rs`), nor for limits (`call_limits.rs`).

mod common;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use cluster::{Cluster, PATIENCE, SessionOptions, wait_for};
use common::SOON;
use common::calls::{Api, Findings, builder, ready, start, told};
use serde_json::{Value, json};

const OF_CALLS: &str = "from pg_stat_activity where backend_type = 'pg_sse call worker'";

/// The process that runs a call now, in which it waits for this.
fn waits_until_one_runs(cluster: &Cluster, wait_event: &str) -> Result<u32> {
    wait_for(SOON, "a call runs", || {
        let sql = format!("select pid {OF_CALLS} and state = 'active' and wait_event = '{wait_event}'");
        Ok(cluster.sql(&sql)?.parse().ok())
    })
}

#[test]
fn every_setting_is_after_a_call_what_it_was_before() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "settings")?;
    api.sql(
        "create function get_settings() returns jsonb language sql as
           $$ select jsonb_object_agg(name, concat_ws(' ', setting, source)) from pg_settings $$;
         comment on function get_settings() is 'HTTP GET';
         create procedure flip(how text) language plpgsql as $f$ declare s record; other text; count int := 0; begin
           for s in select * from pg_settings where context = 'user' and name !~ 'timeout|^transaction_|role|session_auth|client_encoding|exit_on_error' loop
             other := case s.vartype
               when 'bool' then case s.setting when 'on' then 'off' else 'on' end
               when 'enum' then (select e from unnest(s.enumvals) e where e <> s.setting limit 1)
               when 'integer' then case when s.setting::bigint + 1 <= s.max_val::bigint then (s.setting::bigint + 1)::text else (s.setting::bigint - 1)::text end
               when 'real' then s.max_val
               else case s.name when 'TimeZone' then 'Asia/Tokyo' when 'search_path' then 'pg_catalog' when 'DateStyle' then 'German' else s.setting end end;
             begin perform set_config(s.name, other, false); exception when others then null; end;
           end loop;
           if how = 'error' then raise exception 'flipped'; end if;
           if how = 'commit' then set default_transaction_read_only = off; commit; raise exception 'flipped'; end if;
         end $f$;
         comment on procedure flip(text) is 'HTTP POST';
         create function count_flipped(how text) returns int language plpgsql as $f$ declare before jsonb; begin
           select jsonb_object_agg(name, setting) into before from pg_settings;
           call settings.flip('');
           return (select count(*) from pg_settings where before ->> name is distinct from setting); end $f$;
         comment on function count_flipped(text) is 'HTTP POST';",
    )?;
    let settings = || api.get("get-settings")?.json();
    let before = settings()?;
    let flipped: u32 = api.post("count-flipped", &json!({ "how": "" }))?.text().parse()?;
    ensure!(flipped > 70, "only {flipped} settings were changed, so the test says little");
    let mut findings = Findings::default();
    for how in ["success", "error", "commit"] {
        let answer = api.post("flip", &json!({ "how": how }))?;
        findings.expect(how, answer.status(), if how == "success" { 204 } else { 400 });
        let after = settings()?;
        for (name, value) in before.as_object().context("no settings")? {
            findings.expect(&format!("{name} after {how}"), &after[name], value);
        }
    }
    findings.report()
}

/// Attack: a role gets more rights while workers run as it; no call may have them for a moment.
#[test]
fn no_call_runs_as_a_superuser_when_the_role_becomes_one() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "mighty")?;
    api.sql(
        "create function f() returns text language plpgsql as $$ begin perform 1 from pg_authid; return 'mighty';
           exception when insufficient_privilege then return 'weak'; end $$;
         comment on function f() is 'HTTP POST';",
    )?;
    let weak = || {
        wait_for(SOON, "calls run, as a weak role", || {
            let answer = api.post("f", &json!({}))?;
            ensure!(answer.text() != "mighty", "a call ran as a superuser");
            Ok((answer.text() == "weak").then_some(()))
        })
    };
    for (make, undo) in [
        ("alter role app superuser", "alter role app nosuperuser"),
        ("create role chief superuser; grant chief to app", "revoke chief from app"),
    ] {
        weak()?;
        cluster.sql(make)?;
        for _ in 0..20 {
            let answer = api.post("f", &json!({}))?;
            assert_eq!(answer.status(), 503, "after {make}: {}", told(&answer));
        }
        wait_for(SOON, "the view says why", || {
            let state = cluster.sql("select calls from sse.stat_gateway")?;
            Ok((state.starts_with("refused: ") && state.contains("superuser")).then_some(()))
        })?;
        // Mended from another database, too.
        cluster.sql_in("template1", undo)?;
        weak()?;
    }
    Ok(())
}

#[test]
fn a_gateway_that_is_terminated_takes_its_running_calls_with_it_and_comes_back() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "orphans")?;
    api.sql(
        "create function sleep() returns void language sql as 'select pg_sleep(60)'; comment on function sleep() is 'HTTP POST'",
    )?;
    for _ in 0..2 {
        let api = Api::again(&cluster, "orphans")?;
        let _running = api.begin("sleep", &json!({}))?;
        let orphan = waits_until_one_runs(&cluster, "PgSleep")?;
        let gateway = cluster.sql("select pid from sse.stat_gateway")?;
        cluster.sql(&format!("select pg_terminate_backend({gateway})"))?;
        wait_for(SOON, "the call has ended", || {
            let left = cluster.sql(&format!("select count(*) {OF_CALLS} and pid = {orphan}"))?;
            Ok((left == "0").then_some(()))
        })?;
        wait_for(SOON, "another gateway serves", || {
            let serving = cluster
                .sql(&format!("select pid <> {gateway} and state = 'serving' from sse.stat_gateway"))?;
            Ok((serving == "t").then_some(()))
        })?;
        ready(&cluster)?;
    }
    Ok(())
}

#[test]
fn a_worker_that_is_killed_costs_a_restart_and_calls_go_on() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "killed")?;
    api.sql(
        "create function sleep() returns void language sql as 'select pg_sleep(60)'; comment on function sleep() is 'HTTP POST'",
    )?;
    let _running = api.begin("sleep", &json!({}))?;
    let pid = waits_until_one_runs(&cluster, "PgSleep")?;
    cluster.kill_backend(pid)?;
    wait_for(SOON * 2, "the server has begun anew", || {
        let left = cluster.sql(&format!("select count(*) {OF_CALLS} and pid = {pid}")).ok();
        Ok((left.as_deref() == Some("0")).then_some(()))
    })?;
    ready(&cluster)
}

#[test]
fn idle_workers_are_replaced_on_reload_and_running_calls_are_not_cut() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "reloading")?;
    api.sql(
        "create function get_memory() returns text language sql stable as $$ select current_setting('work_mem') $$;
         comment on function get_memory() is 'HTTP';
         create function locked() returns text language sql as $$ select pg_advisory_xact_lock(4711); select 'whole'::text $$;
         comment on function locked() is e'HTTP POST\\n@sse';",
    )?;
    assert_eq!(api.text("get-memory")?, "4MB");
    cluster.sql("alter role app set work_mem = '7MB'")?;
    assert_eq!(api.text("get-memory")?, "4MB", "no session sees that before it is begun anew");
    let mut holder = cluster.session()?;
    holder.run("select pg_advisory_lock(4711)")?.ok()?;
    let mut running = api.begin("locked", &json!({}))?;
    waits_until_one_runs(&cluster, "advisory")?;
    cluster.reconfigure("sse.response_headers", r#"{"X-Reloaded": "yes"}"#)?;
    let stream = Request::new("HEAD", &format!("{}/info", api.path("locked")));
    wait_for(SOON, "the gateway has reloaded, workers first", || {
        Ok(api.http.request(&stream)?.header("x-reloaded").map(str::to_owned))
    })?;
    holder.run("select pg_advisory_unlock(4711)")?.ok()?;
    let answer = running.response("POST")?;
    assert_eq!(told(&answer), "200 whole");
    wait_for(SOON, "the role's new setting holds", || Ok((api.text("get-memory")? == "7MB").then_some(())))
}

#[test]
fn with_too_few_places_the_routines_are_read_all_the_same_and_the_log_says_the_number() -> Result<()> {
    // The launcher of logical replication, the gateway, the catalog worker, and one call worker of the two
    // that are wanted.
    let cluster = start(builder().setting("max_worker_processes", "4"))?;
    ensure!(cluster.log()?.contains("Set it to at least 5"), "{}", cluster.log()?);
    let api = Api::of(&cluster, "narrow")?;
    api.sql(
        "create function f() returns int language sql as 'select 1'; comment on function f() is 'HTTP POST'",
    )?;
    assert_eq!(api.post("f", &json!({}))?.text(), "1");
    assert_eq!(cluster.sql("select calls, call_workers from sse.stat_gateway")?, "ready|1");
    Ok(())
}

#[test]
fn a_changed_row_type_is_seen_within_a_second() -> Result<()> {
    let api = Api::new("shapes")?;
    api.sql(
        "create table t (one_column int); insert into t values (1); grant select on t to app;
         create function get_t() returns setof t language sql stable as 'select * from shapes.t';
         comment on function get_t() is 'HTTP';
         create type pair as (a_left int); create function get_pair() returns pair language sql stable as 'select row(1)::shapes.pair';
         comment on function get_pair() is 'HTTP';",
    )?;
    let answers = |routine: &'static str, wanted: Value| {
        wait_for(SOON, &format!("{routine} gives {wanted}"), || {
            let answer = api.get(routine)?;
            Ok((answer.status() == 200 && answer.json()? == wanted).then_some(()))
        })
    };
    answers("get-t", json!([{ "oneColumn": 1 }]))?;
    api.sql("alter table t rename column one_column to other_column")?;
    answers("get-t", json!([{ "otherColumn": 1 }]))?;
    api.sql("alter table t add column third_column int default 3")?;
    answers("get-t", json!([{ "otherColumn": 1, "thirdColumn": 3 }]))?;
    answers("get-pair", json!({ "aLeft": 1 }))?;
    api.sql("alter type pair rename attribute a_left to a_right")?;
    answers("get-pair", json!({ "aRight": 1 }))
}

#[test]
fn the_served_database_can_be_copied_and_only_its_owner_has_workers_leave() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "copied")?;
    api.sql("create function pid() returns int language sql as 'select pg_backend_pid()'; comment on function pid() is 'HTTP POST'")?;
    cluster.sql("create role stranger login createdb")?;
    let workers = || cluster.sql(&format!("select string_agg(pid::text, ' ' order by pid) {OF_CALLS}"));
    ready(&cluster)?;
    let before = wait_for(SOON, "two workers", || {
        let pids = workers()?;
        Ok((pids.split(' ').count() == 2).then_some(pids))
    })?;
    let stranger = SessionOptions {
        user: "stranger".to_owned(),
        database: "template1".to_owned(),
        ..SessionOptions::default()
    };
    for attempt in [
        "drop database postgres",
        "alter database postgres rename to mine",
        "create database mine template postgres",
    ] {
        ensure!(cluster.session_with(&stranger)?.run(attempt)?.error().is_some(), "{attempt}");
    }
    assert_eq!(workers()?, before, "a stranger's attempt");
    cluster.sql_in("template1", "create database copy template postgres")?;
    ready(&cluster)?;
    ensure!(workers()? != before, "the workers stayed, so the copy was no test");
    cluster.sql_in("template1", "alter database postgres connection limit 50; drop database copy")?;
    Ok(())
}

#[test]
fn calls_of_workers_that_are_terminated_are_run_once_or_lost_and_counted() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "handed")?;
    api.sql(
        "create table ran (number int primary key); grant all on ran to app;
         create function once(number int) returns int language sql as 'insert into handed.ran values (number) returning number';
         comment on function once(int) is 'HTTP POST';",
    )?;
    // Terminated from outside again and again: a call that had begun gets a 502; every other call is run,
    // once.
    let done = thread::scope(|scope| -> Result<Vec<(u32, u16)>> {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let api = &api;
                scope.spawn(move || -> Result<Vec<(u32, u16)>> {
                    let call =
                        |number: u32| Ok((number, api.post("once", &json!({ "number": number }))?.status()));
                    let has_lost = || -> Result<bool> {
                        Ok(api.cluster.sql("select calls_lost_total > 0 from sse.stat_gateway")? == "t")
                    };
                    let mut done: Vec<(u32, u16)> =
                        (0..100).map(|round| call(caller * 1_000_000 + round)).collect::<Result<_>>()?;
                    // However fast the calls are: a run in which none was hit proves nothing.
                    let until = Instant::now() + PATIENCE;
                    while !has_lost()? && Instant::now() < until {
                        done.push(call(caller * 1_000_000 + done.len() as u32)?);
                    }
                    Ok(done)
                })
            })
            .collect();
        while callers.iter().any(|caller| !caller.is_finished()) {
            cluster.sql(&format!("select pg_terminate_backend(pid) {OF_CALLS} order by random() limit 1"))?;
            thread::sleep(Duration::from_millis(10));
        }
        let mut done = Vec::new();
        for caller in callers {
            done.extend(caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
        }
        Ok(done)
    })?;
    ensure!(done.iter().all(|(_, status)| [200, 502].contains(status)), "{done:?}");
    let ran = cluster.sql("select string_agg(number::text, ' ') from handed.ran")?;
    let ran: Vec<u32> = ran.split(' ').filter_map(|number| number.parse().ok()).collect();
    for (number, status) in &done {
        ensure!(*status != 200 || ran.contains(number), "{number} was answered and is not there");
    }
    let lost = done.iter().filter(|(_, status)| *status == 502).count();
    ensure!(lost > 0 && lost < done.len(), "{lost} of {} were lost", done.len());
    assert_eq!(cluster.sql("select calls_lost_total from sse.stat_gateway")?, lost.to_string());
    Ok(())
}

#[test]
fn a_call_of_which_nothing_has_run_goes_to_another_worker() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "handed")?;
    api.sql(
        "create table ran (pid int); grant all on ran to app;
         create function once() returns int language sql as 'insert into handed.ran values (pg_backend_pid()) returning pid';
         comment on function once() is 'HTTP POST';",
    )?;
    let old: u32 = api.post("once", &json!({}))?.text().parse()?;
    // The worker is given the call, and is told to leave before it can look at it.
    let frozen = cluster.freeze(old)?;
    let mut connection = api.begin("once", &json!({}))?;
    cluster.comes_to(SOON, "the call is its", "select calls_running from sse.stat_gateway", "1")?;
    cluster.sql(&format!("select pg_terminate_backend({old})"))?;
    drop(frozen);
    let answer = connection.response("POST")?;
    let new: u32 = answer.text().parse().with_context(|| told(&answer))?;
    ensure!(new != old, "{new} has run it, which was told to leave");
    assert_eq!(cluster.sql("select string_agg(pid::text, ' ') from handed.ran")?, format!("{old} {new}"));
    assert_eq!(cluster.sql("select calls_lost_total from sse.stat_gateway")?, "0");
    Ok(())
}

#[test]
fn without_a_role_there_are_no_calls_and_whoever_looks_for_one_is_told_why() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql(
        "create function f() returns int language sql as 'select 1'; comment on function f() is e'HTTP GET\\n@sse';
         create function g(a int) returns int language sql as 'select 1'; comment on function g(int) is 'HTTP';
         create function silent() returns int language sql as 'select 1'",
    )?;
    let http = cluster.http()?;
    wait_for(SOON, "the stream is there", || Ok(http.events("/api/f/info").ok()))?;
    for path in ["/api/f", "/api/g", "/api/nothing"] {
        let answer = http.get(path)?;
        assert_eq!(answer.status(), 404);
        ensure!(answer.text().contains("sse.call_role"), "{path}: {}", answer.text());
    }
    assert_eq!(cluster.sql("select calls, call_workers from sse.stat_gateway")?, "off|0");
    let listed = "select concat_ws(' ', routine, kind, method, url, problem ~ 'calls are off.*sse.call_role') from sse.endpoints order by 1";
    let rows = [
        "f() call GET /api/f t",
        "f() publisher and stream GET /api/f/info",
        "g(integer) call POST /api/g t",
    ];
    assert_eq!(cluster.sql(listed)?, rows.join("\n"));
    assert_eq!(cluster.sql("select sse.check('g(int)'::regprocedure)")?, "", "no mistake of the comment");
    assert_eq!(cluster.sql("select count(*) from pg_stat_activity where backend_type ~ 'call'")?, "0");
    ensure!(!cluster.log()?.contains("call"), "{}", cluster.log()?);
    Ok(())
}

#[test]
fn the_endpoints_say_how_a_routine_is_called_and_why_not() -> Result<()> {
    let api = Api::new("listed")?;
    api.sql(
        "create function f(_a int) returns int language sql as 'select _a'; comment on function f(int) is e'HTTP\\n@sse';
         create procedure only_called() language sql as ''; comment on procedure only_called() is 'HTTP PUT /listed/own';
         create function g() returns record language sql as 'select 1, 2'; comment on function g() is 'HTTP';
         create function h() returns int language sql as 'select 1'; revoke execute on function h() from public; comment on function h() is 'HTTP';",
    )?;
    let rows = |routine: &str| {
        api.sql(&format!(
            "select string_agg(concat_ws(' ', kind, method, url, problem is not null), ', ' order by kind) from sse.endpoints where routine = 'listed.{routine}'::regprocedure"
        ))
    };
    assert_eq!(rows("f(int)")?, "call POST /api/listed/f f, publisher and stream GET /api/listed/f/info f");
    assert_eq!(rows("only_called()")?, "call PUT /listed/own f");
    assert_eq!(rows("g()")?, "call POST /api/listed/g t");
    assert_eq!(rows("h()")?, "call POST /api/listed/h t");
    let urls = api.sql("select sse.url('f(int)'), sse.url('only_called()'), sse.url('g()')")?;
    assert_eq!(urls, "/api/listed/f/info|/listed/own|");
    assert_eq!(api.sql("select count(*) from sse.check('g()'::regprocedure)")?, "1");
    let reply = api.run(
        "create function mine(_user_id text) returns text language sql as 'select _user_id';
         comment on function mine(text) is e'HTTP\\n@authorize'",
    )?;
    let warnings = reply.texts("WARNING");
    ensure!(warnings.len() == 1 && warnings[0].contains("@user_parameters"), "{warnings:?}");
    Ok(())
}
