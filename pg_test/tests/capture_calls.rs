//! Every way of calling an annotated routine: client and server log see what they would see without pg_sse,
//! and each RAISE of its level is one event (C3.1, C3.2).

mod common;

use anyhow::Result;
use common::differential::case;

/// `say()` raises one message of each level; only the INFO is an event. Sent at once, so that what is
/// captured shows whatever becomes of the transaction.
const SAY: &str = "
    create function say(message text) returns int language plpgsql as $f$
    begin
        raise debug '% debug', message;
        raise log '% log', message;
        raise info '% info', message;
        raise notice '% notice', message;
        raise warning '% warning', message using detail = 'a detail', errcode = '01234';
        return 1;
    end $f$;
    comment on function say(text) is E'Says it.\\n@sse\\n@sse_delivery immediate';
    create function plain(message text) returns int language plpgsql as $f$
    begin
        raise info '% plain info', message;
        raise notice '% plain notice', message;
        return 2;
    end $f$;";

#[test]
fn a_select_is_captured_and_looks_as_ever() -> Result<()> {
    let answer = case("selects")?.setup(SAY).answer(
        "select say('one');
         select say(x) from unnest(array['two', 'three']) x;
         select plain('nobody');
         select plain('nobody'), say('four'), plain('nobody');
         select 1 where say('five') = 1 and plain('nobody') = 1;",
        &["one info", "two info", "three info", "four info", "five info"],
    )?;
    assert!(answer.client.contains("INFO:  00000: one info"), "{}", answer.client);
    assert!(answer.client.contains("NOTICE:  00000: one notice"), "{}", answer.client);
    assert!(answer.log.contains("WARNING:  one warning"), "{}", answer.log);
    assert!(answer.log.contains("LOG:  one log"), "{}", answer.log);
    assert!(!answer.log.contains(" info"), "stock settings log no INFO: {}", answer.log);
    Ok(())
}

#[test]
fn a_procedure_is_captured_through_its_commits_and_rollbacks() -> Result<()> {
    let setup = "
        create table t (a int);
        create procedure steps(n int) language plpgsql as $f$
        begin
            for i in 1..n loop
                insert into t values (i);
                raise info 'step %', i;
                raise notice 'notice %', i;
                if i % 2 = 0 then rollback; else commit; end if;
                raise info 'after %', i;
            end loop;
        end $f$;
        comment on procedure steps(int) is E'@sse\\n@sse_delivery immediate';
        create procedure outside() language plpgsql as $f$
        begin
            raise info 'outside';
            call steps(2);
            raise info 'outside again';
            commit;
        end $f$;";
    let steps = ["step 1", "after 1", "step 2", "after 2"];
    let expected: Vec<&str> = steps.iter().cycle().take(12).copied().chain(["step 1"]).collect();
    case("procedures")?.setup(setup).emits(
        "call steps(2);
         do $$ begin call steps(2); raise info 'of the block'; end $$;
         call outside();
         begin;
         call steps(1);
         commit;
         select * from t order by a;",
        &expected,
    )
}

#[test]
fn a_do_block_is_captured_only_below_an_annotated_routine() -> Result<()> {
    let setup = format!(
        "{SAY}
        create function runs_block() returns void language plpgsql as $f$
        begin
            execute 'do $b$ begin raise info ''block''; raise notice ''block''; end $b$';
        end $f$;
        comment on function runs_block() is '@sse';"
    );
    case("blocks")?.setup(&setup).emits(
        "do $$ begin raise info 'nobody'; perform say('in a block'); raise info 'nobody'; end $$;
         select runs_block();",
        &["in a block info", "block"],
    )
}

