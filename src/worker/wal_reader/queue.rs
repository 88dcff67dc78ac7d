//! What was read and has not been told: in the order of the log, and nothing overtakes. A commit whose
//! changes nobody can see yet holds up everything after it, and so does what the synchronous standbys do
//! not have.
//!
//! Not for: putting parts together (`sse_proto::log_record`), and telling (`reading.rs`).

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use sse_proto::log_record::{Complete, Content, Loss};
use sse_proto::place::Place;
use sse_proto::record::LogLoss;

use crate::pg::clock;
use crate::pg::shmem::Shared;
use crate::pg::wal::log_end::{self, LogEnd, Role};
use crate::pg::wal::visibility;

/// Beyond this many bytes nothing is read any more until some of it has been told. What is after it stays in
/// the log.
const MOST_BYTES: usize = 16 << 20;

/// Beyond this many likewise.
const MOST: usize = 100_000;

/// What is to be told.
pub(super) struct Held {
    /// Events, or their loss.
    pub complete: Complete,
    /// The timeline of its position.
    pub timeline: u32,
    /// What a gap says if it is lost.
    pub loss: LogLoss,
    /// How many of its events were told.
    pub told: u32,
    bytes: usize,
}

impl Held {
    /// The place of the event with this index.
    pub(super) fn place(&self, index: u32) -> Place {
        Place::new(self.timeline, self.complete.end, index)
    }
}

/// See the head of this file.
pub(super) struct Queue {
    held: VecDeque<Held>,
    bytes: usize,
    /// Since when the first one is held.
    since: Option<Instant>,
}

impl Queue {
    /// One that holds nothing. What was held before, perhaps by a reader that has died, is read again.
    pub(super) fn new(shared: &Shared) -> Self {
        let figures = &shared.wal.words.figures;
        figures.held_since.store(0, Relaxed);
        figures.held_by.store(0, Relaxed);
        Self { held: VecDeque::new(), bytes: 0, since: None }
    }

    /// After all others: why something is missing, up to this position on this timeline. `None`: nothing is.
    pub(super) fn push_gap(&mut self, missing: Option<(LogLoss, u64, u32)>) {
        let Some((loss, end, timeline)) = missing else { return };
        let complete = lost(end, Loss::NoBeginning);
        self.held.push_back(Held { complete, timeline, loss, told: 0, bytes: 0 });
    }

    /// After all others.
    pub(super) fn push(&mut self, complete: Complete, timeline: u32) {
        let bytes = match &complete.content {
            Content::Events(events) => events.records().map(|(_, record)| record.len()).sum(),
            Content::Lost(_) => 0,
        };
        self.bytes += bytes;
        self.held.push_back(Held { complete, timeline, loss: LogLoss::Unreadable, told: 0, bytes });
    }

    /// Whether no more is to be read.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > MOST_BYTES || self.held.len() >= MOST
    }

    /// The position of the first one.
    pub(super) fn first_end(&self) -> Option<u64> {
        self.held.front().map(|first| first.complete.end)
    }

    /// Since when the first one is held.
    pub(super) fn held_since(&self) -> Option<Instant> {
        self.since
    }

    /// The first one, if it may be told.
    pub(super) fn ready(&mut self, shared: &Shared, end: &LogEnd) -> Option<&mut Held> {
        let first = self.held.front_mut()?;
        let figures = &shared.wal.words.figures;
        // A reader that follows on another one reads again what that one has told.
        let was_let_go = first.complete.end <= shared.wal.let_go();
        let holder = if was_let_go { None } else { holder(&first.complete, end) };
        match holder {
            None => {
                shared.wal.set_let_go(first.complete.end);
                if self.since.take().is_some() {
                    figures.held_since.store(0, Relaxed);
                    figures.held_by.store(0, Relaxed);
                }
                Some(first)
            }
            Some(pid) => {
                if self.since.is_none() {
                    self.since = Some(Instant::now());
                    figures.held_since.store(clock::now_microseconds(), Relaxed);
                }
                figures.held_by.store(u32::try_from(pid).unwrap_or(0), Relaxed);
                None
            }
        }
    }

    /// The first one was told.
    pub(super) fn pop(&mut self) {
        if let Some(first) = self.held.pop_front() {
            self.bytes -= first.bytes;
        }
    }
}

/// A record at which nothing is told but that something is missing.
pub(super) fn lost(end: u64, loss: Loss) -> Complete {
    Complete { place: 0, xid: 0, end, ignores_standbys: false, content: Content::Lost(loss) }
}

/// `Some`: it may not be told yet, because of the process with this id; 0: of synchronous standbys.
///
/// Whatever is replayed is visible. On a primary, a transaction that waits for synchronous standbys is not
/// visible meanwhile; but it may wait for less than their disks, its wait may be cancelled, and for what is
/// written without a commit nobody waits but this.
fn holder(complete: &Complete, end: &LogEnd) -> Option<i32> {
    if end.role == Role::Standby {
        return None;
    }
    if let Some(pid) = visibility::hidden_by(complete.place, complete.xid) {
        return Some(pid);
    }
    (!complete.ignores_standbys
        && log_end::flushed_by_standbys().is_some_and(|flushed| complete.end > flushed))
    .then_some(0)
}
