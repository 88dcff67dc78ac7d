//! The message statements of PL/Python, PL/Perl and PL/Tcl work like RAISE (C3.1). If this PostgreSQL does
//! not come with a language, its test fails, or is skipped (`cluster::skip`).

mod common;

use anyhow::Result;
use common::differential::{Case, Pair};
use common::has_extension;

/// The test of a language, or `None` where it is missing.
fn language_case<'a>(pair: &'a Pair, language: &str) -> Result<Option<Case<'a>>> {
    if !has_extension(env!("CARGO_CRATE_NAME"), language)? {
        return Ok(None);
    }
    pair.both(&format!("create extension {language}"))?;
    Ok(Some(pair.case(language).setup("create table t (a int);")))
}

#[test]
fn messages_of_plpython_are_captured() -> Result<()> {
    let Some(case) = language_case(Pair::shared()?, "plpython3u")? else { return Ok(()) };
    let setup = "
        create function says(message text) returns int language plpython3u as $f$
plpy.debug('debug')
plpy.log('log')
plpy.info(message + ' info', detail='a detail', hint='Please retry')
plpy.notice(message + ' notice')
plpy.warning(message + ' warning')
plpy.execute('drop table if exists missing')
return 1
$f$;
        comment on function says(text) is E'@sse\\n@sse_delivery immediate';
        create function at_notice() returns int language plpython3u as $f$
plpy.notice('own')
plpy.execute('drop table if exists missing')
plpy.execute(\"do $$ begin raise notice 'block'; raise info 'no'; end $$\")
return 1
$f$;
        comment on function at_notice() is E'@sse on notice\\n@sse_delivery immediate';
        create function fails() returns int language plpython3u as $f$
plpy.info('fails')
plpy.error('error', detail='d', hint='h', sqlstate='P0099', constraint_name='c')
$f$;
        comment on function fails() is E'@sse\\n@sse_delivery immediate';
        create procedure steps() language plpython3u as $f$
for i in range(1, 4):
    plpy.execute('insert into t values (%d)' % i)
    plpy.info('step %d' % i)
    if i == 2:
        plpy.rollback()
    else:
        plpy.commit()
$f$;
        comment on procedure steps() is '@sse';
        create function calls() returns int language plpgsql as $f$
        begin return says('called'); end $f$;
        comment on function calls() is '@sse on warning';";
    case.setup(setup).emits(
        "select says('one');
         select at_notice();
         select fails();
         call steps();
         select * from t order by a;
         select calls();
         do language plpython3u $$ plpy.info('nobody') $$;",
        &["one info", "own", "block", "fails", "step 1", "step 3", "called info", "called warning"],
    )
}

#[test]
fn messages_of_plperl_are_captured() -> Result<()> {
    let Some(case) = language_case(Pair::shared()?, "plperl")? else { return Ok(()) };
    let setup = "
        create function says(text) returns int language plperl as $f$
            elog(DEBUG, 'debug');
            elog(LOG, 'log');
            elog(INFO, \"$_[0] info\");
            elog(NOTICE, 'notice');
            elog(WARNING, 'warning');
            spi_exec_query('drop table if exists missing');
            return 1;
        $f$;
        comment on function says(text) is '@sse';
        create function warns() returns int language plperl as $f$
            warn('warned');
            elog(WARNING, 'by elog');
            return 1;
        $f$;
        comment on function warns() is '@sse on warning';
        create function fails() returns int language plperl as $f$
            elog(INFO, 'fails');
            elog(ERROR, 'error');
        $f$;
        comment on function fails() is E'@sse\\n@sse_delivery immediate';";
    case.setup(setup).emits(
        "select says('one');
         select warns();
         select fails();
         do language plperl $$ elog(INFO, 'nobody') $$;",
        &["one info", "warned at line 2.", "by elog", "fails"],
    )
}

#[test]
fn messages_of_pltcl_are_captured() -> Result<()> {
    let Some(case) = language_case(Pair::shared()?, "pltcl")? else { return Ok(()) };
    let setup = "
        create function says(text) returns int language pltcl as $f$
            elog DEBUG debug
            elog LOG log
            elog INFO \"$1 info\"
            elog NOTICE notice
            elog WARNING warning
            spi_exec {drop table if exists missing}
            return 1
        $f$;
        comment on function says(text) is '@sse';
        create function fails() returns int language pltcl as $f$
            elog INFO fails
            elog ERROR error
        $f$;
        comment on function fails() is E'@sse\\n@sse_delivery immediate';";
    case.setup(setup).emits(
        "select says('one');
         select fails();
         select says('two');",
        &["one info", "fails", "two info"],
    )
}
