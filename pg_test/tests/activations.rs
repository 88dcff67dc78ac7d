//! A routine that has ended publishes nothing, whatever other libraries with hooks do to its call (C3.1).
//!
//! Not for the order of hooks in the log: `capture_hooks.rs`.

mod common;

use anyhow::{Result, ensure};
use cluster::{Cluster, Install, Preload, Session};
use common::{Corner, SOON, module};

/// A policy that denies calls: it calls the hooks installed before it first, as is the custom, and then
/// raises; or it raises at the end and calls none. With `forget` it tells no hook of the end.
const DENY: &str = r#"
#include "postgres.h"
#include "fmgr.h"
#include "utils/guc.h"
PG_MODULE_MAGIC;
static fmgr_hook_type previous;
static bool is(const char *what)
{
    const char *how = GetConfigOption("deny.how", true, false);
    return how && strcmp(how, what) == 0;
}
static void deny(FmgrHookEventType event, FmgrInfo *flinfo, Datum *private)
{
    if (event == FHET_END && is("end"))
        ereport(ERROR, (errmsg("denied at the end")));
    if (event == FHET_END && is("forget"))
        return;
    if (previous)
        previous(event, flinfo, private);
    if (event == FHET_START && is("start"))
        ereport(ERROR, (errmsg("denied at the start")));
}
void _PG_init(void);
void _PG_init(void) { previous = fmgr_hook; fmgr_hook = deny; }
"#;

/// Keeps something of its own for each call site, and recognises it by a number, as plpgsql_check does: what
/// it finds at an end is its own, or that of nobody.
const KEEP: &str = r#"
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
typedef struct Kept { int mark; int running; Datum of_previous; } Kept;
static needs_fmgr_hook_type previous_needs;
static fmgr_hook_type previous;
static bool needs(Oid oid) { return oid >= 16384 || (previous_needs && previous_needs(oid)); }
static void keep(FmgrHookEventType event, FmgrInfo *flinfo, Datum *private)
{
    Kept *kept = (Kept *) DatumGetPointer(*private);
    if (event == FHET_START && !kept)
    {
        kept = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Kept));
        kept->mark = 4711;
        *private = PointerGetDatum(kept);
    }
    if (event == FHET_START && kept->mark != 4711)
        ereport(ERROR, (errmsg("not mine"), errdetail("a detail"), errhint("a hint")));
    if (kept && kept->mark == 4711)
    {
        kept->running += event == FHET_START ? 1 : -1;
        if (kept->running < 0 || kept->running > 1)
            ereport(ERROR, (errmsg("%d are running", kept->running)));
        private = &kept->of_previous;
    }
    if (previous)
        previous(event, flinfo, private);
}
void _PG_init(void);
void _PG_init(void)
{
    previous_needs = needs_fmgr_hook;
    needs_fmgr_hook = needs;
    previous = fmgr_hook;
    fmgr_hook = keep;
}
"#;

const SETUP: &str = "
    create function ev(message text) returns void language plpgsql as $f$ begin raise info '%', message; end $f$;
    comment on function ev(text) is E'@sse\\n@sse_event inner';
    create function secret() returns void language plpgsql as $f$ begin raise info 'secret'; raise notice 'secret'; end $f$;
    create function catches(how text) returns void language plpgsql as $f$
    begin
        begin
            perform set_config('deny.how', how, false);
            perform ev('of a call that was denied');
        exception when others then null;
        end;
        raise info 'secret';
        perform secret();
    end $f$;
    create function outer_one(how text) returns void language plpgsql as $f$
    begin
        begin
            perform set_config('deny.how', how, false);
            perform ev('of a call that was denied');
        exception when others then null;
        end;
        raise info 'own';
    end $f$;
    comment on function outer_one(text) is E'@sse\\n@sse_event outer';
    create procedure commits(how text) language plpgsql as $f$
    begin
        begin
            perform set_config('deny.how', how, false);
            perform ev('of a call that was denied');
        exception when others then null;
        end;
        commit;
        raise info 'own';
        rollback;
        perform secret();
    end $f$;";

/// A cluster with the module in its list after pg_sse, or without it.
fn cluster(libraries: &str) -> Result<Option<Cluster>> {
    if !module::compile(&*Install::shared()?, "pg_sse_deny", DENY)? {
        return Ok(None);
    }
    Ok(Some(Cluster::builder().preload(Preload::Libraries(libraries.to_owned())).start()?))
}

