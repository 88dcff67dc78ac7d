//! Call workers that outlive the gateway that started them, and workers that are ended at a bad moment: an
//! answer goes to the caller it belongs to, or to nobody.
//!
//! Not for what ends and replaces a worker in ordinary times (`call_workers.rs`).

mod common;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use anyhow::{Result, bail, ensure};
use cluster::{Cluster, wait_for};
use common::SOON;
use common::calls::{Api, builder, start, told};
use common::tokens::{ALICE, BOB};
use serde_json::json;

const OF_CALLS: &str = "from pg_stat_activity where backend_type = 'pg_sse call worker'";

/// The worker that waits for this event in a call.
fn worker_in(cluster: &Cluster, wait_event: &str) -> Result<u32> {
    wait_for(SOON, &format!("a worker waits for {wait_event}"), || {
        Ok(cluster.sql(&format!("select pid {OF_CALLS} and wait_event = '{wait_event}'"))?.parse().ok())
    })
}

/// Attack: a call whose commit waits, and a gateway that is closed and opened meanwhile. The old worker's
/// answer comes when the new gateway's first calls run, and it must not go to one of those.
#[test]
fn an_answer_for_a_gateway_that_has_gone_reaches_nobody() -> Result<()> {
    // From the start: a setting that is reloaded counts only once the checkpointer has told it.
    let cluster = start(
        builder().setting("synchronous_standby_names", "nobody").setting("synchronous_commit", "local"),
    )?;
    let api = Api::of(&cluster, "outlived")?;
    api.sql(
        "create table t (x int); grant all on t to app;
         create function secret() returns text language sql volatile as $$ select set_config('synchronous_commit', 'on', true); insert into outlived.t values (1); select 'SECRET OF ' || current_setting('request.user_name') $$;
         comment on function secret() is 'HTTP POST';
         create function me() returns text language plpgsql volatile as $$ begin perform pg_advisory_xact_lock(4711); return current_setting('request.user_name'); end $$;
         comment on function me() is 'HTTP POST'",
    )?;
    // From here on each gateway's first call is the one that is meant.
    let begin_anew = || -> Result<Api<'_>> {
        let http = cluster.http()?;
        cluster.sql("drop extension pg_sse")?;
        wait_for(SOON, "the gateway has closed", || {
            Ok(http.get("/healthz").map_or(true, |answer| answer.status() != 200).then_some(()))
        })?;
        cluster.sql("create extension pg_sse")?;
        cluster.comes_to(SOON * 2, "calls are taken", "select calls from sse.stat_gateway", "ready")?;
        Api::again(&cluster, "outlived")
    };
    let alice = begin_anew()?.with(ALICE)?;
    let _first = alice.begin("secret", &json!({}))?;
    let old = worker_in(&cluster, "SyncRep")?;
    let frozen = cluster.freeze(old)?;
    let bob = begin_anew()?.with(BOB)?;
    let mut holder = cluster.session()?;
    holder.run("select pg_advisory_lock(4711)")?.ok()?;
    let mut second = bob.begin("me", &json!({}))?;
    worker_in(&cluster, "advisory")?;
    drop(frozen);
    cluster.comes_to(
        SOON,
        "the old worker has answered, and has gone",
        &format!("select count(*) {OF_CALLS} and pid = {old}"),
        "0",
    )?;
    holder.run("select pg_advisory_unlock(4711)")?.ok()?;
    let answer = second.response("POST")?;
    assert_eq!(told(&answer), "200 bob");
    ensure!(!cluster.log()?.contains("terminating any other active server processes"), "a crash");
    Ok(())
}

#[test]
fn what_a_burst_of_calls_wrote_is_counted_without_a_further_call() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "counted")?;
    api.sql(
        "create table t (x int); grant all on t to app;
         create procedure put() language sql as 'insert into counted.t values (1)'; comment on procedure put() is 'HTTP POST'",
    )?;
    for _ in 0..100 {
        assert_eq!(api.post("put", &json!({}))?.status(), 204);
    }
    // Ten seconds is Postgres' own pause for a session that is idle.
    wait_for(SOON * 2, "all inserts are counted", || {
        let count = cluster.sql("select n_tup_ins from pg_stat_user_tables where relname = 't'")?;
        Ok((count == "100").then_some(()))
    })
}

/// Attack: answers so large that the worker has no memory for them. An abort would end every session of the
/// cluster.
#[test]
fn want_of_memory_in_a_worker_is_an_error_of_its_call_and_no_crash() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "narrow")?;
    api.sql(
        "create function get_rows(megabytes int) returns setof text language sql as
           $$ select repeat('x', 1000000) from generate_series(1, megabytes) $$;
         comment on function get_rows(int) is 'HTTP GET';
         create function get_one(bytes int) returns text language sql as $$ select repeat('x', bytes) $$;
         comment on function get_one(int) is 'HTTP GET';
         create function size(a text) returns int language sql as 'select length(a)'; comment on function size(text) is 'HTTP POST';",
    )?;
    let pid = cluster.sql(&format!("select pid {OF_CALLS}"))?;
    assert_eq!(api.get("get-rows?megabytes=1")?.status(), 200);
    // As much as it has, plus 64 MB.
    let status = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = status.split(' ').next().unwrap_or_default().parse()?;
    let limit = pages * 4096 + (64 << 20);
    // By the server's own user, who may lower it.
    cluster
        .sql(&format!("copy (select 1) to program 'cat > /dev/null; prlimit --pid {pid} --as={limit}'"))?;
    let mut failed = 0;
    for megabytes in [15, 30, 60, 1, 45, 63, 30, 15] {
        let answer = api.get(&format!("get-rows?megabytes={megabytes}"))?;
        if answer.status() == 200 {
            let wanted = megabytes * 1_000_003 + 1;
            assert_eq!(answer.text().len(), wanted);
        } else {
            failed += 1;
            assert_eq!(
                (answer.status(), &answer.json()?["sqlstate"]),
                (503, &json!("53200")),
                "{}",
                told(&answer)
            );
        }
        ensure!(answer.status() == 200 || megabytes > 15, "{megabytes} MB: {}", told(&answer));
    }
    ensure!(failed > 0, "there was memory for all of them");
    let one = api.get("get-one?bytes=60000000")?;
    assert_eq!(one.status(), 503, "{} bytes", one.text().len());
    assert_eq!(told(&api.post("size", &json!({ "a": "x".repeat(900_000) }))?), "200 900000");
    assert_eq!(cluster.sql(&format!("select pid {OF_CALLS}"))?, pid, "the same worker");
    ensure!(!cluster.log()?.contains("terminating any other active server processes"), "a crash");
    Ok(())
}

