//! Refusals that outlive the gateway: who was disconnected (C4.8) and which tokens were logged out with (C7.5), in the file
//! `pg_sse.revocations` of the data directory.
//!
//! The gateway process has no database connection, so it is a file. Whoever runs `sse.disconnect` appends a line and flushes
//! it before the call returns ([`RefusalFile::refuse_user`]). All else is done by one thread of the gateway, the keeper: it
//! reads what is new, tells the runtime threads, writes what they hand over, and writes the file anew when it has grown.
//! Runtime threads refuse a token in memory at once and put a line on this desk; no disk and no lock of a file is waited for
//! by an event, by an answer, or by the main thread.
//!
//! Not for what is refused: that is `auth`.

mod file;
mod keeper;
mod line;
#[cfg(test)]
mod tests;

pub use file::RefusalFile;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::auth::{MAX_TOKENS, NewRefusal};
use crate::shared::Shared;
use crate::supervise::message;

/// Refusals that wait to be written: as many tokens as are remembered, 8 MB. Beyond it one is refused in memory alone, and the log
/// says so: the disk has taken nothing for minutes then.
const MAX_WAITING: usize = MAX_TOKENS;

/// Where runtime threads and the main thread leave work for the keeper.
pub(crate) struct Desk {
    /// There is a file, so there is a keeper.
    has_file: bool,
    /// Written by the keeper, read by every request; behind a lock, so that whoever is let in sees what was told.
    knowledge: watch::Sender<Knowledge>,
    work: Mutex<Work>,
    bell: Condvar,
}

/// Whether all has been told that the file says. Until then nobody can say who is refused, so nobody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// It is being read for the first time: a matter of milliseconds, unless a disk hangs.
    Unread,
    Known,
    /// It cannot be read.
    Unreadable,
}

/// What is to be done.
#[derive(Default)]
struct Work {
    /// The file may have more lines.
    look: bool,
    kept: VecDeque<NewRefusal>,
    /// Write what there is, and end; at the latest at this moment.
    stop: Option<Instant>,
}

/// The file's thread, as the gateway has it.
pub(crate) struct Keeper {
    /// Disconnected when it has ended.
    ended: Receiver<()>,
}

impl Desk {
    pub(crate) fn new(has_file: bool) -> Self {
        Self {
            has_file,
            knowledge: watch::Sender::new(if has_file { Knowledge::Unread } else { Knowledge::Known }),
            work: Mutex::new(Work { look: has_file, ..Work::default() }),
            bell: Condvar::new(),
        }
    }

    /// Whether all is told that the file says.
    pub(crate) fn is_known(&self) -> bool {
        *self.knowledge.borrow() == Knowledge::Known
    }

    /// Waits until the file was read or could not be, for `most` at the most. A browser that comes back right after a start
    /// waits these milliseconds: to an `EventSource` a 503 would be the end (WHATWG HTML §9.2.3, "fail the connection").
    pub(crate) async fn looked_at(&self, most: Duration) {
        if *self.knowledge.borrow() == Knowledge::Unread {
            let mut knowledge = self.knowledge.subscribe();
            let settled = knowledge.wait_for(|knowledge| *knowledge != Knowledge::Unread);
            // Neither the end of the time nor that of the keeper says more than `is_known` does.
            let _ = tokio::time::timeout(most, settled).await;
        }
    }

    fn set(&self, knowledge: Knowledge) {
        self.knowledge.send_replace(knowledge);
    }

    /// Has the file read on.
    pub(crate) fn look(&self) {
        self.work.lock().look = true;
        self.bell.notify_one();
    }

    /// Has a refusal written. Returns whether there was room.
    pub(crate) fn keep(&self, refusal: NewRefusal) -> bool {
        if !self.has_file {
            return true;
        }
        let mut work = self.work.lock();
        if work.kept.len() >= MAX_WAITING || work.kept.try_reserve(1).is_err() {
            return false;
        }
        work.kept.push_back(refusal);
        drop(work);
        self.bell.notify_one();
        true
    }

    pub(crate) fn stop(&self, until: Instant) {
        self.work.lock().stop = Some(until);
        self.bell.notify_one();
    }

    /// Waits for work, but not longer than this. Not for refusals to write while others stand before them.
    fn wait(&self, pause: Duration, for_kept: bool) {
        let mut work = self.work.lock();
        let has_kept = for_kept && !work.kept.is_empty();
        if !work.look && !has_kept && work.stop.is_none() {
            self.bell.wait_for(&mut work, pause);
        }
    }

    fn take_look(&self) -> bool {
        std::mem::take(&mut self.work.lock().look)
    }

    fn take_kept(&self, most: usize) -> Vec<NewRefusal> {
        let mut work = self.work.lock();
        let count = most.min(work.kept.len());
        work.kept.drain(..count).collect()
    }

    /// `Some` when it is to end: at the latest then.
    fn stopping(&self) -> Option<Instant> {
        self.work.lock().stop
    }
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The process has no thread left.
    pub(crate) fn start(file: RefusalFile, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (sender, ended) = bounded(0);
        Builder::new().name("sse-refusals".to_owned()).spawn(move || {
            let _ends = sender;
            let run = std::panic::AssertUnwindSafe(|| keeper::run(&shared, file));
            if let Err(panic) = std::panic::catch_unwind(run) {
                shared.outbox.died(message(&*panic));
            }
        })?;
        Ok(Self { ended })
    }

    /// Waits until it has ended, but not beyond this: one that a disk holds is left to it.
    pub(crate) fn wait_until(&self, until: Instant) {
        let _ = self.ended.recv_deadline(until);
    }
}
