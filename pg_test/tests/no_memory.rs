//! Backends without memory: want of it is an answer, and never the end of the process, with which Postgres
//! would end every session of the cluster (SAFETY.md, "When memory runs out").
//!
//! Not for call workers: `call_lives.rs`. Nor for the SQL functions: `no_memory_functions.rs`.

mod common;

use anyhow::{Result, ensure};
use cluster::{Cluster, PATIENCE};
use common::starve::{SETUP, has_module, run, sweep};
use common::{Corner, SOON, figure};

// Without the place that is kept for it, what a call raises for which there is no memory would be told as an
// event of its caller, to whom that one tells.
#[test]
fn what_a_call_raises_for_which_there_is_no_memory_is_no_event_of_its_caller_and_is_counted() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    // Others' gaps would come here, too.
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "nested")?;
    corner.sql(SETUP)?;
    let mut stream = corner.stream("nest/info")?;
    let mut session = corner.session()?;
    let lost = || figure(&cluster, "stat_ring", "out_of_memory_total");
    // Wherever that is, the stack of running routines has to grow between the 40th and the 100th.
    for (deep, poor, says, events, are_lost) in [
        (3, -1, "says()", &["nest", "outermost"][..], 0),
        (100, 60, "says()", &["sse.gap", "outermost"], 1),
        (100, 60, "says_itself()", &["itself", "outermost"], 0),
        (100, -1, "says()", &["nest", "outermost"], 0),
    ] {
        let before = lost()?;
        run(&corner, &mut session, &format!("select outermost({deep}, {poor}, '{says}')"))?.ok()?;
        for event in events {
            assert_eq!(stream.next(PATIENCE)?.event, *event, "{says}, {poor}");
        }
        assert_eq!(lost()? - before, are_lost, "{says}, {poor}");
    }
    Ok(())
}

#[test]
fn a_cache_of_annotations_that_cannot_grow_ends_no_session_and_hides_no_event() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    let corner = Corner::new("cached")?;
    corner.sql(SETUP)?;
    corner.sql(
        "do $d$ begin for n in 1..1000 loop
             execute format($f$create function f_%s(int, int) returns int language internal as 'int4pl'$f$, n); end loop; end $d$",
    )?;
    let mut stream = corner.stream("nest/info")?;
    let mut session = corner.session()?;
    let routines = "select look_up(array_agg(oid)) from pg_proc where proname like 'f\\_%'";
    for _ in 0..2 {
        assert_eq!(run(&corner, &mut session, routines)?.ok()?.value(), Some("1000"));
        run(&corner, &mut session, "select says_itself()")?.ok()?;
        assert_eq!(stream.next_payload(SOON)?.event, "itself");
    }
    Ok(())
}

// An index has one FmgrInfo for all who use it, so a recursion through it cannot be told apart by it. If the
// end of a call that has no place took that of one further out, what that one raises would be an event of
// whoever is further out still.
#[test]
fn calls_without_memory_that_are_called_alike_end_none_further_out() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "alike")?;
    corner.sql(SETUP)?;
    corner.sql(
        "create function outside(n int, poor int, says regprocedure) returns void language plpgsql as $f$ begin
             perform begin_nest_same('nest_same(int, int, regprocedure)', n, poor, says); raise info 'said'; end $f$;
         comment on function outside(int, int, regprocedure) is E'@sse\\n@sse_delivery immediate\\n@sse_event outside'",
    )?;
    let mut stream = corner.stream("nest-same/info")?;
    let mut session = corner.session()?;
    for (deep, poor) in [(3, -1), (100, 60), (100, -1), (300, 250)] {
        let before = figure(&cluster, "stat_ring", "out_of_memory_total")?;
        run(&corner, &mut session, &format!("select outside({deep}, {poor}, 'says()')"))?.ok()?;
        let (mut told, mut last) = (0, String::new());
        while last != "outside" {
            last = stream.next(PATIENCE)?.event;
            told += i64::from(last == "same");
        }
        let lost = figure(&cluster, "stat_ring", "out_of_memory_total")? - before;
        assert_eq!((told + lost, lost > 2), (deep + 1, poor > 0), "{told} were told, {lost} lost: {poor}");
    }
    Ok(())
}

const EACH_SAYS_ITS_NAME: [(&str, &str, &str); 4] = [
    ("inner_one(n int)", "int", "raise info 'inner_one'; return n;"),
    (
        "rows_of(n int)",
        "setof int",
        "for i in 1..n loop raise info 'rows_of'; return next inner_one(i); end loop;",
    ),
    (
        "catcher(bytes int, sql text)",
        "void",
        "for i in 1..3 loop begin perform run_with(bytes, sql); raise info 'catcher';
                 exception when out_of_memory then raise info 'catcher'; end; end loop;",
    ),
    (
        "reader(bytes int, sql text)",
        "void",
        "declare c refcursor := 'c';
             begin open c for select inner_one(i) from generate_series(1, 9) as i; perform run_with(bytes, 'fetch 3 from c'); raise info 'reader';
             exception when out_of_memory then raise info 'reader'; end;",
    ),
];

