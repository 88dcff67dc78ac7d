//! When a comment, or a change of its routine, takes effect in backends: in its own session at once, in
//! others as `CREATE OR REPLACE FUNCTION` does, and never when it is rolled back (C2.4; trap E: the message
//! must not come after the statement's own CommandCounterIncrement).

mod common;

use anyhow::Result;
use cluster::{PATIENCE, wait_for};
use common::differential::case;

const SETUP: &str = "
    create function f(message text) returns text language plpgsql as $f$
    begin raise info '%', message; return message; end $f$;
    create function caller(message text) returns text language plpgsql as $f$
    begin return f(message); end $f$;";

/// Trap E.
#[test]
fn a_comment_takes_effect_in_its_own_session_and_goes_with_its_rollback() -> Result<()> {
    case("own_session")?.setup(SETUP).emits(
        "select f('not yet');
         comment on function f is '@sse';
         select f('1'), caller('2');
         comment on function f is null;
         select f('no more');
         begin;
         comment on function f is E'@sse\\n@sse_delivery immediate';
         select f('3');
         rollback;
         select f('rolled back'), caller('rolled back');
         begin;
         comment on function f is E'@sse\\n@sse_delivery immediate';
         select f('4');
         savepoint s;
         comment on function f is 'prose';
         select f('prose');
         rollback to s;
         select f('5');
         savepoint u;
         comment on function f is null;
         release u;
         select f('released');
         commit;
         select f('still null');
         begin;
         savepoint v;
         comment on function f is '@sse';
         rollback to v;
         select f('rolled back to v');
         commit;
         select f('rolled back to v');
         comment on function f is '@sse on notice';
         select f('other level');
         comment on routine f is '@sse';
         select f('6');
         comment on function f is '';
         select f('empty');",
        &["1", "2", "3", "4", "5", "6"],
    )
}

#[test]
fn a_comment_inside_one_transaction_takes_effect_at_once() -> Result<()> {
    let setup = "
        create procedure changes() language plpgsql as $f$
        begin
            comment on function f(text) is null;
            perform f('1 nobody');
            comment on function f(text) is E'@sse\\n@sse_delivery immediate';
            perform f('2');
            commit;
            perform f('3');
            comment on function f(text) is 'prose';
            perform f('4 nobody');
            rollback;
            perform f('5');
            begin
                comment on function f(text) is null;
                perform f('6 nobody');
                raise exception 'x';
            exception when raise_exception then
                perform f('7');
            end;
        end $f$;
        create procedure changes_itself() language plpgsql as $f$
        begin
            raise info 'self 1';
            comment on procedure changes_itself() is null;
            raise info 'self 2';
            perform f('8');
        end $f$;";
    case("running")?.setup(SETUP).setup(setup).emits(
        "call changes();
         comment on procedure changes_itself() is '@sse';
         call changes_itself();
         call changes_itself();
         comment on routine changes_itself is '@sse';
         call changes_itself();",
        &["2", "3", "5", "7", "8", "self 1", "self 2", "8", "8", "self 1", "self 2"],
    )
}

#[test]
fn create_or_replace_keeps_the_comment_and_drop_and_alter_are_heeded() -> Result<()> {
    let again =
        "returns text language plpgsql as $f$ begin raise info 'again %', message; return message; end $f$;";
    let script = format!(
        "select f('1');
         create or replace function f(message text) {again}
         select f('2');
         drop function f(text);
         create function f(message text) {again}
         select f('dropped');
         comment on function f(text) is '@sse';
         select f('3');
         alter function f(text) rename to g;
         select g('4');
         alter function g(text) set work_mem = '1MB';
         select g('5');
         begin;
         drop function g(text);
         create function g(message text) {again}
         select g('dropped');
         rollback;
         select g('6');
         alter function g(text) security definer;
         select g('7');"
    );
    case("replaced")?
        .setup(SETUP)
        .setup("comment on function f(text) is '@sse';")
        .emits(&script, &["1", "again 2", "again 3", "again 4", "again 5", "again 6", "again 7"])
}

#[test]
fn a_comment_of_another_session_is_taken_up_when_it_has_committed() -> Result<()> {
    let case = case("other_session")?.setup(SETUP);
    case.acts(
        |case| {
            let (mut mine, mut other) = (case.session()?, case.session()?);
            // Plans and expressions that are cached from now on.
            mine.run("prepare p(text) as select f($1)")?.ok()?;
            for round in 1..=6 {
                mine.run(&format!("execute p('none {round}')"))?.ok()?;
                mine.run(&format!("select caller('none {round}')"))?.ok()?;
            }
            other.run("begin; comment on function f is '@sse'; select f('1 own')")?.ok()?;
            mine.run("execute p('uncommitted'); select caller('uncommitted')")?.ok()?;
            other.run("commit")?.ok()?;
            mine.run("execute p('2 prepared')")?.ok()?;
            mine.run("select caller('3 cached')")?.ok()?;

            other.run("begin; comment on function f is null; rollback")?.ok()?;
            mine.run("execute p('4'); select caller('5')")?.ok()?;
            other.run("comment on function f is null")?.ok()?;
            mine.run("execute p('null'); select caller('null')")?.ok()?;

            // A running transaction takes the change in when it takes a lock that it does not have yet.
            mine.run("begin; select f('none')")?.ok()?;
            other.run("comment on function f is '@sse'; create table fresh ()")?.ok()?;
            mine.run("select * from fresh; select f('6'); commit")?.ok()?;

            let body = "language plpgsql as $f$ begin raise info 'again %', message; return message; end $f$";
            other.run(&format!("create or replace function f(message text) returns text {body}"))?.ok()?;
            mine.run("execute p('7'); select caller('8')")?.ok()?;
            other.run("drop function f(text)")?.ok()?;
            mine.run("select caller('gone')")?;
            other.run(&format!("create function f(message text) returns text {body}"))?.ok()?;
            mine.run("select caller('new'); select f('new')").map(drop)
        },
        &["1 own", "2 prepared", "3 cached", "4", "5", "6", "again 7", "again 8"],
    )?;
    Ok(())
}

#[test]
fn a_comment_changed_by_another_session_holds_for_the_next_call_of_a_running_procedure() -> Result<()> {
    let setup = "
        create procedure waits() language plpgsql as $f$
        begin
            perform f('before');
            commit;
            -- Until the other session lets go of it.
            perform pg_advisory_xact_lock(hashtext('capture_comments'));
            commit;
            perform f('after');
        end $f$;";
    let case = case("changed_below")?.setup(SETUP).setup(setup);
    case.acts(
        |case| {
            let (mut mine, mut other) = (case.session()?, case.session()?);
            other.run("select pg_advisory_lock(hashtext('capture_comments'))")?.ok()?;
            mine.send("call waits()")?;
            for session in [&mut other.stock, &mut other.preloaded] {
                wait_for(PATIENCE, "the procedure waits", || {
                    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted";
                    Ok((session.run(waiting)?.ok()?.value() == Some("1")).then_some(()))
                })?;
            }
            other.run("comment on function f is '@sse'")?.ok()?;
            other.run("select pg_advisory_unlock(hashtext('capture_comments'))")?.ok()?;
            mine.wait()?.ok().map(drop)
        },
        &["after"],
    )
    .map(drop)
}
