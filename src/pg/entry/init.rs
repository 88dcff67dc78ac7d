//! `_PG_init`: what happens when the library is loaded.

use pgrx::prelude::*;
use pgrx::{pg_guard, pg_sys};

use super::{activation, catalog_change, hook, memory, utility, xact};
use crate::guc;
use crate::pg::{bgworker, config_file, error_room, guc_shadow, postgres_cell, wal};

/// If the library is loaded at server start, everything is installed. If it is loaded later (by the SQL
/// script of `CREATE EXTENSION`, or by `sse.publish` in a server without the preload), nothing is: the
/// functions then say what is missing.
#[pg_guard]
unsafe extern "C-unwind" fn _PG_init() {
    postgres_cell::this_thread_is_postgres();
    // SAFETY: set by the postmaster while it loads libraries.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        return;
    }
    let before = config_file::before_definition(guc::names());
    guc::define();
    config_file::compare(before);
    if guc::is_wal() {
        wal::switch_on();
    }
    error_room::install();
    memory::install();
    xact::install();
    catalog_change::install();
    utility::install();
    activation::install();
    match guc_shadow::install() {
        Ok(()) => hook::install(),
        Err(guc_shadow::Unsupported) => ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "pg_sse cannot capture RAISE in this server: its log_min_messages is not what pg_sse was built for",
            "sse.publish works all the same."
        ),
    }
    bgworker::register_gateway();
    if guc::is_wal() {
        bgworker::register_wal_reader();
    }
    let places = bgworker::max_worker_processes();
    let of_calls = i32::try_from(guc::call_worker_slots()).unwrap_or(0);
    let needed = bgworker::workers() + of_calls + bgworker::workers_before_us();
    if places < needed {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            format!("pg_sse does not find room for its background workers: max_worker_processes is {places}"),
            format!(
                "Set it to at least {needed} in postgresql.conf, and to more for other extensions' workers."
            )
        );
    }
}
