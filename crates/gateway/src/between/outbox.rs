//! What runtime threads have the main thread do, which alone may call Postgres.
//!
//! Not for what the main thread tells them: that is [`crate::Gateway`].

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use crate::stats::Stats;

/// Something that the main thread is to do ([`crate::Gateway::poll_errand`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// Write this to the server log. What came from outside is escaped already (C8.3).
    Log {
        /// How bad it is.
        severity: Severity,
        /// One line, lower case, without a final full stop.
        message: String,
    },
    /// A request waits for a path that is not known (C2.4): take in what has committed up to **now**, call
    /// [`crate::Gateway::set_routes`] if anything changed, and then [`crate::Gateway::routes_are_fresh`] with
    /// this question. At most ten of these come in a second.
    RefreshRoutes {
        /// The question's number; a later question has a higher one.
        question: u64,
    },
    /// A runtime thread has panicked; nothing of the gateway can be relied on. The process must end with exit
    /// code 1.
    Died(String),
}

/// Severity of a line for the server log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// `LOG`: worth knowing.
    Log,
    /// `WARNING`: the administrator should do something.
    Warning,
}

/// Errands that wait for the main thread. It does them whenever it wakes, so this many pile up only while it
/// is stuck; then further ones are dropped and counted. A death is never dropped.
const MAX_WAITING: usize = 256;

/// Shortest time between two log lines of one kind, whatever the network does.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The runtime threads' end.
pub(crate) struct Outbox {
    sender: Sender<Errand>,
    died: Mutex<Option<String>>,
    wake: UnixStream,
    stats: Arc<Stats>,
    /// When a line of each kind was last said, and how many were swallowed since. Not on the event path.
    said: Mutex<HashMap<&'static str, (Instant, u64)>>,
}

/// The main thread's end.
pub(crate) struct Inbox {
    receiver: Receiver<Errand>,
    wake: UnixStream,
}

pub(crate) fn errand_channel(stats: Arc<Stats>) -> std::io::Result<(Outbox, Inbox)> {
    let (sender, receiver) = bounded(MAX_WAITING);
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    writer.set_nonblocking(true)?;
    let outbox = Outbox { sender, died: Mutex::default(), wake: writer, stats, said: Mutex::default() };
    Ok((outbox, Inbox { receiver, wake: reader }))
}

impl Outbox {
    /// Hands over an errand. Returns whether there was room.
    pub(crate) fn try_send(&self, errand: Errand) -> bool {
        let sent = !matches!(self.sender.try_send(errand), Err(TrySendError::Full(_)));
        if !sent {
            Stats::add(&self.stats.requests_dropped_total, 1);
        }
        self.wake_main();
        sent
    }

    /// Writes the line now, without a limit.
    pub(crate) fn log(&self, severity: Severity, message: String) -> bool {
        self.try_send(Errand::Log { severity, message })
    }

    /// Writes the line unless one of the same `kind` was written within [`LOG_INTERVAL`].
    pub(crate) fn log_limited(
        &self,
        kind: &'static str,
        severity: Severity,
        message: impl FnOnce() -> String,
    ) {
        let now = Instant::now();
        let mut said = self.said.lock();
        let swallowed = match said.get_mut(kind) {
            Some((at, swallowed)) if now.duration_since(*at) < LOG_INTERVAL => {
                *swallowed += 1;
                return;
            }
            Some((_, swallowed)) => *swallowed,
            None => 0,
        };
        said.insert(kind, (now, 0));
        drop(said);
        let mut message = message();
        if swallowed > 0 {
            message.push_str(&format!(" ({swallowed} more of this kind were not logged)"));
        }
        self.log(severity, message);
    }

    pub(crate) fn died(&self, message: String) {
        self.died.lock().get_or_insert(message);
        self.wake_main();
    }

    /// The errand that is never dropped.
    fn kept(&self) -> Option<Errand> {
        self.died.lock().take().map(Errand::Died)
    }

    /// Makes [`Inbox::fd`] readable.
    pub(crate) fn wake_main(&self) {
        // A full socket means that the main thread has been told often enough.
        let _ = (&self.wake).write(&[1]);
    }
}

impl Inbox {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// The wake bytes are read only when nothing waits, and the queue is looked at once more after that: so
    /// the main thread loses no wake, whenever it stops asking.
    pub(crate) fn poll(&self, outbox: &Outbox) -> Option<Errand> {
        if let Some(errand) = outbox.kept().or_else(|| self.receiver.try_recv().ok()) {
            return Some(errand);
        }
        let mut bytes = [0; 512];
        while matches!((&self.wake).read(&mut bytes), Ok(n) if n > 0) {}
        outbox.kept().or_else(|| self.receiver.try_recv().ok())
    }
}

/// Text from outside, fit for a log line: control characters escaped, cut at 200 characters.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_death_is_told_even_when_nothing_else_fits() {
        let (outbox, inbox) = errand_channel(Arc::default()).unwrap();
        while outbox.log(Severity::Log, "x".to_owned()) {}
        assert_eq!(outbox.stats.requests_dropped_total.load(std::sync::atomic::Ordering::Relaxed), 1);
        outbox.died("why".to_owned());
        assert_eq!(inbox.poll(&outbox), Some(Errand::Died("why".to_owned())));
        let mut lines = 0;
        while inbox.poll(&outbox).is_some() {
            lines += 1;
        }
        assert_eq!(lines, MAX_WAITING);
    }

    #[test]
    fn log_lines_of_one_kind_are_limited_and_others_are_not() {
        let (outbox, inbox) = errand_channel(Arc::default()).unwrap();
        for _ in 0..100 {
            outbox.log_limited("a", Severity::Log, || "a".to_owned());
        }
        outbox.log_limited("b", Severity::Log, || "b".to_owned());
        let mut messages = Vec::new();
        while let Some(Errand::Log { message, .. }) = inbox.poll(&outbox) {
            messages.push(message);
        }
        assert_eq!(messages, ["a", "b"]);
    }

    #[test]
    fn what_comes_from_outside_cannot_write_a_log_line_of_its_own() {
        assert_eq!(escaped("a\nLOG:  b\u{1b}[31m"), "a\\nLOG:  b\\u{1b}[31m");
        assert_eq!(escaped(&"x".repeat(1000)).len(), 200);
    }
}
