//! Routines that are too many by their number or by their row types: they cost their owner alone.
//!
//! Not for their comments (`many_comments.rs`), nor for row types that they share (`many_types.rs`).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, anonymous_bytes, wait_for};
use common::calls::{Api, builder, start};
use common::{gateway_pid, wait_for_status};

/// Reads what one owner may have, in a build without optimisation.
const LONG: Duration = Duration::from_secs(240);

/// What a role may make the gateway keep (docs/limits.md); the same once more while it is read anew; and a
/// margin.
const MOST: u64 = (2 * 4 * 64 + 50) << 20;

// Attack: a role with no right but to create functions makes so many that the system ends the gateway, and
// with it the cluster.
#[test]
fn of_one_owners_routines_as_many_are_served_as_weigh_64_mb_and_the_newer_have_no_url() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let (http, pid) = (cluster.http()?, gateway_pid(&cluster)?);
    let before = anonymous_bytes(pid)?;
    // Each weighs 2 kB, its comment, and 64 plus 28 for the word in it: 31,155 of them are 994 bytes less
    // than 64 MB.
    cluster.sql("create schema many; create role maker; grant usage, create on schema many to maker")?;
    for begin in (0..31_157).step_by(1_000) {
        let end = (begin + 1_000).min(31_157);
        // One transaction has no room for more locks.
        cluster.sql(&format!(
            "set role maker;
             do $d$ begin for i in {begin} + 1..{end} loop
               execute format('create function many.f%s() returns int language sql as ''select 1''', i);
               execute format('comment on function many.f%s() is ''@sse_subscribe''', i);
             end loop; end $d$"
        ))?;
    }
    cluster.sql("create function many.other() returns int language sql as 'select 1'; comment on function many.other() is '@sse_subscribe'")?;
    for (name, status) in [("other", 200), ("f31154", 200), ("f31155", 200), ("f31156", 404), ("f31157", 404)]
    {
        wait_for_status(http, &format!("/api/many/{name}/info"), status, LONG)?;
    }
    let problems = "select string_agg(routine::oid::regproc::text, ' ' order by routine::oid) from sse.endpoints where problem like '%64 MB%'";
    assert_eq!(cluster.sql(problems)?, "many.f31156 many.f31157");
    assert_eq!(
        cluster.sql("select sse.url('many.f31156()'), sse.url('many.f31155()')")?,
        "|/api/many/f31155/info"
    );
    cluster.sql("drop function many.f9()")?;
    wait_for_status(http, "/api/many/f31156/info", 200, LONG)?;
    wait_for_status(http, "/api/many/f31157/info", 404, LONG)?;
    let grown = anonymous_bytes(pid)?.saturating_sub(before);
    ensure!(grown < MOST, "the gateway has grown by {grown} bytes");
    Ok(())
}

// Attack: row types of 1,600 columns, another one for each routine, of which the gateway would keep each
// column.
#[test]
fn the_row_types_of_one_owners_routines_count_and_one_more_than_fits_is_not_served() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "wide")?;
    let pid = gateway_pid(&cluster)?;
    let before = anonymous_bytes(pid)?;
    // Each weighs 423 kB: for each column its name and 64 bytes, and twice what is handed over of it. 158 of
    // them are less than 64 MB.
    api.sql(
        "do $d$ begin for i in 1..162 loop
           execute format('create type w%s as (%s)', i, (select string_agg(format('%s int', rpad('c' || n || '_' || i, 63, 'x')), ', ') from generate_series(1, 1600) n));
           execute format('create function f%s(x w%s) returns int language sql as ''select 1''', i, i);
           execute format('comment on function f%s(w%s) is ''HTTP POST''', i, i);
         end loop; end $d$;
         create role another; grant usage, create on schema wide to another;
         set role another; create function wide.other() returns int language sql as 'select 1'; comment on function wide.other() is 'HTTP POST'; reset role",
    )?;
    let none = serde_json::json!({});
    for (name, exists) in [("other", true), ("f1", true), ("f158", true), ("f159", false), ("f162", false)] {
        wait_for(LONG, "what is served", || {
            let status = api.post(name, &none)?.status();
            Ok(((status != 404) == exists && status < 500).then_some(()))
        })?;
    }
    let beyond = api.sql("select string_agg(routine::oid::regproc::text, ' ' order by routine::oid) from sse.endpoints where problem like '%64 MB%'")?;
    assert_eq!(beyond.replace("wide.", ""), "f159 f160 f161 f162");
    api.sql("drop function f7; drop type w7")?;
    wait_for(LONG, "the next is served", || Ok((api.post("f159", &none)?.status() == 400).then_some(())))?;
    assert_eq!(api.post("f160", &none)?.status(), 404);
    let grown = anonymous_bytes(pid)?.saturating_sub(before);
    ensure!(grown < MOST, "the gateway has grown by {grown} bytes");
    Ok(())
}

