//! Takes the answers of workers for the calls that wait on one runtime thread, when a worker rings for it.
//!
//! Not for what becomes of an answer (`waiting`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;

use crate::between::workers::Taken;
use crate::shared::Shared;

/// The bell of a runtime thread: a descriptor that is never read. Each write to it is heard.
pub(crate) struct CallBell(AsyncFd<Arc<OwnedFd>>);

impl CallBell {
    /// Waits for it on this thread from now on.
    ///
    /// # Errors
    /// The thread cannot wait for it.
    // What replaces `AsyncFd::with_interest` is unsafe, because a descriptor could be closed while it is
    // watched. This one is owned by what is given.
    #[allow(deprecated)]
    pub(crate) fn new(bell: Arc<OwnedFd>) -> io::Result<Self> {
        AsyncFd::with_interest(bell, Interest::READABLE).map(Self)
    }

    /// Takes answers for as long as the thread lives.
    pub(crate) async fn take_answers(self, number: usize, shared: Arc<Shared>) {
        loop {
            // It only fails when the runtime ends.
            let Ok(mut rung) = self.0.readable().await else { return };
            // First, so that what comes from here on is heard again.
            rung.clear_ready();
            while shared.take_answers(number) == Taken::MoreComes {
                yield_now().await;
            }
        }
    }
}
