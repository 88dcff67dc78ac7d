//! Bounds of what call workers keep, check and wait for: one below, at, and above each (C7.2, C7.4;
//! `docs/limits.md`).
//!
//! Not for the bounds of a single call and its answer (`call_limits.rs`).

mod common;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use cluster::http::Connection;
use cluster::{Cluster, Frozen, wait_for, wait_until};
use common::calls::{Api, builder, start, told};
use common::{SOON, freeze_gateway, gateway_pid};
use serde_json::json;

#[test]
fn a_hundred_row_types_of_a_routine_are_looked_at_before_each_call() -> Result<()> {
    const LOOKED_AT: usize = 100;
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "rows")?;
    // The row itself is the first one.
    let within = 1..=LOOKED_AT + 1;
    let types: String = within.clone().map(|n| format!("create type t{n} as (before int);")).collect();
    let columns: Vec<String> = within.clone().map(|n| format!("c{n} t{n}")).collect();
    let values: Vec<String> = within.map(|n| format!("row({n})")).collect();
    api.sql(&format!(
        "{types} create type whole as ({});
         create function f() returns whole language sql as 'select row({})::rows.whole'; comment on function f() is 'HTTP GET'",
        columns.join(", "),
        values.join(", ")
    ))?;
    let mut holder = cluster.session()?;
    let mut changer = api.session()?;
    for place in [LOOKED_AT - 1, LOOKED_AT, LOOKED_AT + 1] {
        let number = place - 1;
        let inner = |key: &str| format!(r#""c{number}":{{"{key}":{number}}}"#);
        wait_for(SOON, "the routine is read", || {
            let answer = api.get("f")?;
            Ok((answer.status() == 200 && answer.text().contains(&inner("before"))).then_some(()))
        })?;
        // Nobody can read the routines meanwhile.
        holder.run("begin; lock table pg_catalog.pg_description in access exclusive mode")?.ok()?;
        changer.run(&format!("alter type t{number} rename attribute before to behind"))?.ok()?;
        // A call with a row that is known to have changed waits for the routines to be read; after that it is
        // a failure.
        let answer = api.get("f")?;
        assert_eq!(
            answer.status() == 200,
            place > LOOKED_AT,
            "the row type in place {place}: {}",
            told(&answer)
        );
        holder.run("commit")?.ok()?;
        wait_for(SOON, "the change is read", || {
            let answer = api.get("f")?;
            Ok((answer.status() == 200 && answer.text().contains(&inner("behind"))).then_some(()))
        })?;
    }
    Ok(())
}

/// The statements that its one worker keeps prepared.
fn plans(api: &Api<'_>) -> Result<usize> {
    Ok(api.text("count-plans")?.parse()?)
}

#[test]
fn five_hundred_plans_are_kept_in_a_worker_and_at_the_next_one_all_go() -> Result<()> {
    const KEPT: usize = 500;
    // Nothing is to change while it counts.
    let cluster = start(builder().setting("sse.call_workers", "1").setting("autovacuum", "off"))?;
    let api = Api::of(&cluster, "plans")?;
    let parameters: Vec<String> = (0..9).map(|n| format!("a{n} int default 0")).collect();
    // The pattern does not match itself.
    api.sql(&format!(
        r"create function take({}) returns int language sql as 'select 1';
          comment on function take is 'HTTP GET';
          create function count_plans() returns bigint language sql security definer as $$
            select count(*) from pg_backend_memory_contexts where name = 'CachedPlanSource' and ident like 'SELECT pg\_catalog.to\_json(%' $$;
          comment on function count_plans() is 'HTTP GET'",
        parameters.join(", ")
    ))?;
    // A statement of its own for each set of parameters that are given.
    let take = |set: usize| {
        let given: Vec<String> = (0..9).filter(|n| set >> n & 1 == 1).map(|n| format!("a{n}=1")).collect();
        let answer = api.get(&format!("take?{}", given.join("&")))?;
        ensure!(answer.status() == 200, "{set}: {}", told(&answer));
        Ok(())
    };
    wait_for(SOON, "only what is counted is kept", || Ok((plans(&api)? == 1).then_some(())))?;
    (1..KEPT - 1).try_for_each(take)?;
    assert_eq!(plans(&api)?, KEPT - 1);
    take(KEPT - 1)?;
    assert_eq!(plans(&api)?, KEPT);
    take(KEPT)?;
    assert_eq!(plans(&api)?, 2, "its own, and the one that counts");
    Ok(())
}

/// A call that has run and committed. Its answer does not fit into the worker's ring, and the stopped gateway
/// has taken nothing of it. Returned with the process id of its worker.
fn unheard(api: &Api<'_>) -> Result<(Connection, Frozen, u32)> {
    let cluster = api.cluster;
    let mut gate = cluster.session()?;
    gate.run("truncate last.done; select pg_advisory_lock(1)")?.ok()?;
    let connection = api.begin("large", &json!({}))?;
    let pid = wait_for(SOON, "the call runs", || {
        let pid = "select pid from pg_stat_activity where backend_type = 'pg_sse call worker' and wait_event = 'advisory'";
        Ok(cluster.sql(pid)?.parse().ok())
    })?;
    let frozen = freeze_gateway(cluster)?;
    gate.run("select pg_advisory_unlock(1)")?.ok()?;
    cluster.comes_to(SOON, "it has committed", "select count(*) from last.done", "1")?;
    Ok((connection, frozen, pid))
}

