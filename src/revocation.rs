//! The backend's side of refusing a user (`sse.disconnect`, C4.8): a line in the file of refusals.
//!
//! Not for the file (`sse_gateway::RefusalFile`), which the gateway reads when it is told that there is more, and not for
//! ending streams, which the gateway does then. A file system copy of the data directory has the file; logical dumps,
//! `pg_upgrade` and standbys do not.

use std::io;
use std::time::SystemTime;

use sse_gateway::RefusalFile;

use crate::pg::backend;

/// Refuses tokens that were issued to the user before now, durably. While another process has the file's lock it can be
/// cancelled, as any statement.
///
/// # Errors
/// The file cannot be written; the user's tokens are as good as before then.
pub(crate) fn add(user_id: &str) -> io::Result<()> {
    RefusalFile::new(backend::data_directory()).refuse_user(user_id, SystemTime::now(), || {
        backend::pause();
        pgrx::check_for_interrupts!();
    })
}