// Each raises its own name, so an event of another name is one of another routine.
#[test]
fn after_want_of_memory_every_event_is_of_the_routine_that_raises_it() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    let corner = Corner::new("whose")?;
    corner.sql(SETUP)?;
    for (signature, returns, body) in EACH_SAYS_ITS_NAME {
        let name = signature.split('(').next().unwrap_or_default();
        let types = if name == "catcher" || name == "reader" { "int, text" } else { "int" };
        corner.sql(&format!(
            "create function {signature} returns {returns} language plpgsql as $f$ begin {body} end $f$;
             comment on function {name}({types}) is E'@sse\\n@sse_delivery immediate\\n@sse_event {name}'"
        ))?;
    }
    let mut stream = corner.stream("catcher/info")?;
    let mut session = corner.session()?;
    for (caller, sql) in [
        ("catcher", "select inner_one(1)"),
        ("catcher", "select rows_of(5)"),
        (
            "catcher",
            "do 'begin for i in 1..3 loop begin perform inner_one(1); exception when others then perform inner_one(2); end; end loop; end'",
        ),
        ("reader", ""),
    ] {
        let mut seen = 0;
        for kilobytes in (0..400).step_by(8) {
            run(&corner, &mut session, &format!("select {caller}({}, $r${sql}$r$)", kilobytes << 10))?
                .ok()?;
            run(&corner, &mut session, "select says_itself()")?.ok()?;
            loop {
                let event = stream.next(PATIENCE)?;
                if event.event == "itself" {
                    break;
                }
                seen += usize::from(event.event == caller);
                ensure!(
                    event.event == "sse.gap" || event.data == event.event,
                    "{sql}: {} raised an event of {}",
                    event.data,
                    event.event
                );
            }
        }
        ensure!(seen >= 50, "{seen} events of {caller}: {sql}");
    }
    Ok(())
}

/// Attack: a script that is run below so many routines that the next one needs more memory for its place.
#[test]
fn a_script_without_memory_fails_and_leaves_the_routine_that_runs_it_running() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    let corner = Corner::new("script")?;
    corner.sql(SETUP)?;
    corner.sql(
        "create function deep(n int, bytes int) returns void language plpgsql as $f$ begin
             begin perform nest_run(n, bytes, 'alter extension plpgsql update'); exception when out_of_memory then null; end;
             raise info 'said'; end $f$;
         comment on function deep(int, int) is E'@sse\\n@sse_delivery immediate\\n@sse_event deep'",
    )?;
    let mut stream = corner.stream("nest-run/info")?;
    // Each begins with the first places alone.
    for n in 3..8 {
        let mut session = corner.session_with("-c client_min_messages=warning")?;
        for kilobytes in (0..400).step_by(25) {
            run(&corner, &mut session, &format!("select deep({n}, {})", kilobytes << 10))?.ok()?;
            let mut event = stream.next(PATIENCE)?.event;
            // What others have lost is told to all.
            while event == "sse.gap" {
                event = stream.next(PATIENCE)?.event;
            }
            assert_eq!(event, "deep", "{n}, {kilobytes} kB");
        }
    }
    Ok(())
}

/// Attacks: what a role may make as long as it likes, and as many statements as there are sizes of memory.
#[test]
fn statements_that_find_no_memory_fail_or_lose_their_events_and_end_no_session() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    let corner = Corner::new("poor")?;
    corner.sql(SETUP)?;
    let roles: String = (0..1000).map(|n| format!("{n:x} ")).collect();
    let outputs: Vec<String> = (0..1600).map(|n| format!("out {}{n} int", "o".repeat(55))).collect();
    let outputs = outputs.join(", ");
    corner.sql(&format!(
        "create table t (a int primary key);
         create function tells() returns void language plpgsql as $f$ begin raise info 'said'; end $f$;
         comment on function tells() is E'@sse\\n@sse_scope matching\\n@sse_delivery immediate';
         create table fired (a int, b text);
         create trigger tells after insert on fired for each row execute function sse.publish_change('matching', 'a');
         create function commented() returns void language plpgsql as $f$ begin raise info 'said'; end $f$;
         comment on function commented() is E'{}\\n@sse\\n@authorize {roles}';
         set check_function_bodies = off;
         create function wide({outputs}) language plpgsql as $f$ begin raise info 'said'; end $f$;
         comment on function wide() is E'@sse'",
        "prose ".repeat(6_000)
    ))?;
    let mut session = corner.session()?;
    let trigger = |argument: &str| {
        format!(
            "create trigger g after insert on t for each row execute function sse.publish_change('all', {argument})"
        )
    };
    let long = trigger(&format!("$x${}$x$", "x".repeat(100_000)));
    let many = trigger(&["'a'"; 30_000].join(","));
    let escaped = trigger(&format!("E'{}'", "\\x01".repeat(50_000)));
    let set =
        |name: &str, value: &str| format!("select set_config('request.{name}', {value}, false), tells()");
    let roles = |count: usize| {
        format!("array_to_string(array(select to_hex(i) from generate_series(1, {count}) as i), ',')")
    };
    let anew = "comment on function says() is null; select commented()";
    let wide = "comment on function wide() is E'@sse\\n@sse_event wide'";
    for (before, sql, most) in [
        (&set("user_id", "repeat('x', 1000000)")[..], "select tells()", 1500),
        (&set("user_id", "null"), "select tells()", 300),
        (&set("user_roles", &roles(300)), "select tells()", 300),
        (&set("user_roles", &roles(900)), "select tells()", 400),
        ("select 1", &long, 4000),
        ("select 1", &escaped, 4000),
        ("select 1", &many, 40_000),
        ("select 1", anew, 4000),
        ("select 1", "insert into fired select i, 'said' from generate_series(1, 3) as i", 400),
        ("select 1", wide, 4000),
    ] {
        run(&corner, &mut session, before)?.ok()?;
        let (failed, others) = sweep(&corner, &mut session, sql, (most, 40), &["42703", "42701", "22023"])?;
        ensure!(failed > 0 && others > 0, "{failed} and {others}: {sql:.200}");
    }
    ensure!(figure(corner.cluster, "stat_ring", "out_of_memory_total")? > 0, "no event was lost");
    Ok(())
}
