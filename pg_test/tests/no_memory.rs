//! Backends without memory: want of it is an answer, and never the end of the process, with which Postgres
//! would end every session of the cluster (SAFETY.md, "When memory runs out").
//!
//! A module in C takes all memory away at a chosen moment, and gives it back.
//!
//! Not for call workers: `call_lives.rs`.

mod common;

use anyhow::{Context, Result, bail, ensure};
use cluster::{Cluster, Install, PATIENCE, Reply, Session};
use common::{Corner, SOON, figure, module};

const MODULE: &str = r#"
#include "postgres.h"
#include <malloc.h>
#include <sys/resource.h>
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
PG_MODULE_MAGIC;
static void *held;

static void give_back(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_AS, &limit);
    while (held)
    {
        void *piece = held;
        held = *(void **) piece;
        free(piece);
    }
}

/* All memory, but for some pieces of so many bytes that do not lie side by side. */
static void take_away(Size but, int pieces)
{
    void *kept[8];
    volatile char stack[1 << 19];
    struct rlimit limit;
    /* All are of the heap, and none goes back to the system. */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    /* What the stack needs it has already. */
    for (int i = 0; i < sizeof(stack); i += 1024)
        stack[i] = 1;
    for (int i = 0; i < pieces; i++)
    {
        void **fence;
        kept[i] = malloc(but);
        fence = malloc(but);
        *fence = held;
        held = fence;
    }
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = 1;
    setrlimit(RLIMIT_AS, &limit);
    for (Size size = 1 << 24; size >= 1024; size /= 2)
    {
        void *piece;
        while ((piece = malloc(size)))
        {
            *(void **) piece = held;
            held = piece;
        }
    }
    while (pieces > 0)
        free(kept[--pieces]);
}

/* Room for what is small, made before. */
static MemoryContext roomy(void)
{
    return MemoryContextSwitchTo(AllocSetContextCreate(CurrentMemoryContext, "roomy", 0, 1 << 22, 1 << 22));
}

/* nest(n, poor, says) calls itself n times, and has no memory for it from the call `poor` on; at the end it
   has, and calls `says`. */
PG_FUNCTION_INFO_V1(nest);
Datum nest(PG_FUNCTION_ARGS)
{
    int32 n = PG_GETARG_INT32(0);
    if (n == PG_GETARG_INT32(1))
        take_away(0, 0);
    if (n > 0)
        OidFunctionCall3(fcinfo->flinfo->fn_oid, Int32GetDatum(n - 1), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2));
    else
    {
        give_back();
        OidFunctionCall0(PG_GETARG_OID(2));
    }
    PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(begin_nest);
Datum begin_nest(PG_FUNCTION_ARGS)
{
    MemoryContext before = roomy();
    PG_TRY();
        OidFunctionCall3(PG_GETARG_OID(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(3));
    PG_FINALLY();
        give_back();
    PG_END_TRY();
    MemoryContextSwitchTo(before);
    PG_RETURN_VOID();
}

/* Looks routines up, without memory for anything large. */
PG_FUNCTION_INFO_V1(look_up);
Datum look_up(PG_FUNCTION_ARGS)
{
    ArrayType *list = PG_GETARG_ARRAYTYPE_P(0);
    Oid *oids = (Oid *) ARR_DATA_PTR(list);
    int count = ArrayGetNItems(ARR_NDIM(list), ARR_DIMS(list));
    MemoryContext before = roomy();
    FmgrInfo found;
    for (int i = 0; i < count; i++)
        ReleaseSysCache(SearchSysCache1(PROCOID, ObjectIdGetDatum(oids[i])));
    fmgr_info(oids[0], &found);
    PG_TRY();
        take_away(32 << 10, 8);
        for (int i = 1; i < count; i++)
            fmgr_info(oids[i], &found);
    PG_FINALLY();
        give_back();
    PG_END_TRY();
    MemoryContextSwitchTo(before);
    PG_RETURN_INT32(count);
}

/* A statement that has one piece of memory. */
PG_FUNCTION_INFO_V1(run_with);
Datum run_with(PG_FUNCTION_ARGS)
{
    char *sql = text_to_cstring(PG_GETARG_TEXT_PP(1));
    SPI_connect();
    PG_TRY();
        take_away(PG_GETARG_INT32(0), 1);
        SPI_execute(sql, false, 0);
    PG_FINALLY();
        give_back();
    PG_END_TRY();
    SPI_finish();
    PG_RETURN_VOID();
}
"#;

const SETUP: &str = "
    create function nest(int, int, regprocedure) returns void language c as 'pg_sse_starve';
    create function begin_nest(regprocedure, int, int, regprocedure) returns void language c as 'pg_sse_starve';
    create function look_up(oid[]) returns int language c as 'pg_sse_starve';
    create function run_with(bytes int, sql text) returns void language c as 'pg_sse_starve';
    create function says() returns void language plpgsql as $f$ begin raise info 'said'; end $f$;
    create function says_itself() returns void language plpgsql as $f$ begin raise info 'said'; end $f$;
    create function outermost(n int, poor int, says regprocedure) returns void language plpgsql as $f$ begin
        perform begin_nest('nest(int, int, regprocedure)', n, poor, says); raise info 'said'; end $f$;
    comment on function nest(int, int, regprocedure) is E'@sse\\n@sse_delivery immediate\\n@sse_event nest';
    comment on function says_itself() is E'@sse\\n@sse_delivery immediate\\n@sse_event itself';
    comment on function outermost(int, int, regprocedure) is E'@sse\\n@sse_delivery immediate\\n@sse_event outermost';";

/// Whether the module is there; it cannot be compiled everywhere.
fn has_module() -> Result<bool> {
    module::compile(&*Install::shared()?, "pg_sse_starve", MODULE)
}

/// Runs a statement of a session that must not end.
fn run(corner: &Corner<'_>, session: &mut Session, sql: &str) -> Result<Reply> {
    session.run(sql).with_context(|| format!("{sql}\n{}", corner.cluster.log().unwrap_or_default()))
}

// Without the place that is kept for it, what a call raises for which there is no memory would be told as an
// event of its caller, to whom that one tells.
#[test]
fn what_a_call_raises_for_which_there_is_no_memory_is_no_event_of_its_caller_and_is_counted() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    // Others' gaps would come here, too.
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "nested")?;
    corner.sql(SETUP)?;
    let mut stream = corner.stream("nest/info")?;
    let mut session = corner.session()?;
    let lost = || figure(&cluster, "stat_ring", "out_of_memory_total");
    // Wherever that is, the stack of running routines has to grow between the 40th and the 100th.
    for (deep, poor, says, events, are_lost) in [
        (3, -1, "says()", &["nest", "outermost"][..], 0),
        (100, 60, "says()", &["sse.gap", "outermost"], 1),
        (100, 60, "says_itself()", &["itself", "outermost"], 0),
        (100, -1, "says()", &["nest", "outermost"], 0),
    ] {
        let before = lost()?;
        run(&corner, &mut session, &format!("select outermost({deep}, {poor}, '{says}')"))?.ok()?;
        for event in events {
            assert_eq!(stream.next(PATIENCE)?.event, *event, "{says}, {poor}");
        }
        assert_eq!(lost()? - before, are_lost, "{says}, {poor}");
    }
    Ok(())
}

