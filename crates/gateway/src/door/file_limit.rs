//! Raises the process's limit of open files so that `sse.max_connections` fit (C1.3).
//!
//! Not for surviving a limit that is too low all the same: the accept loop does.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::between::outbox::Severity;
use crate::shared::Shared;

/// Descriptors that are no sockets of peers: libraries, logs, listeners, epoll, files being served, Postgres'
/// own.
const OTHER_FILES: u64 = 256;

/// Raises the soft limit as far as needed and allowed, and says when that is not far enough.
pub(crate) fn raise(shared: &Shared) {
    let settings = shared.settings();
    let needed = settings.max_sockets() as u64 + OTHER_FILES;
    let mut limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < needed) else {
        return;
    };
    let reachable = limit.maximum.map_or(needed, |hard| hard.min(needed));
    limit.current = Some(reachable);
    let reached = if setrlimit(Resource::Nofile, limit).is_ok() { reachable } else { soft };
    if reached < needed {
        shared.outbox.log(
            Severity::Warning,
            format!(
                "sse.max_connections = {} needs {needed} open files, but the limit of the gateway is {reached} (ulimit -n)",
                settings.max_connections
            ),
        );
    }
}
