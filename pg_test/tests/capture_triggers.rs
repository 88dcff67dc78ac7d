//! Trigger functions are annotated routines like others, whoever fires them (C3.1).

mod common;

use anyhow::Result;
use common::differential::case;

#[test]
fn row_and_statement_triggers_are_captured() -> Result<()> {
    let setup = "
        create table t (a int);
        create function tells() returns trigger language plpgsql as $f$
        begin
            raise info '% % % %', tg_when, tg_op, tg_level, coalesce(new.a, old.a);
            raise notice 'a notice';
            if tg_op = 'DELETE' then return old; end if;
            return new;
        end $f$;
        comment on function tells() is E'@sse\\n@sse_delivery immediate';
        create trigger b before insert or update or delete on t for each row execute function tells();
        create trigger a after insert or update or delete on t for each row execute function tells();
        create function tells_statement() returns trigger language plpgsql as $f$
        begin raise info '% % %', tg_when, tg_op, tg_level; return null; end $f$;
        comment on function tells_statement() is E'@sse\\n@sse_delivery immediate';
        create trigger s after insert or truncate on t for each statement execute function tells_statement();
        create view v as select a from t;
        create trigger i instead of insert on v for each row execute function tells();";
    case("row_triggers")?.setup(setup).emits(
        "insert into t values (1), (2);
         update t set a = 3 where a = 1;
         delete from t where a = 3;
         insert into v values (4);
         copy t from stdin;
5
\\.
         truncate t;
         with x as (insert into t values (6) returning a) select a from x;",
        &[
            "BEFORE INSERT ROW 1",
            "BEFORE INSERT ROW 2",
            "AFTER INSERT ROW 1",
            "AFTER INSERT ROW 2",
            "AFTER INSERT STATEMENT",
            "BEFORE UPDATE ROW 3",
            "AFTER UPDATE ROW 3",
            "BEFORE DELETE ROW 3",
            "AFTER DELETE ROW 3",
            "INSTEAD OF INSERT ROW 4",
            "BEFORE INSERT ROW 5",
            "AFTER INSERT ROW 5",
            "AFTER INSERT STATEMENT",
            "AFTER TRUNCATE STATEMENT",
            "BEFORE INSERT ROW 6",
            "AFTER INSERT ROW 6",
            "AFTER INSERT STATEMENT",
        ],
    )
}

#[test]
fn a_deferred_constraint_trigger_is_captured_at_its_commit() -> Result<()> {
    let setup = "
        create table t (a int);
        create function checks() returns trigger language plpgsql as $f$
        begin
            raise info 'checks %', new.a;
            raise notice 'a notice';
            if new.a < 0 then raise exception 'negative' using constraint = 'not_negative'; end if;
            return null;
        end $f$;
        comment on function checks() is '@sse';
        create constraint trigger c after insert on t deferrable initially deferred
            for each row execute function checks();
        create procedure inserts() language plpgsql as $f$
        begin
            insert into t values (7);
            raise info 'before the commit';
            commit;
            raise info 'behind the commit';
            insert into t values (8);
            rollback;
        end $f$;
        comment on procedure inserts() is '@sse';";
    case("deferred")?.setup(setup).emits(
        "insert into t values (1);
         begin;
         insert into t values (2);
         do $$ begin raise info 'nobody'; end $$;
         commit;
         begin;
         insert into t values (3);
         rollback;
         begin;
         insert into t values (4);
         insert into t values (-1);
         commit;
         begin;
         insert into t values (5);
         set constraints all immediate;
         savepoint s;
         insert into t values (6);
         rollback to s;
         commit;
         call inserts();
         select * from t order by a;",
        &["checks 1", "checks 2", "checks 5", "before the commit", "checks 7"],
    )
}

#[test]
fn event_triggers_are_captured() -> Result<()> {
    let setup = "
        create function on_command() returns event_trigger language plpgsql as $f$
        begin
            if current_schema = 'event_triggers' then raise info '% %', tg_event, tg_tag; end if;
        end $f$;
        comment on function on_command() is E'@sse\\n@sse_delivery immediate';
        create event trigger on_start on ddl_command_start when tag in ('CREATE TABLE', 'DROP TABLE')
            execute function on_command();
        create event trigger on_end on ddl_command_end when tag in ('CREATE TABLE', 'DROP TABLE')
            execute function on_command();
        create event trigger on_drop on sql_drop when tag in ('DROP TABLE') execute function on_command();";
    case("event_triggers")?.setup(setup).emits(
        "create table t (a int);
         create table t (a int);
         drop table t;
         drop event trigger on_start;
         drop event trigger on_end;
         drop event trigger on_drop;",
        &[
            "ddl_command_start CREATE TABLE",
            "ddl_command_end CREATE TABLE",
            "ddl_command_start CREATE TABLE",
            "ddl_command_start DROP TABLE",
            "sql_drop DROP TABLE",
            "ddl_command_end DROP TABLE",
        ],
    )
}

#[test]
fn a_trigger_of_an_unannotated_function_is_an_event_of_the_annotated_caller() -> Result<()> {
    let setup = "
        create table t (a int);
        create function plain_trigger() returns trigger language plpgsql as $f$
        begin raise info 'trigger %', new.a; return new; end $f$;
        create trigger p before insert on t for each row execute function plain_trigger();
        create function inserts(n int) returns void language plpgsql as $f$
        begin insert into t values (n); end $f$;
        comment on function inserts(int) is '@sse';";
    case("of_the_caller")?.setup(setup).emits(
        "insert into t values (1);
         select inserts(2);
         insert into t values (3);",
        &["trigger 2"],
    )
}
