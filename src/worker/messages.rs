//! What the gateway writes into the server log.

use pgrx::prelude::*;
use sse_gateway::Severity;

use crate::guc;
use crate::pg::shmem::GatewayState;

/// Why nothing is served, said once when it begins. What is served says itself.
pub(super) fn state(state: GatewayState) {
    let database = guc::database();
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
                "Run ALTER EXTENSION pg_sse UPDATE TO '{}'; nothing is served until then.",
                crate::catalog::VERSION
            )
        ),
        _ => {}
    }
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

/// Whose tokens are refused cannot be told.
pub(super) fn revocations_unreadable(error: &std::io::Error) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_IO_ERROR,
        format!("pg_sse gateway: the file of refused users cannot be read: {error}"),
        "Nothing is served until it can; it is pg_sse.revocations in the data directory."
    );
}

/// A token that somebody has logged out with will be accepted again.
pub(super) fn logout_not_kept(error: &std::io::Error) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_IO_ERROR,
        format!("pg_sse gateway: the file of refused tokens cannot be written: {error}"),
        "A token that was logged out is accepted again after the next restart, until it expires."
    );
}
