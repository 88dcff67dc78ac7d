//! What the gateway knows of the routines: when the catalog has to be read, which worker reads it, and what
//! came of it.
//!
//! The gateway has no database connection, so a short-lived `pg_sse catalog` worker reads for it and hands
//! the routines over through the ring, as records between a begin and an end. A committed change of a routine
//! raises a number in shared memory; the routines are outdated while that number differs from the one they
//! were read at.

use std::time::{Duration, Instant};

use pgrx::prelude::*;

use super::courier::Courier;
use crate::pg::bgworker::{self, DynamicBackgroundWorker};
use crate::pg::shmem::Shared;

/// Changes in quick succession are read once, after this time. A request for an unknown path does not wait
/// for it.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// After a reading there is a pause of so many times the work that it was, so that whoever changes routines
/// all the time keeps a quarter of a processor busy and not all of it. With ten thousand routines that is
/// about a second. What it waited for (a lock, a processor, room in the ring) is nobody's work: behind a
/// `VACUUM FULL` of an hour the next reading would be put off by three.
const PAUSE_FACTOR: u32 = 3;

/// The same while a request waits for the reading: half of a processor. Some may change routines all the time
/// while others ask for paths that do not exist; even together they must not use up a whole processor.
const HURRIED_PAUSE_FACTOR: u32 = 1;

/// A reading that does not say what it worked counts with all of its time, but with no more than this: it
/// failed, and is tried again.
const MAX_UNTOLD: Duration = Duration::from_secs(5);

/// Pause after a reading that failed; doubled each time up to the maximum.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// See the head of this file.
pub(crate) struct CatalogReader {
    shared: Shared,
    worker: Option<DynamicBackgroundWorker>,
    /// The worker has left, and was seen to have then; its last records may still be in the ring, up to this
    /// mark of the courier's.
    left_at: Option<(u64, Instant)>,
    /// Its records were complete.
    finished: bool,
    /// Another database is served since the worker was started: what it has read, or is still reading, is not
    /// taken for the routines of that one.
    is_overtaken: bool,
    /// A setting that the last worker goes by has changed since it was started, or it was not done when it
    /// left.
    is_outdated: bool,
    /// The number of changes that the routes in force contain.
    loaded: Option<u64>,
    /// When the worker was started.
    started_at: Instant,
    /// What the one before worked decides.
    not_before: Instant,
    /// The same while a request waits.
    hurried_not_before: Instant,
    back_off: Duration,
    /// A request waits, and needs a reading of at least this number.
    question: Option<(u64, u64)>,
}

