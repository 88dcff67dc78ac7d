//! `log_min_messages` shows the administrator's value while annotated routines run with a lowered threshold,
//! and the log gets exactly what that value asks for: not a line more, not a line less (C3.2).

mod common;

use anyhow::Result;
use cluster::{PATIENCE, wait_for};
use common::differential::{Case, Pair, Twin, case};

/// Raises every level at once, and shows what the setting looks like from inside.
const SETUP: &str = "
    create function levels(message text) returns text language plpgsql as $f$
    begin
        raise debug '% debug', message;
        raise log '% log', message;
        raise info '% info', message;
        raise notice '% notice', message;
        raise warning '% warning', message;
        return current_setting('log_min_messages');
    end $f$;
    comment on function levels(text) is E'@sse\\n@sse_delivery immediate';
    create function shown() returns text language plpgsql as $f$
    begin
        raise info 'shown %', current_setting('log_min_messages');
        return (select format('%s %s %s %s', setting, source, reset_val, boot_val)
                  from pg_settings where name = 'log_min_messages');
    end $f$;
    comment on function shown() is E'@sse\\n@sse_delivery immediate';";

#[test]
fn the_log_gets_what_the_administrators_level_asks_for() -> Result<()> {
    for level in ["debug1", "log", "info", "notice", "warning", "error", "fatal", "panic"] {
        let answer = case(&format!("level_{level}"))?
            .setup(SETUP)
            .setup(
                "create function fails() returns void language plpgsql as $f$
                 begin raise info 'fails'; raise exception 'failed'; end $f$;
                 comment on function fails() is E'@sse\\n@sse_delivery immediate';
                 create function warns() returns void language plpgsql as $f$
                 begin raise info 'no'; raise notice 'no'; raise warning 'warns'; raise log 'no'; end $f$;
                 comment on function warns() is E'@sse on warning\\n@sse_delivery immediate';",
            )
            .options(&format!("-c log_min_messages={level}"))
            .answer(
                "select levels('a'), shown();
                 select warns();
                 select fails();
                 do $$ begin perform fails(); exception when others then raise info 'caught'; end $$;
                 show log_min_messages;",
                &["a info", &format!("shown {level}"), "warns", "fails", "fails"],
            )?;
        let is_logged = ["debug1", "info"].contains(&level);
        assert_eq!(answer.log.contains("INFO:  a info"), is_logged, "{level}: {}", answer.log);
        assert_eq!(answer.log.contains("LOG:  a log"), !["fatal", "panic"].contains(&level), "{level}");
    }
    Ok(())
}

// Long because it is one session of statements.
#[test]
fn set_and_reset_inside_and_around_annotated_routines_are_truthful() -> Result<()> {
    case("sets")?.setup(SETUP).emits(
        "show log_min_messages;
         select shown();
         set log_min_messages = error;
         select shown(), levels('a');
         reset log_min_messages;
         select shown();
         set log_min_messages = notice;
         select levels('b'), shown();
         reset all;
         select shown(), levels('c');
         set log_min_messages = fatal;
         discard all;
         select shown();
         begin;
         set local log_min_messages = log;
         select shown(), levels('d');
         commit;
         select shown();
         begin;
         set log_min_messages = panic;
         select shown();
         rollback;
         select shown();
         begin;
         savepoint s;
         set log_min_messages = debug1;
         select shown(), levels('e');
         rollback to s;
         select shown();
         set local log_min_messages = error;
         release s;
         select shown();
         commit;
         select shown(), levels('f');
         set log_min_messages = nonsense;
         select shown();
         \\c - alice
         set log_min_messages = info;
         select shown(), levels('g');",
        &[
            "shown warning",
            "shown error",
            "a info",
            "shown warning",
            "b info",
            "shown notice",
            "shown warning",
            "c info",
            "shown warning",
            "shown log",
            "d info",
            "shown warning",
            "shown panic",
            "shown warning",
            "shown debug1",
            "e info",
            "shown warning",
            "shown error",
            "shown warning",
            "f info",
            "shown warning",
            "shown warning",
            "g info",
        ],
    )
}

