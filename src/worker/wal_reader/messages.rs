//! What the reader of the log writes into the server log.

use pgrx::prelude::*;
use sse_proto::log_record::LogRecordError;

/// A record of ours cannot be read.
pub(super) fn unreadable(position: u64, error: &LogRecordError) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        format!("pg_sse wal reader: the record at {} cannot be read: {error}", lsn(position)),
        "All subscribers are told that something is missing. Counted in sse.stat_wal.unreadable_total."
    );
}

/// A part of the log is passed over.
pub(super) fn passed_over(from: u64, to: u64, why: &str) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_WARNING,
        format!("pg_sse wal reader: the log from {} to {} is not read: {why}", lsn(from), lsn(to)),
        "Events in it are lost to subscribers, who are told so. A larger wal_keep_size keeps the log longer."
    );
}

/// As Postgres writes a position.
fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}