/// Calls are denied in every way; after each, the same session raises something outside of annotated
/// routines.
///
/// `load` loads the module, unless it is in the list.
fn nothing_outlives_its_call(cluster: &Cluster, load: Option<&str>) -> Result<()> {
    let corner = Corner::of(cluster, "framed")?;
    corner.sql(SETUP)?;
    let mut stream = corner.stream("ev/info")?;
    let mut session = corner.session()?;
    session.run("select ev('first')")?.ok()?;
    if let Some(load) = load {
        session.run(load)?.ok()?;
    }
    let failing = |session: &mut Session, sql: &str| -> Result<()> {
        let reply = session.run(sql)?;
        ensure!(
            reply.error().is_some_and(|error| error.text.contains("denied")),
            "{sql}: {:?}",
            reply.error()
        );
        session.run("set deny.how = ''")?.ok()?;
        Ok(())
    };
    for how in ["start", "end"] {
        session.run(&format!("set deny.how = '{how}'"))?.ok()?;
        failing(&mut session, "select ev('denied')")?;
        session.run("select secret()")?.ok()?;
        for sql in ["catches", "outer_one"] {
            session.run(&format!("select {sql}('{how}')"))?.ok()?;
            session.run("select secret()")?.ok()?;
        }
        session.run(&format!("call commits('{how}')"))?.ok()?;
        session.run("begin; savepoint s")?.ok()?;
        session.run(&format!("set deny.how = '{how}'"))?.ok()?;
        ensure!(session.run("select ev('denied')")?.error().is_some(), "{how}");
        session.run("rollback to s; select secret(); commit")?.ok()?;
    }
    // A library that forgets to tell of an end: the activation that is left is dropped with the message, and
    // nothing is missed then. A library in the list leaves none, because our hook is told before it.
    let same_statement = if load.is_none() { ", secret()" } else { "" };
    session.run(&format!("set deny.how = 'forget'; select ev('forgotten'){same_statement}"))?.ok()?;
    session.run("set deny.how = ''")?.ok()?;
    session.run("select secret(); select ev('last')")?.ok()?;
    let events: Vec<(String, String)> = (0..5)
        .map(|_| anyhow::Ok(stream.next_payload(SOON).map(|event| (event.event, event.data))?))
        .collect::<Result<_>>()?;
    let expected =
        [("inner", "first"), ("outer", "own"), ("outer", "own"), ("inner", "forgotten"), ("inner", "last")];
    assert_eq!(events, expected.map(|(event, data)| (event.to_owned(), data.to_owned())));
    // The threshold is as it was, and was so for every message.
    assert_eq!(session.run("show log_min_messages")?.ok()?.text(), "warning");
    ensure!(!cluster.log()?.contains("secret"), "{}", cluster.log()?);
    Ok(())
}

// Attack: none is needed. A policy denies a call of a publisher, and from then on the session publishes to
// every subscriber what is raised in routines without any annotation.
#[test]
fn no_activation_is_left_by_a_library_listed_behind_us_that_denies_calls() -> Result<()> {
    let Some(cluster) = cluster("pg_sse, pg_sse_deny")? else { return Ok(()) };
    nothing_outlives_its_call(&cluster, None)
}

#[test]
fn no_activation_is_left_by_a_library_listed_before_us_that_denies_calls() -> Result<()> {
    let Some(cluster) = cluster("pg_sse_deny, pg_sse")? else { return Ok(()) };
    nothing_outlives_its_call(&cluster, None)
}

#[test]
fn an_activation_that_is_left_by_a_library_loaded_later_ends_with_its_subtransaction_or_message() -> Result<()>
{
    let Some(cluster) = cluster("pg_sse")? else { return Ok(()) };
    nothing_outlives_its_call(&cluster, Some("load 'pg_sse_deny'"))
}

// Attack: none is needed. A routine is the first of its session to call a function of plpgsql_check, which is
// loaded then, is told of the end of that routine's call, and looks at what the call site keeps.
#[test]
fn what_a_call_site_keeps_is_left_to_other_libraries_listed_or_loaded_in_the_middle_of_a_call() -> Result<()>
{
    if !module::compile(&*Install::shared()?, "pg_sse_keep", KEEP)? {
        return Ok(());
    }
    for libraries in ["pg_sse_keep, pg_sse", "pg_sse, pg_sse_keep", "pg_sse"] {
        let cluster = Cluster::builder().preload(Preload::Libraries(libraries.to_owned())).start()?;
        let corner = Corner::of(&cluster, "keeping")?;
        corner.sql(SETUP)?;
        corner.sql(
            "create function loads(fails bool) returns int language plpgsql as $f$
             begin
                 raise info 'before';
                 load 'pg_sse_keep';
                 perform ev('below');
                 raise info 'behind';
                 return 1 / (1 - fails::int);
             end $f$;
             comment on function loads(bool) is E'@sse\\n@sse_event inner';",
        )?;
        let mut stream = corner.stream("ev/info")?;
        for fails in [false, true] {
            let mut session = corner.session()?;
            session.run("prepare evs as select ev(m) from (values ('a'), ('b')) v (m); execute evs")?.ok()?;
            // A statement that fails is in the log.
            let in_the_same_statement = if fails { "" } else { ", secret()" };
            let reply = session.run(&format!("select loads({fails}){in_the_same_statement}"))?;
            let failed = reply.error().map(|error| error.text.clone()).unwrap_or_default();
            ensure!(failed.contains("division by zero") == fails, "{libraries}: {failed}");
            session.run("select secret()")?.ok()?;
            session
                .run("execute evs; do $$ begin for i in 1 .. 2 loop perform ev('c'); end loop; end $$")?
                .ok()?;
            // What failed has rolled back.
            let of_load: &[&str] = if fails { &[] } else { &["before", "below", "behind"] };
            for expected in [&["a", "b"], of_load, &["a", "b", "c", "c"]].concat() {
                assert_eq!(stream.next_payload(SOON)?.data, expected, "{libraries}, {fails}");
            }
        }
        ensure!(!cluster.log()?.contains("secret"), "{}", cluster.log()?);
    }
    Ok(())
}
