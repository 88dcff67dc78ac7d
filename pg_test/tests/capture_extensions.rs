//! `CREATE EXTENSION` and `ALTER EXTENSION` inside an annotated routine (C3.2; trap F: extension.c reads the
//! threshold itself, and would take the lowered one for the administrator's setting).

mod common;

use std::fs;

use anyhow::Result;
use common::differential::{Case, Pair};

/// An extension whose scripts say something, in the folder of the shared installation.
fn write_extension(pair: &Pair, name: &str) -> Result<()> {
    let folder = pair.stock.install().pg_config().sharedir.join("extension");
    fs::write(folder.join(format!("{name}.control")), "default_version = '1'\n")?;
    let says = |what: &str| {
        format!(
            "do $$ begin raise notice '{what} notice'; raise warning '{what} warning'; raise log '{what} at %', current_setting('log_min_messages'); end $$;\n"
        )
    };
    fs::write(folder.join(format!("{name}--1.sql")), says("creates"))?;
    fs::write(folder.join(format!("{name}--1--2.sql")), says("updates"))?;
    fs::write(folder.join(format!("{name}--2--3.sql")), format!("{}select 1 / 0;", says("fails")))?;
    Ok(())
}

fn extension_case<'a>(pair: &'a Pair, name: &str) -> Result<Case<'a>> {
    write_extension(pair, name)?;
    Ok(pair.case(name).setup(&format!(
        "create function creates() returns void language plpgsql as $f$
         begin raise info 'before'; create extension {name}; raise info 'after'; end $f$;
         comment on function creates() is E'@sse\\n@sse_delivery immediate';
         create function updates(version text) returns text language plpgsql as $f$
         begin
             execute format('alter extension {name} update to %L', version);
             raise info 'updated';
             raise warning 'updated';
             return current_setting('log_min_messages');
         exception when division_by_zero then
             raise info 'caught';
             raise notice 'caught';
             raise warning 'caught';
             return current_setting('log_min_messages');
         end $f$;
         comment on function updates(text) is E'@sse\\n@sse_delivery immediate';"
    )))
}

/// Trap F.
#[test]
fn an_extensions_script_logs_what_it_would_log_without_us() -> Result<()> {
    let pair = Pair::shared()?;
    for level in ["error", "warning", "notice", "log", "fatal"] {
        let name = format!("noisy_{level}");
        let answer = extension_case(pair, &name)?.options(&format!("-c log_min_messages={level}")).answer(
            &format!(
                "select creates();
                 show log_min_messages;
                 select updates('2');
                 select updates('3');
                 show log_min_messages;
                 do $$ begin raise info 'nobody'; end $$;
                 drop extension {name};
                 create extension {name};
                 drop extension {name};"
            ),
            &["before", "after", "updated", "caught"],
        )?;
        // extension.c compares numbers, and LOG is a smaller one than WARNING.
        let logs_warnings = ["warning", "notice", "log"].contains(&level);
        let warned = answer.log.lines().any(|line| line.contains("WARNING:  creates warning"));
        assert_eq!(warned, logs_warnings, "{level}: {}", answer.log);
    }
    Ok(())
}

/// The script of each step begins with a look at the threshold; an annotated routine that the step before has
/// called must not have left it lowered.
#[test]
fn scripts_that_call_annotated_routines_log_what_they_would_log_without_us() -> Result<()> {
    let pair = Pair::shared()?;
    let folder = pair.stock.install().pg_config().sharedir.join("extension");
    let name = "calling";
    fs::write(folder.join("calling.control"), "default_version = '3'\n")?;
    let says = "do $$ begin raise notice 'a notice'; raise warning 'a warning'; end $$;\n";
    fs::write(folder.join("calling--1.sql"), format!("select public.probe('creates');\n{says}"))?;
    fs::write(folder.join("calling--1--2.sql"), format!("{says}select public.probe('updates');\n{says}"))?;
    fs::write(folder.join("calling--2--3.sql"), says)?;
    let setup = "
        create function creates() returns void language plpgsql as $f$
        begin raise info 'before'; create extension calling; raise info 'after'; raise warning 'after'; end $f$;
        comment on function creates() is '@sse';";
    for level in ["error", "warning", "notice"] {
        pair.case(&format!("{name}_{level}"))
            .setup(setup)
            .options(&format!("-c log_min_messages={level}"))
            .emits(
            "select creates();
                 show log_min_messages;
                 drop extension calling;
                 create extension calling;
                 drop extension calling;",
            &["before", "creates", "updates", "after", "creates", "updates"],
        )?;
    }
    Ok(())
}