// Attack: bodies and defaults of many megabytes, which whoever reads the routines would keep in its cache of
// the catalog, all of them at once: the system ends a process that is too large, and Postgres then ends every
// session.
#[test]
fn reading_the_routines_keeps_neither_their_bodies_nor_their_defaults() -> Result<()> {
    let cluster = start(builder())?;
    cluster.sql(
        "create role bulky; create schema bulky authorization bulky; grant usage on schema bulky to public; set role bulky; set check_function_bodies = off;
         do $d$ declare much text; begin
           select string_agg(md5(i::text), '') into much from generate_series(1, 32768) i;
           for i in 1..16 loop
             execute format('create function bulky.f%s(a text default %L) returns int language sql as %L', i, much || i, '-- ' || i || much);
             execute format('comment on function bulky.f%s is %L', i, case when i % 2 = 0 then 'HTTP POST' else rpad(E'HTTP POST\n', 70000, 'x') end);
           end loop; end $d$",
    )?;
    let mut session = cluster.session()?;
    let mut cached = || -> Result<u64> {
        let sql = "select total_bytes from pg_backend_memory_contexts where name = 'CacheMemoryContext'";
        Ok(session.run(sql)?.ok()?.value().unwrap_or_default().parse()?)
    };
    let before = cached()?;
    let mut session = cluster.session()?;
    let found = session.run(
        "select count(*) filter (where kind = 'call'), count(*) filter (where problem is not null) from sse.endpoints
          where routine::oid in (select oid from pg_proc where pronamespace = 'bulky'::regnamespace);
         select total_bytes from pg_backend_memory_contexts where name = 'CacheMemoryContext'",
    )?;
    let text = found.ok()?.text();
    let (found, after) = text.split_once('\n').context("two rows")?;
    assert_eq!(found, "8|8");
    let grown = after.parse::<u64>()?.saturating_sub(before);
    // Each has some megabytes, and what is found out about it some kilobytes.
    ensure!(grown < 8 << 20, "{grown} bytes more than a session that has not read them");
    Ok(())
}

// Attack: one statement makes a routine with a million OUT parameters. Their list as JSON is longer than
// Postgres allows, so that nobody's routines could be read any more, or than there is memory.
#[test]
fn a_routine_with_more_parameters_than_can_be_called_costs_no_other_and_no_memory() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "params")?;
    cluster.sql(
        "create role lavish; grant usage, create on schema params to lavish; set role lavish; set check_function_bodies = off;
         do $d$ declare n int; begin
           foreach n in array array[1763, 1764, 1765, 300000] loop
             execute format('create function params.f%s(%s) language plpgsql as ''begin end''', n, repeat('out int, ', n - 1) || 'out int');
             execute format('comment on function params.f%s() is ''HTTP POST''', n);
           end loop; end $d$;
         create function params.newer() returns int language sql as 'select 1'; comment on function params.newer() is 'HTTP POST'",
    )?;
    wait_for(LONG, "the newer one is served", || {
        Ok((api.post("newer", &serde_json::json!({}))?.status() == 200).then_some(()))
    })?;
    let said = api.sql(
        "select string_agg(o.routine::oid::regproc::text || ' ' || (o.problem is not null), ', ' order by o.routine::oid)
           from sse.endpoints o join pg_proc p on p.oid = o.routine::oid where p.pronamespace = 'params'::regnamespace",
    )?;
    assert_eq!(
        said.replace("params.", ""),
        "f1763 false, f1764 false, f1765 true, f300000 true, newer false"
    );
    let problem = api.sql("select distinct problem from sse.endpoints where problem is not null")?;
    ensure!(problem.contains("expected at most 1,764") && !problem.contains('\n'), "{problem}");
    assert_eq!(api.post("f300000", &serde_json::json!({}))?.status(), 404);
    Ok(())
}

// Run by hand: `cargo test -p pg-test --test many_routines -- --ignored --nocapture by_hand`
#[test]
#[ignore = "a measurement"]
fn by_hand_the_time_until_a_new_url_is_there_among_ten_thousand() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    cluster.sql("create schema many")?;
    for begin in (0..10_000).step_by(1_000) {
        cluster.sql(&format!(
            "do $d$ begin for i in {begin} + 1..{begin} + 1000 loop
               execute format('create function many.f%s(a int, b text) returns int language sql as ''select 1''', i);
               execute format('comment on function many.f%s is %L', i, case when i % 3 = 0 then 'HTTP GET' else '@sse_subscribe' end);
             end loop; end $d$"
        ))?;
    }
    wait_for_status(http, "/api/many/f10000/info", 200, LONG)?;
    for pause in [4_000, 1_000, 0] {
        let mut times = Vec::new();
        for n in 0..9 {
            std::thread::sleep(Duration::from_millis(pause));
            cluster.sql(&format!(
                "create function many.new_{pause}_{n}() returns int language sql as 'select 1';
                 comment on function many.new_{pause}_{n}() is '@sse_subscribe'"
            ))?;
            let begin = Instant::now();
            wait_for_status(http, &format!("/api/many/new-{pause}-{n}/info"), 200, LONG)?;
            times.push(begin.elapsed().as_millis());
        }
        println!("{pause} ms apart: {times:?} ms");
    }
    Ok(())
}
