//! The functions that `sql/pg_sse--*.sql` declares. A Rust function `name` is the SQL function's
//! `name_wrapper` symbol.
//!
//! Not for: views and privileges, which stand in the SQL script.

mod client;
mod endpoints;
mod publish;
mod stats;
mod subscribers;
mod tokens;
mod version_0_1_0;

use pgrx::prelude::*;

use crate::pg::shmem;
use crate::pg::text::for_message;
use crate::version::version;
use crate::{catalog, guc};

/// Ends `CREATE EXTENSION` with a hint when the library is not preloaded, or when the schema is not that of a
/// superuser; warns in a database that is not served.
#[pg_extern(sql = false)]
fn check_installation(script_version: &str) {
    let version = version();
    if script_version != version {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "the SQL script of pg_sse is of version {script_version}, the loaded library of version {version}"
            ),
            "Install both from one version, and restart the server so that the new library is loaded."
        );
    }
    if shmem::shared().is_none() {
        pg_sys::panic::ErrorReport::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pg_sse must be loaded at server start",
            "check_installation",
        )
        .set_hint(
            "Add pg_sse at the end of shared_preload_libraries in postgresql.conf (shared_preload_libraries = 'pg_sse' when there is nothing else in it), restart the server, and run CREATE EXTENSION again.",
        )
        .report(PgLogLevel::ERROR);
    }
    if let Some(stranger) = catalog::stranger() {
        pg_sys::panic::ErrorReport::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "the schema sse, or a routine or operator in it, belongs to role \"{}\", which is not a superuser",
                for_message(&stranger)
            ),
            "check_installation",
        )
        .set_hint(
            "It was there before the extension, and its owner could put functions into it that others take for those of pg_sse. Look at what is in it, drop it or give it to a superuser (ALTER SCHEMA sse OWNER TO …), and run this again.",
        )
        .report(PgLogLevel::ERROR);
    }
    let database = catalog::current_database();
    if database != guc::DATABASE.text() {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_WARNING,
            format!("routines of database \"{}\" are not served", for_message(&database)),
            format!(
                "The served database is \"{}\". To serve this one, set sse.database in postgresql.conf and restart the server.",
                for_message(&guc::DATABASE.text())
            )
        );
    }
}
