//! What becomes of events with their transaction: `commit` sends those of what has committed, `immediate`
//! sends at once (C5.1 to C5.3).

mod common;

use anyhow::Result;
use common::differential::{Pair, case};

/// `at_commit(x)` and `at_once(x)`.
const SETUP: &str = "
    create table t (a text);
    create function at_commit(message text) returns void language plpgsql as $f$
    begin insert into t values (message); raise info 'c %', message; end $f$;
    comment on function at_commit(text) is '@sse';
    create function at_once(message text) returns void language plpgsql as $f$
    begin insert into t values (message); raise info 'i %', message; end $f$;
    comment on function at_once(text) is E'@sse\\n@sse_delivery immediate';
    create function default_of_setting(message text) returns void language plpgsql as $f$
    begin raise info 'd %', message; end $f$;
    comment on function default_of_setting(text) is '@sse_publish';";

#[test]
fn a_rolled_back_transaction_sends_nothing_but_the_immediate() -> Result<()> {
    case("rolled_back")?.setup(SETUP).emits(
        "begin;
         select at_commit('1');
         select at_once('2');
         select default_of_setting('3');
         rollback;
         begin;
         select at_commit('4');
         select at_once('5');
         select 1 / 0;
         select at_once('6');
         commit;
         begin;
         select at_commit('7');
         select at_once('8');
         select default_of_setting('9');
         commit;
         select at_commit('10'), 1 / 0;
         select at_commit('11'), at_commit('12');",
        &["i 2", "i 5", "i 8", "c 7", "d 9", "c 11", "c 12"],
    )
}

#[test]
fn a_rolled_back_savepoint_takes_its_events_along() -> Result<()> {
    case("savepoints")?.setup(SETUP).emits(
        "begin;
         select at_commit('1');
         savepoint a;
         select at_commit('in a'), at_once('in a');
         rollback to a;
         select at_commit('2');
         savepoint b;
         select at_commit('in b');
         release b;
         savepoint c;
         select at_commit('in c');
         savepoint d;
         select at_commit('in d');
         release d;
         select at_commit('behind d');
         rollback to c;
         select at_commit('3');
         savepoint e;
         select at_commit('in e');
         savepoint f;
         select at_commit('in f');
         rollback to f;
         select at_commit('behind f');
         release e;
         savepoint g;
         savepoint h;
         select at_commit('in h, released into g');
         release h;
         rollback to g;
         commit;
         select * from t;",
        &["i in a", "c 1", "c 2", "c in b", "c 3", "c in e", "c behind f"],
    )
}

#[test]
fn an_exception_block_takes_its_events_along() -> Result<()> {
    let setup = format!(
        "{SETUP}
        create function tries() returns void language plpgsql as $f$
        begin
            raise info 'first';
            begin
                raise info 'lost';
                perform at_commit('lost too');
                perform at_once('kept');
                begin
                    perform at_commit('nested and lost');
                exception when others then null;
                end;
                raise exception 'x';
            exception when raise_exception then
                raise info 'handler';
            end;
            for i in 1..3 loop
                begin
                    raise info 'round %', i;
                    if i = 2 then raise exception 'x'; end if;
                exception when others then
                    raise info 'caught %', i;
                end;
            end loop;
            raise info 'last';
        end $f$;
        comment on function tries() is '@sse';"
    );
    case("exception_blocks")?.setup(&setup).emits(
        "select tries();
         begin;
         select tries();
         rollback;",
        &["i kept", "first", "handler", "round 1", "caught 2", "round 3", "last", "i kept"],
    )
}

#[test]
fn each_commit_of_a_procedure_and_of_a_block_sends_what_was_raised_before_it() -> Result<()> {
    let setup = format!(
        "{SETUP}
        create procedure steps() language plpgsql as $f$
        begin
            perform at_commit('1');
            raise info 'p 1';
            commit;
            perform at_once('between');
            raise info 'p lost';
            perform at_commit('lost');
            rollback;
            raise info 'p 2';
            commit and chain;
            raise info 'p 3';
        end $f$;
        comment on procedure steps() is '@sse';
        create procedure fails_later() language plpgsql as $f$
        begin
            raise info 'committed';
            commit;
            raise info 'lost';
            raise exception 'x';
        end $f$;
        comment on procedure fails_later() is '@sse';"
    );
    case("inner_commits")?.setup(&setup).emits(
        "call steps();
         call fails_later();
         do $$
         begin
             perform at_commit('block 1');
             commit;
             perform at_commit('block lost');
             rollback;
             perform at_commit('block 2');
         end $$;
         do $$ begin call steps(); perform at_commit('behind'); end $$;",
        &[
            "c 1",
            "p 1",
            "i between",
            "p 2",
            "p 3",
            "committed",
            "c block 1",
            "c block 2",
            "c 1",
            "p 1",
            "i between",
            "p 2",
            "p 3",
            "c behind",
        ],
    )
}

#[test]
fn a_transaction_that_fails_at_its_commit_sends_nothing() -> Result<()> {
    let setup = format!(
        "{SETUP}
        create table parent (a int primary key);
        create table child (a int references parent deferrable initially deferred);
        create function fails_at_commit() returns trigger language plpgsql as $f$
        begin raise info 'trigger'; raise exception 'no'; end $f$;
        comment on function fails_at_commit() is '@sse';
        create constraint trigger c after insert on parent deferrable initially deferred
            for each row execute function fails_at_commit();"
    );
    case("fails_at_commit")?.setup(&setup).emits(
        "begin;
         select at_commit('lost');
         insert into child values (1);
         commit;
         begin;
         select at_commit('lost too');
         insert into parent values (1);
         commit;
         select at_commit('kept');",
        &["c kept"],
    )
}

#[test]
fn events_without_a_transaction_id_are_sent_too() -> Result<()> {
    case("read_only")?.setup(SETUP).emits(
        "begin read only;
         select default_of_setting('1');
         commit;
         begin isolation level serializable;
         select default_of_setting('2');
         commit;
         select default_of_setting('4') \\; select default_of_setting('5');
         select default_of_setting('lost') \\; select 1 / 0;",
        &["d 1", "d 2", "d 4", "d 5"],
    )
}

#[test]
fn prepare_transaction_is_refused_with_events_and_allowed_without() -> Result<()> {
    let pair = Pair::start(|builder| builder.setting("max_prepared_transactions", 2))?;
    let allowed = "begin;
         insert into t values ('1');
         select at_once('before');
         prepare transaction 'one';
         begin;
         savepoint s;
         select at_commit('rolled back');
         rollback to s;
         prepare transaction 'two';
         do $$ begin raise info 'nobody'; end $$;
         commit prepared 'one';
         rollback prepared 'two';
         select * from t;";
    pair.case("prepared").setup(SETUP).emits(allowed, &["i before"])?;

    let mut session = pair.preloaded.session()?;
    session.run("set search_path = prepared; begin; select at_commit('lost')")?.ok()?;
    let reply = session.run("prepare transaction 'three'")?;
    let error = reply.error().map(|error| (error.sqlstate.clone(), error.text.clone()));
    let expected = "cannot PREPARE a transaction that has published events";
    assert_eq!(error, Some((Some("0A000".to_owned()), expected.to_owned())));
    assert_eq!(session.run("select count(*) from pg_prepared_xacts")?.ok()?.text(), "0");
    Ok(())
}