impl CatalogReader {
    /// Knows nothing yet.
    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared,
            worker: None,
            left_at: None,
            finished: false,
            is_overtaken: false,
            is_outdated: false,
            loaded: None,
            started_at: Instant::now(),
            not_before: Instant::now(),
            hurried_not_before: Instant::now(),
            back_off: FIRST_BACK_OFF,
            question: None,
        }
    }

    /// Nobody waits any more. A new gateway counts its questions from the beginning, so it would take the
    /// answer to an old question for the answer to its first.
    pub(crate) fn forget_question(&mut self) {
        self.question = None;
    }

    /// Forgets everything: another database is served from now on.
    pub(crate) fn reset(&mut self) {
        self.forget_question();
        self.loaded = None;
        self.is_overtaken = self.worker.is_some();
    }

    /// What a worker makes depends on a setting that has changed: the routines are read again.
    pub(crate) fn outdate(&mut self) {
        self.is_outdated = true;
    }

    /// Somebody asked for an unknown path: `Some(question)` when the routines are up to date, so that it can
    /// be answered at once; else it is answered when they are ([`CatalogReader::answered`]).
    pub(crate) fn ask(&mut self, question: u64) -> Option<u64> {
        let generation = self.shared.catalog_generation();
        if self.loaded == Some(generation) {
            return Some(question);
        }
        self.question = Some((question, generation));
        None
    }

    /// The question that the routines as read by now answer.
    pub(crate) fn answered(&mut self) -> Option<u64> {
        let (question, needed) = self.question?;
        if self.loaded? < needed {
            return None;
        }
        self.question = None;
        Some(question)
    }

    /// Starts a worker when the routines are outdated; looks after a worker that is running.
    pub(crate) fn tend(&mut self, courier: &mut Courier) {
        if let Some(worker) = &self.worker {
            if worker.pid().is_ok() || is_starting(worker) {
                return;
            }
            // Nothing is missing before all that it pushed has come.
            let (mark, left) = *self.left_at.get_or_insert_with(|| (courier.mark(), Instant::now()));
            if !courier.has_reached(mark) {
                return;
            }
            self.worker = None;
            let now = Instant::now();
            let told = self.shared.header.last_reading.take_work();
            let read = told.unwrap_or_else(|| (left - self.started_at).min(MAX_UNTOLD));
            // Making routes of it takes no longer, unless the main thread was late to see that.
            let work = read + (now - left).min(read);
            self.not_before = self.not_before.max(now + work * PAUSE_FACTOR);
            self.hurried_not_before = now + work * HURRIED_PAUSE_FACTOR;
            if !std::mem::take(&mut self.is_overtaken) {
                // One that has handed over the routines may have failed at the client for them.
                if self.finished && told.is_some() {
                    self.back_off = FIRST_BACK_OFF;
                } else {
                    self.is_outdated = true;
                    self.retry_later("the worker that reads the routines left before it was done");
                }
            }
        }
        let outdated = self.is_outdated || self.loaded != Some(self.shared.catalog_generation());
        let hurries = self.question.is_some() && self.back_off == FIRST_BACK_OFF;
        let now = Instant::now();
        if !outdated || now < if hurries { self.hurried_not_before } else { self.not_before } {
            return;
        }
        self.started_at = now;
        self.not_before = now + DEBOUNCE;
        match bgworker::start_catalog_worker() {
            Ok(worker) => {
                self.worker = Some(worker);
                self.left_at = None;
                self.finished = false;
                self.is_outdated = false;
            }
            Err(_) => self.retry_later(&format!(
                "no background worker is free to read the routines; set max_worker_processes (now {}) to a higher value",
                bgworker::max_worker_processes()
            )),
        }
    }

    /// How long the loop may sleep, at most `longest`.
    pub(crate) fn pause(&self, longest: Duration) -> Duration {
        if self.worker.is_some() {
            // What the worker pushes wakes the main thread; its leaving may not.
            return longest.min(Duration::from_millis(20));
        }
        if !self.is_outdated && self.loaded == Some(self.shared.catalog_generation()) {
            return longest;
        }
        let hurries = self.question.is_some() && self.back_off == FIRST_BACK_OFF;
        let not_before = if hurries { self.hurried_not_before } else { self.not_before };
        longest.min(not_before.saturating_duration_since(Instant::now()))
    }

    /// Whether the routines were ever read.
    pub(crate) fn has_read(&self) -> bool {
        self.loaded.is_some()
    }

    /// The routes of a reading that contains this many changes are in force. `false`: it counts for nothing,
    /// because it is of the database before, or of the gateway before: the routines are read again.
    pub(crate) fn loaded(&mut self, generation: u64) -> bool {
        // A worker of ours stays known until all that it has pushed was heard of.
        if self.worker.is_none() || self.is_overtaken {
            self.loaded = None;
            return false;
        }
        self.loaded = Some(generation);
        self.finished = true;
        true
    }

    fn retry_later(&mut self, why: &str) {
        if self.back_off == FIRST_BACK_OFF {
            ereport!(
                PgLogLevel::WARNING,
                PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                format!("pg_sse: {why}")
            );
        }
        self.not_before = Instant::now() + self.back_off;
        self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
    }
}

fn is_starting(worker: &DynamicBackgroundWorker) -> bool {
    matches!(worker.pid(), Err(bgworker::BackgroundWorkerStatus::NotYetStarted))
}