#[test]
fn an_answer_of_the_limit_is_given_and_one_byte_more_fails() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "limits")?;
    api.sql(
        "create function get_one(bytes int) returns text language sql as $$ select repeat('x', bytes) $$;
         comment on function get_one(int) is 'HTTP GET';
         create function get_rows(bytes int) returns setof text language sql as $$ select repeat('x', bytes) $$;
         comment on function get_rows(int) is 'HTTP GET';",
    )?;
    let limit = 64 << 20;
    // A set of one text has brackets and quotes around it.
    for (routine, around) in [("get-one", 0), ("get-rows", 4)] {
        for (length, status) in [(limit - 1, 200), (limit, 200), (limit + 1, 500)] {
            let answer = api.get(&format!("{routine}?bytes={}", length - around))?;
            assert_eq!(answer.status(), status, "{routine}, {length} bytes");
            match status {
                200 => assert_eq!(answer.text().len(), length),
                _ => assert_eq!(answer.json()?["sqlstate"], "54000"),
            }
        }
    }
    Ok(())
}

/// Attack: workers are ended at any moment, by anybody who may do so. Every caller gets its own answer or is
/// told that it gets none, and nothing is run twice.
// Long because who ends workers and who calls belong to one scope.
#[test]
fn workers_that_are_ended_at_any_moment_mix_up_no_answers() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "3"))?;
    let api = Api::of(&cluster, "ended")?;
    api.sql(
        "create table ran (n int); grant all on ran to app;
         create function run(n int) returns text language plpgsql as $f$ begin
           create temp table own as select run.n; insert into ended.ran values (n); perform pg_sleep(0.002 * (n % 5));
           return n || ' ' || repeat('x', n % 7 * 30000); end $f$;
         comment on function run(int) is 'HTTP POST';
         grant temporary on database postgres to app;",
    )?;
    const CALLERS: usize = 4;
    const CALLS: usize = 60;
    let (api, is_over) = (&api, &AtomicBool::new(false));
    let answered: Vec<usize> = thread::scope(|scope| {
        let ending = scope.spawn(|| -> Result<usize> {
            let mut session = cluster.session()?;
            let mut ended = 0;
            while !is_over.load(Relaxed) {
                // The oldest one, whatever it does.
                let reply = session.run(&format!(
                    "select pg_terminate_backend(pid), pg_sleep(0.05) {OF_CALLS} order by backend_start limit 1"
                ))?;
                ended += usize::from(reply.ok()?.text().starts_with('t'));
            }
            Ok(ended)
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn(move || -> Result<Vec<usize>> {
                    let mut answered = Vec::new();
                    for call in 0..CALLS {
                        let n = call * CALLERS + caller;
                        let answer = api.post("run", &json!({ "n": n }))?;
                        match answer.status() {
                            200 => {
                                let wanted = format!("{n} {}", "x".repeat(n % 7 * 30_000));
                                ensure!(
                                    answer.text() == wanted,
                                    "call {n} was answered {:.20}",
                                    answer.text()
                                );
                                answered.push(n);
                            }
                            502..=504 => {}
                            other => bail!("call {n}: {other} {:.200}", answer.text()),
                        }
                    }
                    Ok(answered)
                })
            })
            .collect();
        let answers: Vec<Result<Vec<usize>>> = callers
            .into_iter()
            .map(|caller| caller.join().unwrap_or_else(|_| bail!("a caller panicked")))
            .collect();
        is_over.store(true, Relaxed);
        let ended = ending.join().unwrap_or_else(|_| bail!("the ending panicked"))?;
        ensure!(ended > 5, "only {ended} workers were ended");
        answers.into_iter().collect::<Result<Vec<_>>>().map(|answers| answers.concat())
    })?;
    ensure!(!answered.is_empty(), "nothing was answered");
    let ran = api.sql("select count(*), count(distinct n), count(*) filter (where n = any (string_to_array('{}', ' ')::int[])) from ran"
        .replace("{}", &answered.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")).as_str())?;
    let counts: Vec<usize> = ran.split('|').filter_map(|count| count.parse().ok()).collect();
    ensure!(counts.len() == 3 && counts[0] == counts[1], "a call was run twice: {ran}");
    assert_eq!(counts[2], answered.len(), "an answered call is not in force: {ran}");
    ensure!(!cluster.log()?.contains("terminating any other active server processes"), "a crash");
    Ok(())
}
