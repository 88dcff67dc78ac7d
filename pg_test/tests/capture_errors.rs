//! Errors through, around and inside annotated routines have every field that they have without pg_sse, and
//! leave nothing behind (C3.2; trap D: a guarded ProcessUtility hook degrades every error of CALL, DO and
//! DDL).

mod common;

use anyhow::Result;
use common::differential::case;

/// Routines that fail with all fields set, by constraint, and by syntax.
const SETUP: &str = "
    create table t (a int primary key, b int constraint positive check (b > 0), c int not null default 1);
    create function fails(message text) returns int language plpgsql as $f$
    begin
        raise info '% before', message;
        raise exception '% failed', message using errcode = 'P0099', detail = 'a detail', hint = 'Please retry',
            column = 'a column', constraint = 'a constraint', datatype = 'a type', table = 'a table',
            schema = 'a schema';
    end $f$;
    comment on function fails(text) is E'@sse\\n@sse_delivery immediate';
    create procedure inserts(a int, b int, c int) language plpgsql as $f$
    begin
        raise info 'inserts % % %', a, b, c;
        insert into t values (a, b, c);
        commit;
        raise info 'inserted';
    end $f$;
    comment on procedure inserts(int, int, int) is E'@sse\\n@sse_delivery immediate';
    create function plain_fails() returns int language plpgsql as $f$
    begin
        raise exception 'plain' using errcode = 'P0098', detail = 'd', hint = 'h', constraint = 'c';
    end $f$;";

/// Trap D.
// Long because it is one list of statements.
#[test]
fn errors_of_utility_statements_keep_every_field() -> Result<()> {
    let answer = case("shapes")?.setup(SETUP).answer(
        "call inserts(1, 1, 1);
         call inserts(1, 1, 1);
         call inserts(2, -1, 1);
         call inserts(2, 1, null);
         call missing(1);
         do $$ begin perform fails('block'); end $$;
         do $$ begin perform plain_fails(); end $$;
         do $$ begin execute 'selec 1'; end $$;
         do $$ begin raise sqlstate 'P0097' using message = 'own', column = 'x'; end $$;
         do $$ syntax $$;
         do language missing 'x';
         comment on function missing() is 'x';
         comment on function fails(int) is 'x';
         comment on column t.missing is 'x';
         comment on table missing is 'x';
         create table t (a int);
         create table u (a int default fails('default'), b missing_type);
         alter table t add constraint positive check (b > 1);
         alter table t add check (fails('check') = 1);
         create index on t ((1 / (a - 1)));
         insert into t values (1, 1, 1);
         alter table t alter a type boolean using fails('using') = 1;
         create function broken() returns int language plpgsql as $f$ begin retrun 1; end $f$;
         create function broken() returns int language sql as $f$ select missing $f$;
         drop function missing();
         drop table missing;
         explain (analyze, costs off) select fails('explain');
         explain select missing;
         explain (analyze) insert into t values (1);
         copy t from stdin;
1\t1\t1
\\.
         copy t from stdin;
x\t1\t1
\\.
         copy (select fails('copy')) to stdout;
         copy missing from stdin;
         create view v as select missing;
         grant all on missing to public;
         set work_mem = 'x';
         set nonsense = 1;
         lock table t;
         vacuum missing;
         execute missing;
         fetch 1 from missing;
         refresh materialized view missing;",
        &[
            "inserts 1 1 1",
            "inserted",
            "inserts 1 1 1",
            "inserts 2 -1 1",
            "inserts 2 1 <NULL>",
            "block before",
            "check before",
            "using before",
            "explain before",
            "copy before",
        ],
    )?;
    for part in [
        "ERROR:  P0099: block failed",
        "CONSTRAINT NAME:  a constraint",
        "ERROR:  23514: new row for relation \"t\" violates check constraint \"positive\"",
        "PL/pgSQL function inserts(integer,integer,integer) line 4 at SQL statement",
        "LINE 1: selec 1",
        "SCHEMA NAME:  shapes",
    ] {
        assert!(answer.client.contains(part), "{part} in:\n{}", answer.client);
    }
    Ok(())
}

