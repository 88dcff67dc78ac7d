//! A panic on a runtime thread is told to the main thread, which ends the process with exit code 1: the
//! postmaster then starts a new gateway. Going on with half a gateway would be worse, and a signal would
//! restart the cluster.
//!
//! Not a way to survive a panic.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::between::outbox::escaped;
use crate::shared::Shared;

/// Of threads for work that may wait for a disk, as the system lists them.
pub(crate) const BLOCKING_THREADS_NAME: &str = "sse-files";

/// How long threads for work that may wait for a disk stay when they are idle: for ever. Where the system has
/// no thread to give (a limit of processes or of memory), such work waits for one that there is; without any,
/// tokio panics, and every stream would be cut. So each runtime makes its first one when it starts.
pub(crate) const BLOCKING_THREADS_STAY: Duration = Duration::from_secs(u32::MAX as u64);

/// Runs a task of a runtime thread; when it panics, says so to the main thread.
pub(crate) async fn supervised(shared: Arc<Shared>, task: impl Future<Output = ()>) {
    let mut task = pin!(task);
    let outcome = poll_fn(|cx| {
        // Nothing is used after a panic, so nothing half changed is seen.
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await;
    if let Err(panic) = outcome {
        shared.outbox.died(message(&*panic));
    }
}

/// The text of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    format!("a runtime thread panicked: {}", escaped(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::between::outbox::{Errand, errand_channel};
    use crate::settings::Settings;

    #[test]
    fn a_panic_in_a_task_is_told_to_the_main_thread() {
        let (outbox, inbox) = errand_channel(Arc::default()).unwrap();
        let shared = Arc::new(Shared::new(1, None, 1, Arc::new(Settings::default()), Arc::default(), outbox));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(supervised(Arc::clone(&shared), async { panic!("on purpose") }));
        let told = Errand::Died("a runtime thread panicked: on purpose".to_owned());
        assert_eq!(inbox.poll(&shared.outbox), Some(told));
    }
}