#[test]
fn a_worker_that_was_told_to_leave_has_a_second_to_hand_over_its_last_answer() -> Result<()> {
    const LAST_ANSWER: Duration = Duration::from_secs(1);
    let cluster: Cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "last")?;
    api.sql(
        "create table done (n int); grant all on done to app;
         create function large() returns text language plpgsql as $$ begin
           perform pg_advisory_xact_lock(1); insert into last.done values (1); return repeat('x', 1000000); end $$;
         comment on function large() is 'HTTP POST'",
    )?;
    let mut watcher = cluster.session()?;
    // The gateway goes on before that second is over: the answer is whole.
    let (mut connection, frozen, pid) = unheard(&api)?;
    watcher.run(&format!("select pg_terminate_backend({pid})"))?.ok()?;
    drop(frozen);
    let answer = connection.response("POST")?;
    ensure!(answer.status() == 200 && answer.text().len() == 1_000_000, "{}", answer.status());
    wait_for(SOON, "it leaves, and another one comes", || {
        let other = format!(
            "select pid from pg_stat_activity where backend_type = 'pg_sse call worker' and pid <> {pid}"
        );
        Ok(watcher.run(&other)?.ok()?.value().map(str::to_owned))
    })?;
    // The gateway goes on after that second.
    let (mut connection, frozen, pid) = unheard(&api)?;
    let told_to_leave = Instant::now();
    watcher.run(&format!("select pg_terminate_backend({pid})"))?.ok()?;
    wait_for(SOON, "it has left", || {
        let is_there =
            watcher.run(&format!("select count(*) from pg_stat_activity where pid = {pid}"))?.ok()?;
        Ok((is_there.value().context("no count")? == "0").then_some(()))
    })?;
    let took = told_to_leave.elapsed();
    ensure!((LAST_ANSWER..LAST_ANSWER * 3).contains(&took), "{took:?}");
    drop(frozen);
    let answer = connection.response("POST")?;
    ensure!(answer.status() == 502, "{}", told(&answer));
    Ok(())
}

/// From now on new workers have this bound; those that are there are replaced.
fn limit_tenure(cluster: &Cluster, which: &str, number: u32) -> Result<()> {
    let before = gateway_pid(cluster)?;
    let file = cluster.data_dir().join(format!("pg_sse.tenure_{which}"));
    std::fs::write(&file, number.to_string())?;
    cluster.reload()?;
    wait_until(SOON, "the bound is set", || !file.exists())?;
    assert_eq!(gateway_pid(cluster)?, before);
    Ok(())
}

/// The process that each call ran in, in the order of the answers.
fn who_serves(api: &Api<'_>, calls: usize) -> Result<Vec<u32>> {
    (0..calls).map(|_| Ok(api.text("who")?.parse()?)).collect()
}

const WHO: &str = "create function who() returns int language sql as 'select pg_backend_pid()'; comment on function who() is 'HTTP GET'";

// Three calls stand for the hundred thousand.
#[test]
fn a_worker_is_replaced_after_its_last_call_and_no_call_fails_for_it() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "tenure")?;
    api.sql(WHO)?;
    let unlimited = who_serves(&api, 20)?;
    ensure!(unlimited.iter().all(|pid| *pid == unlimited[0]), "{unlimited:?}");
    limit_tenure(&cluster, "calls", 3)?;
    // The worker from before may still take a call.
    wait_for(SOON, "there is another worker", || {
        Ok((api.text("who")? != unlimited[0].to_string()).then_some(()))
    })?;
    let served = who_serves(&api, 20)?;
    let turns: Vec<&[u32]> = served.chunk_by(|one, next| one == next).collect();
    // The first has had calls before these, and the last may have more.
    ensure!(turns.len() > 5 && turns[1..turns.len() - 1].iter().all(|turn| turn.len() == 3), "{turns:?}");
    let mut workers: Vec<u32> = turns.iter().map(|turn| turn[0]).collect();
    workers.sort_unstable();
    workers.dedup();
    assert_eq!(workers.len(), turns.len(), "nobody comes back");
    Ok(())
}

/// The attack: calls without a pause, so that a worker is never idle and keeps what calls leave in it for
/// ever.
#[test]
fn a_worker_for_which_calls_always_wait_is_replaced_all_the_same() -> Result<()> {
    const CALLS: usize = 3;
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "waiting")?;
    api.sql(WHO)?;
    let unlimited = who_serves(&api, 1)?[0];
    limit_tenure(&cluster, "calls", 3)?;
    let served: Result<Vec<Vec<u32>>> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| who_serves(&api, 20))).collect();
        callers.into_iter().map(|caller| caller.join().map_err(|_| anyhow!("a caller panicked"))?).collect()
    });
    let mut calls: HashMap<u32, usize> = HashMap::new();
    for pid in served?.into_iter().flatten().filter(|pid| *pid != unlimited) {
        *calls.entry(pid).or_default() += 1;
    }
    ensure!(calls.len() > 10 && calls.values().all(|calls| *calls <= CALLS), "{calls:?}");
    Ok(())
}

// Half a second stands for the hour.
#[test]
fn a_worker_is_replaced_at_its_age_and_not_before() -> Result<()> {
    const AGE: Duration = Duration::from_millis(500);
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "age")?;
    api.sql(WHO)?;
    limit_tenure(&cluster, "age", 500)?;
    let start = Instant::now();
    let mut workers = Vec::new();
    while workers.len() < 5 {
        ensure!(start.elapsed() < SOON * 3, "{workers:?}");
        workers.extend(who_serves(&api, 1)?);
        workers.dedup();
    }
    // The first is from before, and of the last only the beginning was seen.
    ensure!(start.elapsed() > AGE * 3, "{workers:?} within {:?}", start.elapsed());
    Ok(())
}