#[test]
fn an_error_through_and_an_error_caught_leave_nothing_behind() -> Result<()> {
    let setup = format!(
        "{SETUP}
        create function catches(depth int) returns int language plpgsql as $f$
        begin
            begin
                if depth > 0 then
                    perform catches(depth - 1);
                end if;
                perform fails(depth::text);
            exception when sqlstate 'P0099' then
                raise info 'caught % %', depth, sqlerrm;
                raise warning 'warned %', depth;
            end;
            raise info 'after %', depth;
            return depth;
        end $f$;
        comment on function catches(int) is E'@sse\\n@sse_delivery immediate';
        create function rethrows() returns int language plpgsql as $f$
        begin
            return fails('rethrown');
        exception when others then
            raise info 'rethrows';
            raise;
        end $f$;
        comment on function rethrows() is E'@sse\\n@sse_delivery immediate';"
    );
    case("caught")?.setup(&setup).emits(
        "select fails('through');
         select catches(1);
         select rethrows();
         do $$ begin perform fails('a'); exception when others then raise info 'nobody'; end $$;
         begin;
         savepoint s;
         select fails('b');
         rollback to s;
         do $$ begin raise info 'nobody'; end $$;
         select catches(0);
         commit;
         select fails(x) from unnest(array['c', 'd']) x;",
        &[
            "through before",
            "0 before",
            "caught 0 0 failed",
            "after 0",
            "1 before",
            "caught 1 1 failed",
            "after 1",
            "rethrown before",
            "rethrows",
            "a before",
            "b before",
            "0 before",
            "caught 0 0 failed",
            "after 0",
            "c before",
        ],
    )
}

#[test]
fn raise_inside_error_handling_is_captured() -> Result<()> {
    let setup = "
        create function handles() returns void language plpgsql as $f$
        declare text1 text; text2 text;
        begin
            begin
                perform 1 / 0;
            exception when division_by_zero then
                get stacked diagnostics text1 = message_text, text2 = pg_exception_context;
                raise info '% at %', text1, text2;
                begin
                    raise notice 'a notice';
                    raise exception 'second';
                exception when raise_exception then
                    raise info 'second caught %', sqlerrm;
                end;
                raise info 'still handling %', sqlerrm;
            end;
        end $f$;
        comment on function handles() is E'@sse';
        create function aborted() returns void language plpgsql as $f$
        begin raise info 'aborted'; end $f$;
        comment on function aborted() is E'@sse\\n@sse_delivery immediate';";
    case("handling")?.setup(setup).emits(
        "select handles();
         begin;
         select 1 / 0;
         select aborted();
         rollback;
         select aborted();",
        &[
            "division by zero at SQL statement \"SELECT 1 / 0\"\nPL/pgSQL function handles() line 5 at PERFORM",
            "second caught second", "still handling division by zero", "aborted",
        ],
    )
}

/// The depth at which the stack overflows depends on how much of it our frames take, so neither the client's
/// nor the log's context is shown; only how the statement ends is compared.
#[test]
fn recursion_until_the_stack_ends_fails_as_ever_and_leaves_nothing_behind() -> Result<()> {
    let setup = "
        create function deep(n int) returns int language plpgsql as $f$
        begin
            if n % 100 = 0 and n <= 200 then raise info 'deep %', n; end if;
            return deep(n + 1);
        end $f$;
        comment on function deep(int) is E'@sse\\n@sse_delivery immediate';
        create function survives() returns text language plpgsql as $f$
        begin
            perform deep(0);
        exception when statement_too_complex then
            raise info 'survived';
            return sqlerrm;
        end $f$;
        comment on function survives() is E'@sse\\n@sse_delivery immediate';";
    let answer = case("deep_recursion")?
        .setup(setup)
        .options("-c max_stack_depth=1MB -c log_min_messages=log -c client_min_messages=error")
        .answer(
            "\\set SHOW_CONTEXT never
             \\set VERBOSITY sqlstate
             select deep(0);
             select survives();
             do $$ begin raise info 'nobody'; end $$;",
            &["deep 0", "deep 100", "deep 200", "deep 0", "deep 100", "deep 200", "survived"],
        )?;
    assert!(answer.client.contains("ERROR:  54001"), "{}", answer.client);
    Ok(())
}
