//! What a call leaves in its worker's session besides settings and tables (`call_safety.rs`): nothing that
//! Postgres can undo. And a worker that cannot undo it: its caller is told what became of the call, and it
//! serves no other call.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::http::Connection;
use cluster::{Cluster, Session, SessionOptions, tell_skipped, wait_for};
use common::calls::{Api, Findings, builder, ready, start, told};
use common::{SOON, has_library};
use serde_json::json;

const OF_CALLS: &str = "from pg_stat_activity where backend_type = 'pg_sse call worker'";

/// Attack: an earlier caller decides which code the next caller's routine draws.
#[test]
fn one_callers_seed_is_not_the_next_callers() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "seeds")?;
    api.sql(
        "create function seed(s float8) returns void language sql as 'select setseed(s)'; comment on function seed(float8) is 'HTTP POST';
         create function code() returns float8 language sql as 'select random()'; comment on function code() is 'HTTP POST';",
    )?;
    let mut codes = Vec::new();
    for _ in 0..5 {
        assert_eq!(api.post("seed", &json!({ "s": 0.5 }))?.status(), 204);
        codes.push(told(&api.post("code", &json!({}))?));
    }
    codes.sort_unstable();
    codes.dedup();
    ensure!(codes.len() == 5 && codes[0].starts_with("200 "), "{codes:?}");
    Ok(())
}

#[test]
fn replication_slots_and_origins_of_a_call_are_let_go_of() -> Result<()> {
    if !has_library(env!("CARGO_CRATE_NAME"), "test_decoding")? {
        return Ok(());
    }
    let cluster = start(builder().setting("sse.call_workers", "1").setting("wal_level", "logical"))?;
    let api = Api::of(&cluster, "slots")?;
    cluster.sql("select pg_create_logical_replication_slot('s', 'test_decoding')")?;
    api.sql(
        "create function peek() returns bigint language sql security definer as
           $$ select count(*) from pg_logical_slot_peek_changes('s', null, null, 'no-such-option', 'x') $$;
         comment on function peek() is 'HTTP POST';
         create function keep(fails bool) returns void language plpgsql security definer as
           $$ begin perform pg_create_physical_replication_slot('kept', true, true); if fails then raise exception 'no'; end if; end $$;
         comment on function keep(bool) is 'HTTP POST';
         create function origin(fails bool) returns void language plpgsql security definer as $$ begin
           perform pg_replication_origin_session_setup('elsewhere'); if fails then raise exception 'no'; end if; end $$;
         comment on function origin(bool) is 'HTTP POST';
         create function has_origin() returns bool language sql security definer as 'select pg_replication_origin_session_is_setup()';
         comment on function has_origin() is 'HTTP POST';",
    )?;
    cluster.sql("select pg_replication_origin_create('elsewhere')")?;
    let mut findings = Findings::default();
    let active = "select count(*) from pg_replication_slots where active or temporary";
    for fails in [false, true] {
        let peek = api.post("peek", &json!({}))?;
        // Refused by the slot's plugin, after the slot has been acquired.
        findings.expect(&format!("peek: {}", told(&peek)), &peek.json()?["sqlstate"], &json!("22023"));
        findings.expect("held after peeking", cluster.sql(active)?, "0".to_owned());
        let keep = api.post("keep", &json!({ "fails": fails }))?;
        findings.expect(&told(&keep), keep.status(), if fails { 400 } else { 204 });
        findings.expect("kept", cluster.sql(active)?, "0".to_owned());
        let origin = api.post("origin", &json!({ "fails": fails }))?;
        findings.expect(&told(&origin), origin.status(), if fails { 400 } else { 204 });
        findings.expect("origin", told(&api.post("has-origin", &json!({}))?), "200 false".to_owned());
    }
    findings.expect(
        "the slot can be dropped",
        cluster.sql("select pg_drop_replication_slot('s')").is_ok(),
        true,
    );
    findings.report()
}

/// Sends a call whose clean-up will wait for a lock, and takes that lock.
fn locked(api: &Api<'_>, wait_event: &str) -> Result<(Connection, Session, u32)> {
    // The call ends when this lock is released.
    let mut session = api.cluster.session()?;
    session.run("select pg_advisory_lock(4711)")?.ok()?;
    let connection = api.begin("leave", &json!({}))?;
    let cluster = api.cluster;
    let (pid, table) = wait_for(SOON, "the call has made its table", || {
        let found = cluster.sql(&format!(
            "select a.pid, c.oid::regclass from pg_class c, pg_stat_activity a
              where c.relname = 'left_over' and a.backend_type = 'pg_sse call worker' and a.wait_event = '{wait_event}'"
        ))?;
        Ok(found.split_once('|').map(|(pid, table)| (pid.to_owned(), table.to_owned())))
    })?;
    session
        .run(&format!("begin; lock table {table} in access share mode; select pg_advisory_unlock(4711)"))?
        .ok()?;
    Ok((connection, session, pid.parse()?))
}

fn waits_in_its_clean_up(cluster: &Cluster, pid: u32) -> Result<()> {
    wait_for(SOON, "the clean-up waits for the lock", || {
        let waits = cluster
            .sql(&format!("select count(*) {OF_CALLS} and pid = {pid} and wait_event = 'relation'"))?;
        Ok((waits == "1").then_some(()))
    })
}

