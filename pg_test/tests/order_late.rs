//! A transaction that saw what another changed at the last moment is sent after it, too (C5.3): a change that
//! is made when our own work before the commit is done, as a library that is listed before us can make one.
//!
//! Not for changes made before: `order.rs`.

mod common;

use anyhow::{Result, ensure};
use cluster::{Cluster, Install, Preload};
use common::linger::{self, wait_for_value};
use common::{Corner, SOON, figure, module};

/// Listed before pg_sse, so that its callback runs after ours: it runs what `late.sql` says.
const LATE: &str = r#"
#include "postgres.h"
#include "fmgr.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
PG_MODULE_MAGIC;
static void at_event(XactEvent event, void *arg)
{
    const char *sql = GetConfigOption("late.sql", true, false);
    if (event != XACT_EVENT_PRE_COMMIT || !sql || !*sql)
        return;
    PushActiveSnapshot(GetTransactionSnapshot());
    SPI_connect();
    SPI_execute(sql, false, 0);
    SPI_finish();
    PopActiveSnapshot();
}
void _PG_init(void);
void _PG_init(void) { RegisterXactCallback(at_event, NULL); }
"#;

const QUIET: &str = "-c client_min_messages=warning";

#[test]
fn who_sees_a_change_that_was_made_at_the_last_moment_is_told_after_it() -> Result<()> {
    let install = Install::shared()?;
    if !module::compile(&install, "pg_sse_late", LATE)? || !linger::compile(&install)? {
        return Ok(());
    }
    let libraries = Preload::Libraries(format!("pg_sse_late, pg_sse, {}", linger::LIBRARY));
    let cluster = Cluster::builder().preload(libraries).start()?;
    let corner = Corner::of(&cluster, "late")?;
    corner.announcer("raises", "@sse")?;
    corner.sql("create table counter (value int); insert into counter values (0)")?;
    let mut stream = corner.stream("raises/info")?;
    let mut writer = corner.session_with(&format!("{QUIET} -c linger.ms=700"))?;
    let mut reader = corner.session_with(QUIET)?;
    for value in 1..=3 {
        writer.run("set late.sql = 'update late.counter set value = value + 1'")?.ok()?;
        // The commit of the SET has been counted already.
        let value = 2 * value;
        writer.send(&format!("select raises('w {value}')"))?;
        wait_for_value(&mut reader, value)?;
        reader.run(&format!("select raises('r {value}')"))?.ok()?;
        assert_eq!(stream.next_data(2, SOON)?, [format!("w {value}"), format!("r {value}")]);
        writer.wait(SOON)?.ok()?;
        writer.run("set late.sql = ''")?.ok()?;
    }
    ensure!(figure(&cluster, "stat_ring", "order_given_up_total")? == 0, "somebody was given up");
    Ok(())
}
