//! Whether what a function publishes can reach anybody here.
//!
//! Not for routines, which are not looked at where they are not served (`annotations.rs`).

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use pgrx::prelude::*;

use crate::guc;
use crate::pg::backend::{self, NoGateway};
use crate::pg::database;
use crate::pg::shmem::{self, Shared};
use crate::pg::text::for_message;
use crate::pg::wal;

/// The shared memory where this database is served. Elsewhere `None`, and a WARNING, once for each session:
/// a trigger that publishes must not break there, and must not fill the log (C1.2). `function` is what does
/// nothing then.
pub(crate) fn shared_or_warn(function: &str) -> Option<Shared> {
    let no_gateway = backend::no_gateway();
    let served = shmem::shared()
        .filter(|shared| no_gateway.is_none() && database::mine_is_served(shared, || guc::DATABASE.text()));
    if served.is_none() {
        if wal::is_on()
            && no_gateway == Some(NoGateway::Standby)
            && let Some(shared) = shmem::shared()
        {
            shared.header.refusals.standby_total.fetch_add(1, Relaxed);
        }
        warn_once(function, no_gateway);
    }
    served
}

fn warn_once(function: &str, no_gateway: Option<NoGateway>) {
    thread_local! {
        static SAID: Cell<bool> = const { Cell::new(false) };
    }
    if SAID.replace(true) {
        return;
    }
    let (what, detail) = match (shmem::shared(), no_gateway) {
        (None, _) => ("this database is not served", "pg_sse is not in shared_preload_libraries.".to_owned()),
        (Some(_), Some(NoGateway::Standby)) if wal::is_on() => (
            "this server is a standby",
            "Events are written into the write-ahead log, on the primary alone.".to_owned(),
        ),
        (Some(_), Some(NoGateway::Standby)) => {
            ("this server is a standby", "Nothing listens here until it is promoted.".to_owned())
        }
        (Some(_), Some(NoGateway::SingleUser)) => {
            ("this server runs for a single user", "It has no background workers.".to_owned())
        }
        (Some(_), None) => {
            let served = for_message(&guc::DATABASE.text());
            ("this database is not served", format!("The served database is \"{served}\" (sse.database)."))
        }
    };
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_WARNING,
        format!("{function} does nothing here: {what}"),
        detail
    );
}