/// Trap A: guc.c saves and restores the variable that it was given, so lowering that variable would come back
/// as the setting.
// Long because it is one session of statements.
#[test]
fn a_setting_changed_inside_an_annotated_routine_is_restored_to_what_it_was() -> Result<()> {
    let setup = format!(
        "{SETUP}
        create function clause() returns text language plpgsql set log_min_messages = 'error' as $f$
        begin raise info 'clause'; raise warning 'not in the log'; return shown(); end $f$;
        comment on function clause() is E'@sse\\n@sse_delivery immediate';
        create function clause_debug() returns text language plpgsql set log_min_messages = 'debug1' as $f$
        begin raise info 'clause debug'; raise warning 'in the log'; return shown(); end $f$;
        comment on function clause_debug() is E'@sse\\n@sse_delivery immediate';
        create function plain_clause() returns text language plpgsql set log_min_messages = 'error' as $f$
        begin return clause() || shown(); end $f$;
        create function sets(level text, is_local bool) returns text language plpgsql as $f$
        begin
            raise info 'sets %', level;
            perform set_config('log_min_messages', level, is_local);
            raise warning 'warning below %', level;
            return levels('inside');
        end $f$;
        comment on function sets(text, bool) is E'@sse\\n@sse_delivery immediate';
        create function sets_and_fails(level text) returns text language plpgsql as $f$
        begin
            begin
                perform set_config('log_min_messages', level, false);
                perform shown();
                perform 1 / 0;
            exception when division_by_zero then
                raise info 'caught';
            end;
            return shown();
        end $f$;
        comment on function sets_and_fails(text) is E'@sse\\n@sse_delivery immediate';
        create procedure sets_and_commits() language plpgsql as $f$
        begin
            set local log_min_messages = 'error';
            raise info 'local %', current_setting('log_min_messages');
            commit;
            raise info 'committed %', current_setting('log_min_messages');
            set log_min_messages = 'fatal';
            rollback;
            raise info 'rolled back %', current_setting('log_min_messages');
        end $f$;
        comment on procedure sets_and_commits() is E'@sse\\n@sse_delivery immediate';"
    );
    case("trap_a")?.setup(&setup).emits(
        "select clause();
         show log_min_messages;
         select clause_debug();
         show log_min_messages;
         select plain_clause();
         show log_min_messages;
         begin;
         select sets('error', true);
         show log_min_messages;
         commit;
         show log_min_messages;
         begin;
         select sets('notice', false);
         rollback;
         select shown();
         select sets('log', false);
         select shown();
         reset log_min_messages;
         select sets_and_fails('panic');
         show log_min_messages;
         begin;
         select sets_and_fails('debug1');
         select sets('error', true);
         savepoint s;
         select sets('info', true);
         rollback to s;
         show log_min_messages;
         commit;
         show log_min_messages;
         call sets_and_commits();
         show log_min_messages;
         select name, setting, source, reset_val, boot_val from pg_settings where name = 'log_min_messages';",
        &[
            "clause",
            "shown error",
            "clause debug",
            "shown debug1",
            "clause",
            "shown error",
            "shown error",
            "sets error",
            "inside info",
            "sets notice",
            "inside info",
            "shown warning",
            "sets log",
            "inside info",
            "shown log",
            "shown panic",
            "caught",
            "shown warning",
            "shown debug1",
            "caught",
            "shown warning",
            "sets error",
            "inside info",
            "sets info",
            "inside info",
            "local error",
            "committed warning",
            "rolled back warning",
        ],
    )
}

#[test]
fn a_setting_of_the_role_and_of_pgoptions_is_obeyed() -> Result<()> {
    let setup = format!(
        "{SETUP} create role settings_role superuser login; alter role settings_role set log_min_messages = 'error';"
    );
    case("of_the_role")?.setup(&setup).emits(
        "\\c - settings_role
         select shown(), levels('role');
         alter role settings_role set log_min_messages = 'notice';
         \\c - settings_role
         select shown(), levels('role');
         alter role settings_role reset log_min_messages;
         \\c - settings_role
         select shown();",
        &["shown error", "role info", "shown notice", "role info", "shown warning"],
    )?;
    case("of_pgoptions")?.setup(SETUP).options("-c log_min_messages=error").emits(
        "select shown(), levels('options');
         set log_min_messages = info;
         reset log_min_messages;
         select shown();",
        &["shown error", "options info", "shown error"],
    )
}

