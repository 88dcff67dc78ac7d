//! Refusals that outlive the gateway: who was disconnected (C4.8) and which tokens were logged out with
//! (C7.5), in the file `pg_sse.revocations` of the data directory.
//!
//! Kept in a file because the gateway process has no database connection. `sse.disconnect` appends a line and
//! flushes it before it returns ([`RefusalFile::refuse_user`]). All else is done by one thread of the
//! gateway, the keeper: it reads what is new, tells the runtime threads, writes what they hand over, and
//! writes the file anew when it has grown. Runtime threads refuse a token in memory at once and leave it on
//! the desk: no event, no answer, and not the main thread waits for a disk or for the file's lock.
//!
//! Not for what is refused: that is `auth`.

mod copy;
mod file;
mod keeper;
mod line;
#[cfg(test)]
mod tests;

pub use copy::{KeptRefusal, MAX_REFUSALS, RefusalKind, RefusalReader};
pub use file::RefusalFile;

use std::sync::Arc;
use std::thread::Builder;
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};

use crate::priority::yield_to_events;
use crate::shared::Shared;
use crate::supervise::message;

/// The gateway's handle on the keeper's thread.
pub(crate) struct KeeperHandle {
    /// Disconnected when it has ended.
    ended: Receiver<()>,
}

impl KeeperHandle {
    /// Starts the thread.
    ///
    /// # Errors
    /// The process has no thread left.
    pub(crate) fn start(file: RefusalFile, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (sender, ended) = bounded(0);
        Builder::new().name("sse-refusals".to_owned()).spawn(move || {
            let _ends = sender;
            yield_to_events();
            let run = std::panic::AssertUnwindSafe(|| keeper::run(&shared, file));
            if let Err(panic) = std::panic::catch_unwind(run) {
                shared.outbox.died(message(&*panic));
            }
        })?;
        Ok(Self { ended })
    }

    /// Waits until the thread has ended, or until this moment: a thread that hangs in a disk is left alone.
    pub(crate) fn wait_until(&self, until: Instant) {
        let _ = self.ended.recv_deadline(until);
    }
}