/// Somebody may have locked what a call has left. What became of the call is known all the same.
#[test]
fn a_worker_that_cannot_clean_up_answers_its_call_and_serves_no_other() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "stuck")?;
    api.sql(
        "grant temporary on database postgres to app;
         create procedure leave() language plpgsql as $f$ begin create temp table left_over (x int); commit; perform pg_advisory_xact_lock(4711); end $f$;
         comment on procedure leave() is 'HTTP POST';
         create function quick() returns text language sql as $$ select 'quick' $$; comment on function quick() is 'HTTP POST';",
    )?;
    // There the worker may not leave its tables behind, and its end waits (`leave_tables` in
    // src/pg/call_cleanup.rs).
    let has_assertions = cluster.sql("show debug_assertions")? == "on";
    for is_terminated in [false, true] {
        let (mut connection, mut locking, pid) = locked(&api, "advisory")?;
        waits_in_its_clean_up(&cluster, pid)?;
        let started = Instant::now();
        if is_terminated {
            assert_eq!(cluster.sql(&format!("select pg_terminate_backend({pid})"))?, "t");
        }
        assert_eq!(told(&connection.response("POST")?), "204");
        let waited = started.elapsed();
        ensure!(waited < Duration::from_secs(if is_terminated { 2 } else { 5 }), "{waited:?}");
        // The other worker runs all of them, even while this one's end waits for the lock.
        for _ in 0..10 {
            assert_eq!(told(&api.post("quick", &json!({}))?), "200 quick");
        }
        if has_assertions {
            locking.run("rollback")?.ok()?;
        }
        // Its end does not wait for the lock either: the worker is replaced, and keeps nobody from dropping a
        // database.
        cluster.comes_to(
            SOON,
            "the worker has gone",
            &format!("select count(*) {OF_CALLS} and pid = {pid}"),
            "0",
        )?;
        cluster.comes_to(SOON, "there are two workers", &format!("select count(*) {OF_CALLS}"), "2")?;
        cluster.sql("create database other")?;
        cluster.sql("drop database other")?;
        if !has_assertions {
            locking.run("rollback")?.ok()?;
            // The table belongs to nobody, and the next session with this schema drops it.
            let table = cluster.sql("select oid::regclass from pg_class where relname = 'left_over'")?;
            cluster.sql(&format!("drop table {table}"))?;
        }
        ready(&cluster)?;
    }
    if has_assertions {
        return tell_skipped(env!("CARGO_CRATE_NAME"), "with assertions the end of such a worker waits");
    }
    Ok(())
}

/// PostgreSQL 17's `transaction_timeout` ends the process. It applies to the transactions of calls.
#[test]
fn a_time_for_the_roles_transactions_does_not_end_a_clean_up() -> Result<()> {
    let cluster = start(builder())?;
    if cluster.sql("show server_version_num")?.parse::<u32>()? < 170_000 {
        return tell_skipped(env!("CARGO_CRATE_NAME"), "transaction_timeout is PostgreSQL 17's");
    }
    let api = Api::of(&cluster, "timed")?;
    api.sql(
        "grant temporary on database postgres to app;
         create procedure leave() language plpgsql as $f$ begin create temp table left_over (x int); commit;
           while not pg_try_advisory_lock(4711) loop perform pg_sleep(0.05); commit; end loop; end $f$;
         comment on procedure leave() is 'HTTP POST';
         alter role app set transaction_timeout = '400ms';",
    )?;
    let workers = || cluster.sql(&format!("select string_agg(pid::text, ' ' order by pid) {OF_CALLS}"));
    let before = workers()?;
    cluster.reload()?;
    wait_for(SOON, "both workers are replaced", || {
        let now = workers()?;
        let is_new = now.split(' ').count() == 2 && now.split(' ').all(|pid| !before.contains(pid));
        Ok(is_new.then_some(()))
    })?;
    let (mut connection, mut locking, pid) = locked(&api, "PgSleep")?;
    waits_in_its_clean_up(&cluster, pid)?;
    // Longer than that limit, as a clean-up may take.
    assert_eq!(told(&connection.response("POST")?), "204");
    locking.run("rollback")?.ok()?;
    ready(&cluster)
}

/// Defaults that a database has for its application: a serializable deferrable transaction waits as long as
/// anybody writes.
#[test]
fn routines_are_read_whatever_the_databases_transactions_are_like() -> Result<()> {
    let cluster = start(builder())?;
    // Before that, because this query uses a session of the database, which will have to wait.
    let http = cluster.http()?;
    let options = "-c default_transaction_isolation=serializable -c default_transaction_read_only=off -c default_transaction_deferrable=off";
    let session =
        || cluster.session_with(&SessionOptions { options: options.to_owned(), ..SessionOptions::default() });
    let mut writer = session()?;
    writer
        .run(
            "create table public.t (x int);
             alter database postgres set default_transaction_isolation = 'serializable';
             alter database postgres set default_transaction_read_only = on;
             alter database postgres set default_transaction_deferrable = on;
             alter database postgres set lock_timeout = '1ms';
             alter role app set default_transaction_deferrable = off",
        )?
        .ok()?;
    writer.run("begin; insert into public.t values (1)")?.ok()?;
    session()?
        .run("create function public.f() returns int language sql stable as 'select 1'; comment on function public.f() is 'HTTP GET'")?
        .ok()?;
    wait_for(SOON, "the new routine is served", || {
        Ok((http.get("/api/f").map(|answer| told(&answer)).ok().as_deref() == Some("200 1")).then_some(()))
    })?;
    writer.run("rollback")?.ok()?;
    Ok(())
}
