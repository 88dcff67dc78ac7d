//! Finds safe starts: on a primary from what backends announce, for the file and as marks in the log; on a
//! standby from the marks of the primary.
//!
//! A mark is written once a second if there were events, or if the log has grown much: a standby must not
//! read it all again after a restart. A mark is a record itself, so on an idle server there are none.
//!
//! Not for: what a start is (`starts.rs`).

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use sse_proto::log_record;
use sse_proto::place::Place;

use super::starts::{Start, Starts};
use crate::pg::shmem::Shared;
use crate::pg::wal::{position, write};

/// How often a start is looked for.
const EVERY: Duration = Duration::from_secs(1);

/// Without events, a mark is written when the log has grown by this: a segment of the usual size, which takes
/// a hundredth of a second to read.
const MARK_AFTER_BYTES: u64 = 16 << 20;

/// See the head of this file.
pub(super) struct Marks {
    shared: Shared,
    pub(super) starts: Starts,
    looked_at: Option<Instant>,
    /// The end of the log when the last start was found.
    seen: u64,
    /// The end of the log after the last mark; 0: none was written yet, in this life.
    marked: u64,
    /// Found, and not told up to there yet, perhaps not even flushed: after a crash the log may go on
    /// otherwise from before this.
    found: Option<Start>,
    has_events: bool,
}

impl Marks {
    pub(super) fn new(shared: Shared, data_directory: &Path) -> Self {
        let starts = Starts::read(data_directory);
        Self { shared, starts, looked_at: None, seen: 0, marked: 0, found: None, has_events: false }
    }

    /// There was an event.
    pub(super) fn note_events(&mut self) {
        self.has_events = true;
    }

    /// Keeps what was found, when everything up to its end was told. `told`: up to where all was, and where
    /// the last of it is.
    pub(super) fn settle(&mut self, (told, last): (u64, (u64, u32))) {
        if let Some(found) = self.found.take_if(|found| found.complete <= told) {
            let is_before = last.0 <= found.complete;
            self.keep(Start { nothing_since: if is_before { last } else { found.nothing_since }, ..found });
        }
    }

    /// On a primary.
    pub(super) fn tend(&mut self) {
        let now = Instant::now();
        let is_early = self.looked_at.is_some_and(|at| now.saturating_duration_since(at) < EVERY);
        if !is_early {
            self.looked_at = Some(now);
            self.look();
        }
    }

    /// On a standby: a mark with this start was read, and what ends here is complete.
    pub(super) fn read(&mut self, start: u64, end: u64) {
        let now = Instant::now();
        if self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= EVERY) {
            self.looked_at = Some(now);
            self.found.get_or_insert(found(start, end));
        }
    }

    fn look(&mut self) {
        // The one before the search is the start's; everybody who had written before it has ended by the
        // other.
        let start = self.shared.wal.safe_start();
        let complete = position::end_of_log();
        if complete != self.seen && self.found.is_none() {
            self.found = Some(found(start, complete));
        }
        let has_grown = complete.saturating_sub(self.marked) >= MARK_AFTER_BYTES;
        // An event may have come after the look that has seen its commit.
        if self.has_events || has_grown {
            self.marked = write::insert_small(false, &log_record::mark(start));
            self.shared.wal.words.figures.marks_total.fetch_add(1, Relaxed);
            self.has_events = false;
        }
        // Not after the mark: the next look finds a start that is after it, and then the log rests.
        self.seen = complete;
    }

    fn keep(&mut self, start: Start) {
        // Without it more is read after the next restart; the directory is as it was.
        let _ = self.starts.add(start);
    }
}

/// At the beginning of a page the place where a record would begin is after the end of the last one, by the
/// page's header.
fn found(start: u64, complete: u64) -> Start {
    let start = start.min(complete);
    Start { start, complete, nothing_since: (complete, Place::BEHIND_ALL), found_at: now_seconds() }
}

/// Seconds since 1970.
pub(super) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
