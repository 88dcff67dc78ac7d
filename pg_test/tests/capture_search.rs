//! Which routine a message is an event of: the innermost running annotated one whose level equals the
//! message's; one with a mistake or with a stream alone stops the search; what is not a RAISE never counts
//! (C2.2, C3.1).

mod common;

use anyhow::Result;
use common::differential::case;

/// `all_levels(x)` raises one of each; not annotated.
const SETUP: &str = "
    create function all_levels(message text) returns int language plpgsql as $f$
    begin
        raise debug '% debug', message;
        raise log '% log', message;
        raise info '% info', message;
        raise notice '% notice', message;
        raise warning '% warning', message;
        return 1;
    end $f$;";

#[test]
fn a_routine_publishes_exactly_one_level() -> Result<()> {
    let setup = ["info", "notice", "warning"].map(|level| {
        format!(
            "create function at_{level}() returns int language sql as $f$ select 0; select all_levels('{level}') $f$;
             comment on function at_{level}() is '@sse on {level}';
             create function line_{level}() returns int language sql as $f$ select 0; select all_levels('line') $f$;
             comment on function line_{level}() is E'@sse_level {level}\\n@sse_publish';"
        )
    });
    case("levels")?.setup(SETUP).setup(&setup.concat()).emits(
        "select at_info(), at_notice(), at_warning();
         select line_info(), line_notice(), line_warning();",
        &["info info", "notice notice", "warning warning", "line info", "line notice", "line warning"],
    )
}

#[test]
fn a_message_goes_to_the_innermost_routine_of_its_level() -> Result<()> {
    let setup = "
        create function innermost() returns int language plpgsql as $f$
        begin perform all_levels('innermost'); return 1; end $f$;
        comment on function innermost() is E'@sse on warning\\n@sse_event inner';
        create function middle() returns int language plpgsql as $f$
        begin perform innermost(); perform all_levels('middle'); return 1; end $f$;
        comment on function middle() is E'@sse on notice\\n@sse_event middle';
        create function outermost() returns int language plpgsql as $f$
        begin perform middle(); perform all_levels('outermost'); return 1; end $f$;
        comment on function outermost() is E'@sse on info\\n@sse_event outer';
        create function down(n int) returns int language plpgsql as $f$
        begin
            perform all_levels('down');
            perform inside();
            perform all_levels('up');
            return n;
        end $f$;
        comment on function down(int) is E'@sse\\n@sse_event down';
        create function inside() returns int language plpgsql as $f$
        begin perform all_levels('inside'); return 1; end $f$;
        comment on function inside() is E'@sse\\n@sse_event inside';";
    case("innermost_first")?.setup(SETUP).setup(setup).emits(
        "select outermost();
         select middle();
         select down(1);",
        &[
            "outer: innermost info",
            "middle: innermost notice",
            "inner: innermost warning",
            "outer: middle info",
            "middle: middle notice",
            "outer: outermost info",
            "middle: innermost notice",
            "inner: innermost warning",
            "middle: middle notice",
            "down: down info",
            "inside: inside info",
            "down: up info",
        ],
    )
}

#[test]
fn a_mistake_and_a_stream_alone_stop_the_search() -> Result<()> {
    // The mistakes are said at the COMMENT, in the setup, where nothing is compared.
    let setup = "
        create function stream_only() returns int language plpgsql as $f$
        begin perform all_levels('stream only'); return 1; end $f$;
        comment on function stream_only() is '@sse_subscribe';
        create function mistaken() returns int language plpgsql as $f$
        begin perform all_levels('mistaken'); return 1; end $f$;
        comment on function mistaken() is E'@sse\\n@sse_level loud';
        create function safe() returns int language plpgsql parallel safe as $f$
        begin perform all_levels('safe'); return 1; end $f$;
        comment on function safe() is '@sse';
        create function http_only() returns int language plpgsql as $f$
        begin perform all_levels('http only'); return 1; end $f$;
        comment on function http_only() is 'HTTP GET';
        create function prose() returns int language plpgsql as $f$
        begin perform all_levels('prose'); return 1; end $f$;
        comment on function prose() is 'Tells about sse and @other tools.';
        create function other_level() returns int language plpgsql as $f$
        begin perform all_levels('other level'); return 1; end $f$;
        comment on function other_level() is '@sse on notice';
        create function outermost() returns int language plpgsql as $f$
        begin
            raise info 'begin';
            perform stream_only();
            perform mistaken();
            perform safe();
            perform http_only();
            perform prose();
            perform other_level();
            raise info 'end';
            return 1;
        end $f$;
        comment on function outermost() is '@sse';";
    case("stops")?.setup(SETUP).setup(setup).emits(
        "select outermost();
         select stream_only(), mistaken(), safe(), http_only(), prose();",
        &["begin", "http only info", "prose info", "other level info", "other level notice", "end"],
    )
}

#[test]
fn what_the_server_and_the_language_say_is_no_event() -> Result<()> {
    let setup = "
        create table t (a int);
        create function tidies() returns int language plpgsql as $f$
        declare x int; y int;
        begin
            drop table if exists missing;
            create table if not exists t (a int);
            drop function if exists missing();
            truncate t;
            alter table t add column b serial;
            select 1, 2, 3 into x, y;
            raise info 'info';
            raise notice 'notice';
            raise warning 'warning';
            raise division_by_zero using message = 'error';
        exception when division_by_zero then
            raise info using message = 'by using', hint = 'Please retry';
            return 1;
        end $f$;
        comment on function tidies() is E'@sse on info\\n@sse_delivery immediate';
        create function warns() returns int language plpgsql as $f$
        declare x int; y int;
        begin
            drop table if exists missing;
            select 1, 2, 3 into x, y;
            rollback_to_nothing := 1;
            return 1;
        end $f$;
        comment on function warns() is '@sse on warning';";
    let setup =
        setup.replace("            rollback_to_nothing := 1;\n", "            raise warning 'own';\n");
    let notices = "create function notices() returns int language plpgsql as $f$
        begin drop table if exists missing; raise notice 'own'; perform warns(); return 1; end $f$;
        comment on function notices() is '@sse on notice';";
    let options = "-c plpgsql.extra_warnings=all";
    let answer = case("not_raised")?.setup(&setup).setup(notices).options(options).answer(
        "set plpgsql.extra_warnings = 'all';
         select tidies();
         select warns();
         select notices();",
        &["info", "by using", "own", "own", "own"],
    )?;
    assert!(answer.client.contains("does not exist, skipping"), "{}", answer.client);
    assert!(answer.client.contains("number of source and target fields"), "{}", answer.client);
    Ok(())
}
