//! The seam between calls that wait and the workers that run them: what the extension does for the threads of
//! a gateway, and what it may ask of them.
//!
//! A thread that has a call gives it to a worker itself, so that no call waits for the main thread.
//!
//! Not for which calls wait, and in which order (`queue`).

use std::time::Instant;

use super::outbox::Outbox;
use super::publisher::Published;
use super::queue::{CallQueue, CallResult, QueuedCall};

/// The call workers. Every thread of the gateway calls them; nothing here may wait.
pub trait CallWorkers: Send + Sync {
    /// Gives calls that wait to workers that are free, as long as there are both.
    fn hand_out(&self, calls: &CallDesk<'_>) -> Workers;

    /// Takes what workers have answered to calls that wait on this runtime thread ([`QueuedCall::thread`]),
    /// which a worker has rung for; gives those that have become free the next calls.
    fn take_answers(&self, thread: usize, calls: &CallDesk<'_>) -> Taken;
}

/// Whether [`CallWorkers::take_answers`] has taken all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The thread is rung for when there is more.
    All,
    /// It has to ask again, after it has done something else.
    MoreComes,
}

/// Who runs the calls that still wait after [`CallWorkers::hand_out`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// A worker that is ready, when it has answered the call that it has.
    Ready,
    /// Perhaps nobody: the main thread has to decide.
    None,
}

/// Calls as those see them who have workers.
pub struct CallDesk<'d> {
    pub(crate) calls: &'d CallQueue,
    pub(crate) published: &'d Published,
    pub(crate) outbox: &'d Outbox,
    /// `sse.call_workers`
    pub(crate) workers: usize,
}

impl CallDesk<'_> {
    /// The next call that still has time, for a free worker. It must be answered with [`CallDesk::answer`].
    pub fn take(&self) -> Option<QueuedCall> {
        self.calls.take(Instant::now(), self.published.last(), self.workers)
    }

    /// The statement of a call that was taken has begun. To be said before [`CallDesk::answer`], and of calls
    /// alone that ask for it ([`QueuedCall::tells_begin`]).
    pub fn has_begun(&self, id: u64) {
        self.calls.has_begun(id);
    }

    /// Answers a call that was taken; does nothing if its peer has gone.
    pub fn answer(&self, id: u64, result: CallResult) {
        self.calls.answer(id, result);
    }

    /// Makes [`crate::Gateway::wake_fd`] readable.
    pub fn wake_main(&self) {
        self.outbox.wake_main();
    }
}