#[test]
fn a_cache_of_annotations_that_cannot_grow_ends_no_session_and_hides_no_event() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    let corner = Corner::new("cached")?;
    corner.sql(SETUP)?;
    corner.sql(
        "do $d$ begin for n in 1..1000 loop
             execute format($f$create function f_%s(int, int) returns int language internal as 'int4pl'$f$, n); end loop; end $d$",
    )?;
    let mut stream = corner.stream("nest/info")?;
    let mut session = corner.session()?;
    let routines = "select look_up(array_agg(oid)) from pg_proc where proname like 'f\\_%'";
    for _ in 0..2 {
        assert_eq!(run(&corner, &mut session, routines)?.ok()?.value(), Some("1000"));
        run(&corner, &mut session, "select says_itself()")?.ok()?;
        assert_eq!(stream.next_payload(SOON)?.event, "itself");
    }
    Ok(())
}

/// Attacks: what a role may make as long as it likes, and as many statements as there are sizes of memory.
// Where in a statement memory ends cannot be chosen, so it ends everywhere.
#[test]
fn statements_that_find_no_memory_fail_or_lose_their_events_and_end_no_session() -> Result<()> {
    if !has_module()? {
        return Ok(());
    }
    let corner = Corner::new("poor")?;
    corner.sql(SETUP)?;
    let roles: String = (0..1000).map(|n| format!("{n:x} ")).collect();
    corner.sql(&format!(
        "create table t (a int primary key);
         create function tells() returns void language plpgsql as $f$ begin raise info 'said'; end $f$;
         comment on function tells() is E'@sse\\n@sse_scope matching\\n@sse_delivery immediate';
         create function commented() returns void language plpgsql as $f$ begin raise info 'said'; end $f$;
         comment on function commented() is E'{}\\n@sse\\n@authorize {roles}'",
        "prose ".repeat(6_000)
    ))?;
    let mut session = corner.session()?;
    let argument = format!(
        "create trigger g after insert on t for each row execute function sse.publish_change($x${}$x$)",
        "x".repeat(100_000)
    );
    run(&corner, &mut session, "select set_config('request.user_id', repeat('x', 1000000), false), tells()")?
        .ok()?;
    let anew = "comment on function says() is null; select commented()";
    for (sql, most) in [("select tells()", 1500), (&argument, 4000), (anew, 4000)] {
        let (mut failed, mut others) = (0, 0);
        for kilobytes in (0..most).step_by(most / 40) {
            let reply =
                run(&corner, &mut session, &format!("select run_with({}, $r${sql}$r$)", kilobytes << 10))?;
            match reply.error().and_then(|error| error.sqlstate.as_deref()) {
                Some("53200") => failed += 1,
                None | Some("22023") => others += 1,
                Some(_) => bail!("{reply:?}"),
            }
        }
        ensure!(failed > 0 && others > 0, "{failed} and {others}: {sql}");
    }
    ensure!(figure(corner.cluster, "stat_ring", "out_of_memory_total")? > 0, "no event was lost");
    Ok(())
}
