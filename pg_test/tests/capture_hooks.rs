//! Beside other modules with hooks (trap G: a hook that is called before ours sees what only reaches the hook
//! because the threshold is lowered; so pg_sse belongs at the end of shared_preload_libraries).

mod common;

use anyhow::Result;
use cluster::{Builder, Cluster, Install, Preload};
use common::differential::Pair;
use common::{has_extension, module};

/// Writes what its emit_log_hook sees to stderr, which is the server log.
const TAP: &str = r#"
#include "postgres.h"
#include "fmgr.h"
#include "utils/elog.h"
PG_MODULE_MAGIC;
static emit_log_hook_type previous;
static void tap(ErrorData *edata)
{
    if (edata->message && strstr(edata->message, "tapped"))
        fprintf(stderr, "[tap,0,] %s %d\n", edata->message, (int) edata->output_to_server);
    if (previous)
        previous(edata);
}
void _PG_init(void);
void _PG_init(void) { previous = emit_log_hook; emit_log_hook = tap; }
"#;

const SETUP: &str = "
    create function says() returns void language plpgsql as $f$
    begin raise info 'tapped info'; raise notice 'tapped notice'; raise warning 'tapped warning'; end $f$;
    comment on function says() is '@sse';";

/// What the module saw, without its mark.
fn tapped(cluster: &Cluster) -> Result<Vec<String>> {
    let log = cluster.log()?;
    Ok(log.lines().filter_map(|line| line.strip_prefix("[tap,0,] ")).map(str::to_owned).collect())
}

fn with(libraries: &str) -> Builder {
    let (name, value) = Pair::log_line_prefix();
    Cluster::builder().preload(Preload::Libraries(libraries.to_owned())).setting(name, value)
}

/// Trap G.
#[test]
fn a_log_hook_listed_before_us_sees_only_what_stock_would_show_it() -> Result<()> {
    if !module::compile(&*Install::shared()?, "pg_sse_tap", TAP)? {
        return Ok(());
    }
    let stock = with("pg_sse_tap").without_extension().start()?;
    let pair = Pair::of(stock, with("pg_sse_tap, pg_sse").start()?)?;
    pair.case("tapped").setup(SETUP).emits("select says();", &["tapped info"])?;
    assert_eq!(tapped(&pair.stock)?, ["tapped warning 1"]);
    assert_eq!(tapped(&pair.preloaded)?, ["tapped warning 1"]);

    // The documentation warns of the other order. If PostgreSQL or pg_sse changes this, the warning can go.
    let wrong = with("pg_sse, pg_sse_tap").start()?;
    wrong.sql(SETUP)?;
    // Capture begins when the gateway has seen the extension.
    wrong.http()?;
    wrong.sql("select says()")?;
    assert_eq!(tapped(&wrong)?, ["tapped info 1", "tapped notice 1", "tapped warning 1"]);
    Ok(())
}

#[test]
fn pg_stat_statements_and_auto_explain_see_the_same_in_any_order() -> Result<()> {
    if !has_extension(env!("CARGO_CRATE_NAME"), "pg_stat_statements")? {
        return Ok(());
    }
    let settings = |builder: Builder| {
        builder
            .setting("pg_stat_statements.track", "all")
            .setting("auto_explain.log_min_duration", 0)
            .setting("auto_explain.log_nested_statements", "on")
            .setting("auto_explain.log_timing", "off")
    };
    let setup = "
        create function asks(n int) returns bigint language plpgsql as $f$
        declare result bigint;
        begin
            raise info 'asks %', n;
            select count(*) into result from pg_class where oid < n::oid;
            return result;
        end $f$;
        comment on function asks(int) is '@sse';
        create procedure calls() language plpgsql as $f$
        begin perform asks(1); commit; raise info 'committed'; perform 1 / 0; end $f$;
        comment on procedure calls() is '@sse';";
    let orders = ["pg_sse, pg_stat_statements, auto_explain", "pg_stat_statements, auto_explain, pg_sse"];
    for (number, order) in orders.iter().enumerate() {
        let stock = settings(with("pg_stat_statements, auto_explain")).without_extension().start()?;
        let pair = Pair::of(stock, settings(with(order)).start()?)?;
        pair.both("create extension pg_stat_statements schema public")?;
        for level in ["log", "notice"] {
            pair.case(&format!("both_{number}_{level}"))
                .setup(setup)
                .options(&format!("-c auto_explain.log_level={level} -c client_min_messages=error"))
                .emits(
                    "select asks(1);
                     call calls();
                     select calls, query from public.pg_stat_statements where query like '%asks%'
                        and query not like '%both_%' order by query collate \"C\";",
                    &["asks 1", "asks 1"],
                )?;
        }
    }
    Ok(())
}