#[test]
fn nested_calls_are_events_of_the_innermost_routine_of_the_level() -> Result<()> {
    let setup = format!(
        "{SAY}
        create function outer_one() returns void language plpgsql as $f$
        begin
            raise info 'outer before';
            perform say('inner');
            perform plain('callee');
            perform (select say(x) from unnest(array['sub']) x where plain('below') = 2);
            raise info 'outer after';
        end $f$;
        comment on function outer_one() is E'@sse_publish\\n@sse_delivery immediate';
        create function unannotated() returns void language plpgsql as $f$
        begin
            raise info 'nobody';
            perform outer_one();
            raise info 'nobody';
        end $f$;
        create function down(n int) returns int language plpgsql as $f$
        begin
            raise info 'down %', n;
            if n > 1 then perform down(n - 1); end if;
            raise info 'up %', n;
            return n;
        end $f$;
        comment on function down(int) is '@sse';"
    );
    case("nested")?.setup(&setup).emits(
        "select unannotated();
         select down(3);",
        &[
            "outer before",
            "inner info",
            "callee plain info",
            "below plain info",
            "sub info",
            "outer after",
            "down 3",
            "down 2",
            "down 1",
            "up 1",
            "up 2",
            "up 3",
        ],
    )
}

#[test]
fn security_definer_and_set_clauses_are_captured() -> Result<()> {
    let setup = "
        create function definer() returns text language plpgsql security definer as $f$
        begin raise info 'definer %', current_user; raise notice 'n'; return current_user; end $f$;
        comment on function definer() is '@sse';
        create function with_set() returns text language plpgsql set work_mem = '3MB' as $f$
        begin raise info 'work_mem %', current_setting('work_mem'); return current_setting('work_mem'); end $f$;
        comment on function with_set() is '@sse';
        create function twice() returns text language plpgsql security definer set work_mem = '2MB' as $f$
        begin raise info 'twice %', definer(); return with_set(); end $f$;
        comment on function twice() is '@sse';
        create function plain_definer() returns text language plpgsql security definer set work_mem = '2MB' as $f$
        begin raise info 'nobody'; return definer(); end $f$;";
    case("definers")?.setup(setup).emits(
        "select definer(), with_set(), twice(), plain_definer(), current_setting('work_mem');
         \\c - alice
         select definer(), with_set(), twice(), plain_definer(), current_user, current_setting('work_mem');",
        &[
            "definer postgres",
            "work_mem 3MB",
            "definer postgres",
            "twice postgres",
            "work_mem 3MB",
            "definer postgres",
            "definer postgres",
            "work_mem 3MB",
            "definer postgres",
            "twice postgres",
            "work_mem 3MB",
            "definer postgres",
        ],
    )
}

#[test]
fn sets_are_captured_also_when_they_are_read_in_part() -> Result<()> {
    let setup = "
        create function numbers(n int) returns setof int language plpgsql as $f$
        begin
            for i in 1..n loop raise info 'number %', i; return next i; end loop;
        end $f$;
        comment on function numbers(int) is E'@sse\\n@sse_delivery immediate';
        create function pairs(n int) returns table (a int, b int) language plpgsql as $f$
        begin
            raise info 'pairs';
            return query select i, i * i from generate_series(1, n) i;
        end $f$;
        comment on function pairs(int) is '@sse';
        create function lazily(n int) returns setof int language sql as $f$
            select numbers(2) + i from generate_series(1, n) i $f$;
        comment on function lazily(int) is '@sse';";
    let answer = case("sets")?.setup(setup).answer(
        "select numbers(3) limit 1;
         select * from numbers(2) limit 1;
         select * from pairs(2);
         begin;
         declare c cursor for select numbers(2), i from generate_series(1, 3) i;
         fetch 3 from c;
         do $$ begin raise info 'nobody: the cursor is half read'; end $$;
         fetch 1 from c;
         close c;
         declare d cursor with hold for select * from numbers(2);
         commit;
         do $$ begin raise info 'nobody'; end $$;
         fetch all from d;
         close d;
         select lazily(3) limit 1;
         begin;
         declare e cursor for select lazily(3);
         fetch 1 from e;
         do $$ begin raise info 'nobody: the cursor is half read'; end $$;
         rollback;",
        &[
            "number 1", "number 2", "number 3", "number 1", "number 2", "pairs", "number 1", "number 2",
            "number 1", "number 2", "number 1", "number 2", "number 1", "number 2", "number 1", "number 2",
        ],
    )?;
    assert!(!answer.client.contains("ERROR"), "{}", answer.client);
    Ok(())
}

