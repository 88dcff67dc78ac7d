//! What the server log says of the call workers as a whole.
//!
//! Not for what it says of one of them: whoever finds that out leaves it in `exchange.rs`.

use pgrx::prelude::*;
use sse_proto::call::CallRole;

use crate::guc;
use crate::pg::bgworker;

/// Says once what is wrong with the role, or may be wrong.
pub(super) fn role(role: Option<&CallRole>) {
    match role {
        None | Some(CallRole::Off) => {}
        Some(CallRole::Ready { warnings }) => {
            for warning in warnings {
                ereport!(PgLogLevel::WARNING, PgSqlErrorCode::ERRCODE_WARNING, format!("pg_sse: {warning}"));
            }
        }
        Some(CallRole::Refused { reason, hint }) => {
            pg_sys::panic::ErrorReport::new(
                PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                format!("pg_sse: no HTTP calls run, because {reason} (sse.call_role)"),
                "call_role",
            )
            .set_detail("Streams are served all the same.")
            .set_hint(hint.clone())
            .report(PgLogLevel::WARNING);
        }
    }
}

/// No place for a worker is left.
pub(super) fn no_place() {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!(
            "pg_sse: no background worker is free to run HTTP calls; set max_worker_processes (now {}) to a higher value",
            bgworker::max_worker_processes()
        ),
        format!("sse.call_workers is {}.", guc::call_worker_slots())
    );
}
