//! Statements that are cancelled, time out or are terminated in the middle of an annotated routine (C3.2).

mod common;

use anyhow::Result;
use cluster::{PATIENCE, Session, wait_for};
use common::differential::{Case, Twin, case};

const SETUP: &str = "
    create function sleeps() returns void language plpgsql as $f$
    begin
        raise info 'sleeps';
        perform pg_sleep(60);
        raise info 'never';
    end $f$;
    comment on function sleeps() is E'@sse\\n@sse_delivery immediate';
    create function catches() returns text language plpgsql as $f$
    begin
        perform sleeps();
        return 'never';
    exception when query_canceled then
        raise info 'caught %', sqlerrm;
        raise notice 'a notice';
        return current_setting('log_min_messages');
    end $f$;
    comment on function catches() is E'@sse\\n@sse_delivery immediate';
    create procedure sleeps_later() language plpgsql as $f$
    begin
        raise info 'committed';
        commit;
        raise info 'lost';
        perform pg_sleep(60);
    end $f$;
    comment on procedure sleeps_later() is '@sse';";

#[test]
fn a_statement_timeout_leaves_nothing_behind() -> Result<()> {
    case("timeout")?.setup(SETUP).options("-c statement_timeout=200ms").emits(
        "select sleeps();
         do $$ begin raise info 'nobody'; end $$;
         select catches();
         do $$ begin raise info 'nobody'; end $$;
         call sleeps_later();
         begin;
         savepoint s;
         select sleeps();
         rollback to s;
         do $$ begin raise info 'nobody'; end $$;
         commit;",
        &["sleeps", "sleeps", "caught canceling statement due to statement timeout", "committed", "sleeps"],
    )?;
    Ok(())
}

/// Calls `function(pid)` for the first session of each cluster as soon as it sleeps.
fn interrupt(sleeper: &mut Twin, other: &mut Twin, statement: &str, function: &str) -> Result<()> {
    let pids = [sleeper.stock.backend_pid()?, sleeper.preloaded.backend_pid()?];
    sleeper.send(statement)?;
    let others: [&mut Session; 2] = [&mut other.stock, &mut other.preloaded];
    for (session, pid) in others.into_iter().zip(pids) {
        wait_for(PATIENCE, "the session sleeps", || {
            let sql = format!("select wait_event = 'PgSleep' from pg_stat_activity where pid = {pid}");
            Ok((session.run(&sql)?.ok()?.value() == Some("t")).then_some(()))
        })?;
        session.run(&format!("select {function}({pid})"))?.ok()?;
    }
    Ok(())
}

#[test]
fn a_cancel_leaves_nothing_behind() -> Result<()> {
    let act = |case: &Case<'_>| {
        let (mut sleeper, mut other) = (case.session()?, case.session()?);
        for statement in ["select sleeps()", "call sleeps_later()", "select catches()"] {
            interrupt(&mut sleeper, &mut other, statement, "pg_cancel_backend")?;
            sleeper.wait()?;
            sleeper.run(
                "show log_min_messages; do $$ begin raise info 'nobody'; raise notice 'nobody'; end $$",
            )?;
        }
        Ok(())
    };
    let events = ["sleeps", "committed", "sleeps", "caught canceling statement due to user request"];
    let log = case("cancelled")?.setup(SETUP).acts(act, &events)?;
    assert!(log.contains("canceling statement due to user request"), "{log}");
    Ok(())
}

#[test]
fn a_terminated_session_ends_as_ever() -> Result<()> {
    let act = |case: &Case<'_>| {
        let mut other = case.session()?;
        for statement in ["select sleeps()", "call sleeps_later()", "select catches()"] {
            let mut sleeper = case.session()?;
            interrupt(&mut sleeper, &mut other, statement, "pg_terminate_backend")?;
            for session in [&mut sleeper.stock, &mut sleeper.preloaded] {
                assert!(session.wait(PATIENCE).is_err(), "the connection is lost");
            }
        }
        Ok(())
    };
    let fatal = "FATAL:  terminating connection due to administrator command";
    for (level, expected) in [("warning", 3), ("panic", 0)] {
        let case = case(&format!("terminated_at_{level}"))?.setup(SETUP);
        let case = case.options(&format!("-c log_min_messages={level}"));
        let log = case.acts(act, &["sleeps", "committed", "sleeps"])?;
        assert_eq!(log.matches(fatal).count(), expected, "{log}");
    }
    Ok(())
}