#[test]
fn routines_called_by_sql_functions_and_prepared_statements_are_captured() -> Result<()> {
    let setup = format!(
        "{SAY}
        create function in_sql(text) returns int language sql as $f$ select say($1) $f$;
        create function in_sql_annotated(text) returns int language sql as $f$ select 0; select plain($1) $f$;
        comment on function in_sql_annotated(text) is '@sse';
        create function in_standard_body(message text) returns int return say(message);
        create aggregate together (text) (sfunc = joins, stype = text);",
    );
    let setup = setup.replace(
        "create aggregate",
        "create function joins(text, text) returns text language plpgsql as $f$
         begin raise info 'joins % %', $1, $2; return concat($1, $2); end $f$;
         comment on function joins(text, text) is '@sse';
         create aggregate",
    );
    let answer = case("callers")?.setup(&setup).answer(
        "select in_sql('a'), in_sql_annotated('b'), in_standard_body('c');
         prepare p(text) as select say($1);
         execute p('d');
         execute p('e');
         explain (analyze, costs off, timing off, summary off) execute p('f');
         set plan_cache_mode = force_generic_plan;
         execute p('g');
         deallocate p;
         select together(x order by x) from unnest(array['x', 'y']) x;
         create temp table d (a int default say('default'), check (say('check') = 1));
         insert into d default values;
         create index on d (a) where say('index') = 1;
         copy (select say('copy')) to stdout;",
        &[
            "a info",
            "c info",
            "b plain info",
            "d info",
            "e info",
            "f info",
            "g info",
            "joins <NULL> x",
            "joins x y",
            "default info",
            "check info",
            "copy info",
        ],
    )?;
    assert!(
        answer.client.contains("functions in index predicate must be marked IMMUTABLE"),
        "{}",
        answer.client
    );
    Ok(())
}

/// The one thing that an annotation changes for the client: PostgreSQL does not inline a function with an
/// activation, so the CONTEXT of what is raised below names it.
#[test]
fn an_annotated_sql_function_publishes_what_is_raised_below_it() -> Result<()> {
    let setup = format!(
        "{SAY}
        create function inlinable(text) returns int language sql as $f$ select plain($1) $f$;
        comment on function inlinable(text) is '@sse on notice';
        create function inlinable_set(text) returns setof int language sql stable as $f$ select plain($1) $f$;
        comment on function inlinable_set(text) is '@sse on notice';"
    );
    case("inlining")?.setup(&setup).options("-c client_min_messages=error").emits(
        "\\set SHOW_CONTEXT never
         select inlinable('a');
         select * from inlinable_set('b');",
        &["a plain notice", "b plain notice"],
    )
}

#[test]
fn the_jit_changes_nothing() -> Result<()> {
    let options = "-c jit=on -c jit_above_cost=0 -c jit_inline_above_cost=0 -c jit_optimize_above_cost=0";
    case("jit")?.setup(SAY).options(options).emits(
        "select sum(say(x::text)) from generate_series(1, 3) x where x + 1 > 0;",
        &["1 info", "2 info", "3 info"],
    )
}

#[test]
fn a_client_that_wants_no_messages_gets_none_and_the_event_is_sent() -> Result<()> {
    for (name, level) in [("quiet_error", "error"), ("quiet_warning", "warning"), ("loud", "debug1")] {
        let options = format!("-c client_min_messages={level}");
        let answer = case(name)?.setup(SAY).options(&options).answer("select say('one');", &["one info"])?;
        // INFO always reaches the client, whatever it wants (elog.c, should_output_to_client) - but not below
        // ERROR.
        let shown = answer.client.contains("NOTICE:  00000: one notice");
        assert_eq!(shown, level == "debug1", "{}", answer.client);
    }
    Ok(())
}

#[test]
fn a_role_without_privileges_is_captured() -> Result<()> {
    case("unprivileged")?.setup(SAY).emits(
        "\\c - alice
         select say('as alice');
         set role alice;
         select say('again');
         create function mine() returns void language plpgsql as $f$ begin raise info 'mine'; end $f$;
         select mine();
         comment on function mine() is '@sse';
         select mine();",
        &["as alice info", "again info", "mine"],
    )
}
