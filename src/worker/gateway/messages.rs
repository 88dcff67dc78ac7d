//! What the gateway writes into the server log.

use pgrx::prelude::*;
use sse_gateway::Severity;

use crate::guc;
use crate::pg::shmem::GatewayState;
use crate::version::version;

/// Why nothing is served, said once when it begins. When serving begins, [`serving`] says so.
pub(super) fn state(state: GatewayState) {
    let database = guc::DATABASE.text();
    match state {
        GatewayState::NoDatabase => {
            log!("pg_sse gateway: database \"{database}\" (sse.database) does not exist; waiting for it");
        }
        GatewayState::NoExtension => {
            log!("pg_sse gateway: waiting for CREATE EXTENSION pg_sse in database \"{database}\"");
        }
        GatewayState::OtherVersion => ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("pg_sse: the extension in database \"{database}\" is not of this library's version"),
            format!(
                "The library is of version {0}; \\dx pg_sse shows the extension's. If that is older, run ALTER EXTENSION pg_sse UPDATE TO '{0}'. \
                 If it is newer, install the library of that version and restart the server. Nothing is served until then.",
                version()
            )
        ),
        _ => {}
    }
}

/// Serving begins.
pub(super) fn serving(port: u16) {
    let places = guc::LISTEN_ADDRESSES.list().into_iter().map(|address| {
        let is_bare = address.contains(':') && !address.starts_with('[');
        if is_bare { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
    });
    log!("pg_sse gateway: serving on {}", places.collect::<Vec<_>>().join(", "));
}

/// A line that a runtime thread wants in the server log.
pub(super) fn line(severity: Severity, message: &str) {
    match severity {
        Severity::Log => log!("pg_sse gateway: {message}"),
        Severity::Warning => ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_WARNING,
            format!("pg_sse gateway: {message}")
        ),
    }
}

/// The ring cannot be read any more.
pub(super) fn corrupt(corrupt: &sse_ring::Corrupt) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        format!("pg_sse gateway: the ring in shared memory is damaged: {corrupt}"),
        "Restart the server to get a new one."
    );
}

/// For a test (`fault.rs`).
#[cfg(feature = "faults")]
pub(super) fn transaction(xid: u64) {
    log!("pg_sse gateway: an event of transaction {xid}");
}

/// The events of a transaction are no longer waited for.
pub(super) fn given_up(pid: Option<i32>) {
    let who = pid.map_or_else(|| "a backend".to_owned(), |pid| format!("the backend with process id {pid}"));
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "pg_sse gateway: {who} has committed and does not hand over its events; other events no longer wait for them"
        ),
        "It may be stopped, or in a debugger. Subscribers may get its events after those of a transaction that saw its changes. \
         Counted in sse.stat_ring.order_given_up_total."
    );
}

/// A record in the ring was begun this long ago, and is not complete.
pub(super) fn hole(age: std::time::Duration) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "pg_sse gateway: no events for {} s, because a backend has begun to hand one over and does not finish",
            age.as_secs()
        ),
        "It may be stopped, or in a debugger. All events wait until it goes on, as far as they fit into the ring, and then come in order. \
         Counted in sse.stat_ring.stalls_total."
    );
}

/// The gateway cannot do its work.
pub(super) fn no_threads(error: &std::io::Error) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_SYSTEM_ERROR,
        format!("pg_sse gateway: cannot start its threads: {error}")
    );
}

/// A thread of the gateway has ended that must not end.
pub(super) fn died(message: &str) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        format!("pg_sse gateway: a thread has failed: {message}"),
        "The gateway is started again; streams reconnect by themselves."
    );
}
