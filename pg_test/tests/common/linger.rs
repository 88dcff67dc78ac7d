//! A time in which a transaction is visible to others and its events are not in the ring yet. Without this
//! module of a server it is microseconds.

use anyhow::Result;
use cluster::{Install, Session, wait_for};

use super::{SOON, module};

/// Its name. Listed after pg_sse, so that its callback runs before ours; it waits for `linger.ms`.
pub(crate) const LIBRARY: &str = "pg_sse_linger";

const SOURCE: &str = r#"
#include "postgres.h"
#include "fmgr.h"
#include "access/xact.h"
#include "utils/guc.h"
#include <time.h>
PG_MODULE_MAGIC;
static int linger = 0;
static void at_event(XactEvent event, void *arg)
{
    struct timespec left;
    if (event != XACT_EVENT_COMMIT || linger == 0)
        return;
    left.tv_sec = linger / 1000;
    left.tv_nsec = (linger % 1000) * 1000000L;
    while (nanosleep(&left, &left) != 0)
        ;
}
void _PG_init(void);
void _PG_init(void)
{
    DefineCustomIntVariable("linger.ms", "Wait in the commit callback.", NULL, &linger, 0, 0, 100000,
                            PGC_USERSET, 0, NULL, NULL, NULL);
    RegisterXactCallback(at_event, NULL);
}
"#;

/// As [`module::compile`].
pub(crate) fn compile(install: &Install) -> Result<bool> {
    module::compile(install, LIBRARY, SOURCE)
}

/// Waits until another session sees this value in the table `counter`.
pub(crate) fn wait_for_value(session: &mut Session, value: i32) -> Result<()> {
    wait_for(SOON, "the change is visible", || {
        Ok((session.run("select value from counter")?.ok()?.text() == value.to_string()).then_some(()))
    })
}