/// elog.c decides when an error is raised whether the log wants it, and writes it when all routines have been
/// left.
#[test]
fn an_error_is_logged_by_the_setting_it_was_raised_under() -> Result<()> {
    let mut setup = "
        create function plain_error() returns void language plpgsql set log_min_messages = 'error' as $f$
        begin raise exception 'plain error'; end $f$;
        create function plain_fatal() returns void language plpgsql set log_min_messages = 'fatal' as $f$
        begin raise exception 'plain fatal'; end $f$;
        create function around(called text) returns void language plpgsql as $f$
        begin execute format('select %I()', called); end $f$;
        comment on function around(text) is '@sse';
        create function fails() returns void language plpgsql as $f$
        begin raise info 'fails'; raise exception 'failed'; end $f$;
        comment on function fails() is E'@sse\\n@sse_delivery immediate';
        create function catches() returns void language plpgsql as $f$
        begin
            begin perform fails(); exception when others then null; end;
            set local log_min_messages = 'error';
            raise exception 'after another setting';
        end $f$;"
        .to_owned();
    for level in ["error", "fatal"] {
        setup.push_str(&format!(
            "create function at_{level}() returns void language plpgsql set log_min_messages = '{level}' as $f$
             begin raise info 'at {level}'; raise exception 'failed at {level}'; end $f$;
             comment on function at_{level}() is E'@sse\\n@sse_delivery immediate';"
        ));
    }
    let script = "
        select plain_error();
        select plain_fatal();
        select at_error();
        select at_fatal();
        select around('plain_error');
        select around('plain_fatal');
        select around('at_error');
        select around('at_fatal');
        select fails();
        select 1 / 0;
        select catches();
        select 1 / 0;";
    let events = ["at error", "at fatal", "at error", "at fatal", "fails", "fails"];
    for level in ["error", "fatal", "log"] {
        let case = case(&format!("raised_under_{level}"))?.setup(&setup);
        case.options(&format!("-c log_min_messages={level}")).emits(script, &events)?;
    }
    Ok(())
}

#[test]
fn a_talkative_log_says_what_it_would_say_without_us() -> Result<()> {
    let options = "-c log_error_verbosity=verbose -c log_min_error_statement=debug1 -c log_statement=all \
        -c log_duration=on -c log_lock_waits=on -c log_temp_files=0 -c log_parser_stats=off";
    case("talkative")?.setup(SETUP).options(options).emits(
        "select levels('a'), shown();
         do $$ begin perform levels('b'); perform 1 / 0; end $$;
         set log_min_messages = debug1;
         select levels('c');",
        &["a info", "shown warning", "b info", "c info"],
    )
}

#[test]
fn a_reload_is_seen_by_an_idle_session() -> Result<()> {
    let pair = Pair::start(|builder| builder)?;
    let expected = [
        "shown error",
        "error info",
        "shown debug1",
        "debug1 info",
        "own info",
        "shown warning",
        "warning info",
        "shown fatal",
        "fatal info",
        "shown info",
        "info info",
    ];
    reload_in_rounds(&pair, &expected)
}

/// Two sessions: one sets, one sits idle.
fn reload_in_rounds(pair: &Pair, expected: &[&str]) -> Result<()> {
    let case = pair.case("reloads").setup(SETUP);
    let rounds = |case: &Case<'_>| {
        let mut idle = case.session()?;
        let mut other = case.session()?;
        let mut set = |level: &str| -> Result<()> {
            other.run(&format!("alter system set log_min_messages = '{level}'"))?;
            other.run("select pg_reload_conf()").map(drop)
        };
        for level in ["error", "debug1"] {
            set(level)?;
            wait_for_level(&mut idle, level)?;
            idle.run("select shown(); select levels(current_setting('log_min_messages'))")?.ok()?;
        }
        // Under the session's own SET a reload changes only what RESET goes back to.
        idle.run("set log_min_messages = notice")?.ok()?;
        set("warning")?;
        idle.run("select levels('own')")?.ok()?;
        idle.run("reset log_min_messages")?.ok()?;
        for level in ["warning", "fatal", "info"] {
            set(level)?;
            wait_for_level(&mut idle, level)?;
            idle.run("select shown(); select levels(current_setting('log_min_messages'))")?.ok()?;
        }
        Ok(())
    };
    case.acts(rounds, expected).map(drop)
}

/// A session looks at a reload between two statements.
fn wait_for_level(twin: &mut Twin, level: &str) -> Result<()> {
    for session in [&mut twin.stock, &mut twin.preloaded] {
        wait_for(PATIENCE, &format!("the session sees {level}"), || {
            let reply = session.run("show log_min_messages")?.ok()?;
            Ok((reply.value() == Some(level)).then_some(()))
        })?;
    }
    Ok(())
}
