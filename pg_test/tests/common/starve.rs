//! A module in C that takes all memory away from its process at a chosen moment, and gives it back.
//!
//! Not for call workers, which come to an end of their memory by `prlimit` (`call_lives.rs`).

use anyhow::{Context, Result, bail};
use cluster::{Install, Reply, Session};

use super::{Corner, module};

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

/* What is called without memory finds its stack there already. Not part of a frame that calls it: what that
   calls is deeper still, where the stack could not grow. */
static void __attribute__((noinline)) touch_stack(void)
{
    volatile char stack[1 << 19];
    for (int i = 0; i < sizeof(stack); i += 1024)
        stack[i] = 1;
}

/* All memory, but for some pieces of so many bytes that do not lie side by side. */
static void take_away(Size but, int pieces)
{
    void *kept[8];
    struct rlimit limit;
    /* All are of the heap, and none goes back to the system. */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    touch_stack();
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
    for (Size size = 1 << 24; size >= sizeof(void *); size /= 2)
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

/* The same, but all of its calls go through one FmgrInfo, as those of an index do; and each of them calls
   `says`, when it is about to end. */
static FmgrInfo same;

PG_FUNCTION_INFO_V1(nest_same);
Datum nest_same(PG_FUNCTION_ARGS)
{
    int32 n = PG_GETARG_INT32(0);
    if (n == PG_GETARG_INT32(1))
        take_away(0, 0);
    if (n > 0)
        FunctionCall3(&same, Int32GetDatum(n - 1), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2));
    else
        give_back();
    OidFunctionCall0(PG_GETARG_OID(2));
    PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(begin_nest_same);
Datum begin_nest_same(PG_FUNCTION_ARGS)
{
    fmgr_info_cxt(PG_GETARG_OID(0), &same, TopMemoryContext);
    PG_TRY();
        FunctionCall3(&same, PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(3));
    PG_FINALLY();
        give_back();
    PG_END_TRY();
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
static void run_poorly(Size bytes, text *statement)
{
    char *sql = text_to_cstring(statement);
    SPI_connect();
    PG_TRY();
        take_away(bytes, 1);
        SPI_execute(sql, false, 0);
    PG_FINALLY();
        give_back();
    PG_END_TRY();
    SPI_finish();
}

PG_FUNCTION_INFO_V1(run_with);
Datum run_with(PG_FUNCTION_ARGS)
{
    run_poorly(PG_GETARG_INT32(0), PG_GETARG_TEXT_PP(1));
    PG_RETURN_VOID();
}

/* nest_run(n, bytes, sql): the same below so many calls. */
PG_FUNCTION_INFO_V1(nest_run);
Datum nest_run(PG_FUNCTION_ARGS)
{
    int32 n = PG_GETARG_INT32(0);
    if (n > 0)
        OidFunctionCall3(fcinfo->flinfo->fn_oid, Int32GetDatum(n - 1), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2));
    else
        run_poorly(PG_GETARG_INT32(1), PG_GETARG_TEXT_PP(2));
    PG_RETURN_VOID();
}
"#;

/// Makes the functions of the module, and routines that raise.
pub(crate) const SETUP: &str = "
    create function nest(int, int, regprocedure) returns void language c as 'pg_sse_starve';
    create function nest_same(int, int, regprocedure) returns void language c as 'pg_sse_starve';
    create function nest_run(int, int, text) returns void language c as 'pg_sse_starve';
    create function begin_nest(regprocedure, int, int, regprocedure) returns void language c as 'pg_sse_starve';
    create function begin_nest_same(regprocedure, int, int, regprocedure) returns void language c as 'pg_sse_starve';
    create function look_up(oid[]) returns int language c as 'pg_sse_starve';
    create function run_with(bytes int, sql text) returns void language c as 'pg_sse_starve';
    create function says() returns void language plpgsql as $f$ begin raise info 'said'; end $f$;
    create function says_itself() returns void language plpgsql as $f$ begin raise info 'said'; end $f$;
    create function outermost(n int, poor int, says regprocedure) returns void language plpgsql as $f$ begin
        perform begin_nest('nest(int, int, regprocedure)', n, poor, says); raise info 'said'; end $f$;
    comment on function nest(int, int, regprocedure) is E'@sse\\n@sse_delivery immediate\\n@sse_event nest';
    comment on function nest_same(int, int, regprocedure) is E'@sse\\n@sse_delivery immediate\\n@sse_event same';
    comment on function nest_run(int, int, text) is E'@sse\\n@sse_delivery immediate\\n@sse_event run';
    comment on function says_itself() is E'@sse\\n@sse_delivery immediate\\n@sse_event itself';
    comment on function outermost(int, int, regprocedure) is E'@sse\\n@sse_delivery immediate\\n@sse_event outermost';";

/// Whether the module is there; it cannot be compiled everywhere.
pub(crate) fn has_module() -> Result<bool> {
    module::compile(&*Install::shared()?, "pg_sse_starve", MODULE)
}

/// Runs a statement of a session that must not end.
pub(crate) fn run(corner: &Corner<'_>, session: &mut Session, sql: &str) -> Result<Reply> {
    session.run(sql).with_context(|| format!("{sql}\n{}", corner.cluster.log().unwrap_or_default()))
}

/// Runs a statement with as many pieces of memory as `steps`, of up to so many kilobytes. Answers how many
/// times it found no memory, and how many times it ended otherwise, by success or by an error of these
/// SQLSTATEs.
// Where in a statement memory ends cannot be chosen, so it ends everywhere.
pub(crate) fn sweep(
    corner: &Corner<'_>,
    session: &mut Session,
    sql: &str,
    (most, steps): (usize, usize),
    errors: &[&str],
) -> Result<(usize, usize)> {
    let (mut failed, mut others) = (0, 0);
    for kilobytes in (0..most).step_by((most / steps).max(1)) {
        let reply = run(corner, session, &format!("select run_with({}, $r${sql}$r$)", kilobytes << 10))?;
        match reply.error().and_then(|error| error.sqlstate.as_deref()) {
            Some("53200") => failed += 1,
            None => others += 1,
            Some(state) if errors.contains(&state) => others += 1,
            Some(_) => bail!("{kilobytes} kB: {sql}: {reply:?}"),
        }
    }
    Ok((failed, others))
}
