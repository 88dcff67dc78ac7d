//! Parallel query: what is raised in a worker is refused and counted, never an event, never doubled, and
//! nothing changes for the client and the log (C3.1; trap B: the leader raises each message of a worker
//! again).

mod common;

use anyhow::{Context, Result};
use common::differential::{Case, Pair};

/// Everything that can runs in a worker.
const OPTIONS: &str = "-c force_parallel_mode=on -c parallel_setup_cost=0 -c parallel_tuple_cost=0 \
    -c min_parallel_table_scan_size=0 -c max_parallel_workers_per_gather=1 -c parallel_leader_participation=off";

const SETUP: &str = "
    create table t as select i as a from generate_series(1, 3) i;
    analyze t;
    create function speaks(n int) returns int language plpgsql parallel safe as $f$
    begin
        raise info 'speaks %', n;
        raise notice 'notice %', n;
        raise warning 'warning %', n;
        return n;
    end $f$;
    create function annotated(n int) returns int language plpgsql as $f$
    begin raise info 'annotated %', n; return n; end $f$;
    comment on function annotated(int) is '@sse';
    create function leads() returns bigint language plpgsql as $f$
    begin
        raise info 'before';
        -- PERFORM may run in parallel, SELECT INTO may not.
        perform sum(speaks(a)) from t;
        raise info 'after';
        return 1;
    end $f$;
    comment on function leads() is '@sse';
    create function divides(n int) returns int language plpgsql parallel safe as $f$
    begin raise info 'divides %', n; return 1 / (n - 2); end $f$;
    create function leads_to_error() returns text language plpgsql as $f$
    begin
        perform sum(divides(a)) from t;
        return 'no error';
    exception when division_by_zero then
        raise info 'caught %', sqlerrm;
        return sqlerrm;
    end $f$;
    comment on function leads_to_error() is '@sse';";

fn parallel_case<'a>(pair: &'a Pair, name: &str) -> Case<'a> {
    // PostgreSQL 16 renamed the setting.
    let is_renamed = pair.stock.install().pg_config().major >= 16;
    let options = if is_renamed {
        OPTIONS.replace("force_parallel_mode", "debug_parallel_query")
    } else {
        OPTIONS.to_owned()
    };
    pair.case(name).setup(SETUP).options(&options)
}

fn refused_total(pair: &Pair) -> Result<u64> {
    pair.preloaded.sql("select parallel_total from sse.stat_ring")?.parse().context("not a number")
}

/// Trap B. With a server of its own, since it looks at a counter.
#[test]
fn what_workers_raise_is_refused_and_counted_and_never_doubled() -> Result<()> {
    let pair = Pair::start(|builder| builder)?;
    let before = refused_total(&pair)?;
    let plan =
        parallel_case(&pair, "plan").answer("explain (costs off) select sum(speaks(a)) from t;", &[])?;
    assert!(plan.client.contains("Workers Planned: 1"), "nothing would be tested: {}", plan.client);
    let nobody = parallel_case(&pair, "nobody_leads").answer("select sum(speaks(a)) from t;", &[])?;
    assert_eq!(nobody.client.matches("INFO:  00000: speaks").count(), 3, "{}", nobody.client);
    assert!(nobody.client.contains("parallel worker"), "it did run in a worker: {}", nobody.client);
    assert_eq!(refused_total(&pair)?, before, "nobody would have published it");

    let led = parallel_case(&pair, "leader_annotated").answer("select leads();", &["before", "after"])?;
    assert!(led.client.contains("parallel worker"), "it did run in a worker: {}", led.client);
    assert_eq!(refused_total(&pair)?, before + 3, "one for each RAISE INFO below the annotated leader");
    Ok(())
}

#[test]
fn an_error_in_a_worker_leaves_nothing_behind() -> Result<()> {
    // Whether the message of the row before the error comes depends on how far the worker has got with
    // sending.
    parallel_case(Pair::shared()?, "worker_error").emits(
        "select leads_to_error();
         do $$ begin raise info 'nobody'; end $$;
         select annotated(1);",
        &["caught division by zero", "annotated 1"],
    )
}

#[test]
fn the_logs_of_leader_and_workers_are_as_ever() -> Result<()> {
    for level in ["debug1", "info", "warning", "error", "panic"] {
        parallel_case(Pair::shared()?, &format!("log_at_{level}"))
            .options(&format!(" -c log_min_messages={level}"))
            .emits(
                "select leads(); select leads_to_error(); select sum(speaks(a)) from t;",
                &["before", "after", "caught division by zero"],
            )?;
    }
    Ok(())
}

#[test]
fn a_publisher_that_is_parallel_unsafe_is_captured_in_the_leader() -> Result<()> {
    parallel_case(Pair::shared()?, "leader_publishes").emits(
        "select annotated(a) from t order by a;
         select annotated(1) where exists (select from t where a = 2);",
        &["annotated 1", "annotated 2", "annotated 3", "annotated 1"],
    )
}

#[test]
fn an_annotated_routine_that_a_worker_runs_all_the_same_publishes_nothing() -> Result<()> {
    // Not parallel safe itself, but called from a routine that claims to be.
    let setup = "
        create function at_once(n int) returns int language plpgsql as $f$
        begin raise info 'at once %', n; return n; end $f$;
        comment on function at_once(int) is E'@sse\\n@sse_delivery immediate';
        create function lies(n int) returns int language plpgsql parallel safe as $f$
        begin return annotated(n) + at_once(n); end $f$;
        create function marked_safe(n int) returns int language plpgsql parallel safe as $f$
        begin raise info 'marked safe %', n; return n; end $f$;
        comment on function marked_safe(int) is '@sse';";
    parallel_case(Pair::shared()?, "lies")
        .setup(setup)
        .emits("select sum(lies(a)) from t; select sum(marked_safe(a)) from t;", &[])
}
