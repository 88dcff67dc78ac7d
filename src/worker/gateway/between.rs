//! What passes between the main thread, the courier and the thread that makes routes: all by channels at
//! which nobody waits.
//!
//! Not for: who does what with these messages (`courier.rs`, `courier/carrying.rs`, `routing.rs`), and what
//! the thread that makes routes is told (`routing.rs`).

use std::any::Any;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use sse_gateway::Publisher;
use sse_proto::call::CallRole;
use sse_ring::Corrupt;

/// What the courier is told.
pub(super) enum Instruction {
    /// Streams are served from now on: events go to this publisher.
    Open { publisher: Publisher, done: Sender<()> },
    /// Streams end. What is in the ring is sent before that, as far as the runtime threads take it until
    /// then.
    Close { until: Instant, done: Sender<()> },
    /// Say [`Report::Reached`] when everything that was pushed before this has been taken out.
    Mark(u64),
    /// The end.
    Stop,
    /// A panic, for a test (`fault.rs`).
    #[cfg(feature = "faults")]
    Panic,
    /// Say [`Report::Transaction`] of each event, for a test.
    #[cfg(feature = "faults")]
    TellTransactions,
}

/// What the courier says, and what the thread that makes routes says.
pub(super) enum Report {
    /// By the thread that makes routes: the routes of this reading are in force.
    Routes {
        /// Its number.
        reading: u64,
        /// The changes that it contains.
        generation: u64,
        /// How long that thread has worked for it, or has waited for a processor meanwhile.
        work: Duration,
        /// The role of calls as that reading found it.
        role: Option<CallRole>,
    },
    /// See [`Instruction::Mark`]. Passed through the thread that makes routes, which says it after taking the
    /// records before.
    Reached(u64),
    /// The events of a transaction are no longer waited for (`worker/gateway/courier/order.rs`).
    GivenUp {
        /// The backend, when it is known.
        pid: Option<i32>,
    },
    /// A record in the ring was begun this long ago, and is not complete.
    Hole(Duration),
    /// The ring cannot be read any more. The courier has ended.
    Corrupt(Corrupt),
    /// The courier has panicked.
    Died(String),
    /// An event of the transaction with this id was taken out; 0: of none.
    #[cfg(feature = "faults")]
    Transaction(u64),
}

/// Records of a catalog worker as they came out of the ring, undecoded.
///
/// They go to the thread that makes routes (`routing.rs`).
#[derive(Default)]
pub(super) struct CatalogRecords {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl CatalogRecords {
    /// Appends one.
    pub(super) fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// Whether there are no records.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The records, one after the other, as the worker pushed them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(start..*end))
    }
}

/// The end at which a thread speaks.
pub(super) struct Reports {
    sender: Sender<Report>,
    wake: UnixStream,
}

impl Reports {
    /// `wake` is the other end of the socket that the main thread waits for.
    pub(super) fn new(sender: Sender<Report>, wake: UnixStream) -> Self {
        Self { sender, wake }
    }

    /// Says something to the main thread. Never waits.
    pub(super) fn say(&self, report: Report) {
        // Fails when the main thread has ended, and the process with it.
        let _ = self.sender.send(report);
        // A full socket means that the main thread has been told often enough.
        let _ = (&self.wake).write(&[1]);
    }

    /// The thread has panicked.
    pub(super) fn died(&self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        self.say(Report::Died(text.unwrap_or("no message").to_owned()));
    }
}
