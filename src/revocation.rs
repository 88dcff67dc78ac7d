//! The backend's side of refusing a user (`sse.disconnect`, C4.8): a line in the file of refusals.
//!
//! Not for the file itself (`sse_gateway::RefusalFile`), nor for ending streams: the gateway does that when
//! it is told of a new line, and reads it. A copy of the data directory in the file system has the file;
//! logical dumps, `pg_upgrade` and standbys do not.

use std::io;
use std::time::SystemTime;

use sse_gateway::RefusalFile;

use crate::pg::backend;

/// Refuses, durably, all tokens that were issued to the user before now. While another process holds the
/// file's lock, the statement can be cancelled like any other.
///
/// # Errors
/// The file cannot be written. The user's tokens then stay as valid as they were.
pub(crate) fn add(user_id: &str) -> io::Result<()> {
    RefusalFile::new(backend::data_directory()).refuse_user(user_id, SystemTime::now(), || {
        backend::pause();
        pgrx::check_for_interrupts!();
    })
}
