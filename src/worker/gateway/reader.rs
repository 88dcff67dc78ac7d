//! What the gateway knows of the routines: when the catalog has to be read, which worker reads it, and what
//! came of it.
//!
//! The gateway has no database connection, so a short-lived `pg_sse catalog` worker reads for it and hands
//! the routines over through the ring, as records between a begin and an end. A committed change of a routine
//! raises a number in shared memory; the routines are outdated while that number differs from the one they
//! were read at.
//!
//! With `sse.serve_client` a worker goes on after the routines, and makes the files for clients. That may
//! take much longer, and a changed `@authorize` must not wait for it: meanwhile another worker reads the
//! routines, without files, and what the files took does not count into the pause before. At most one worker
//! makes files; those that have become outdated meanwhile are made again after a pause of their own.
//! Rejected: to end the one that makes files at every change, because who changes routines all the time would
//! keep all others without a client.
//!
//! Not for what the workers do (`worker/catalog.rs`), nor for what comes of their records (`routing.rs`).

use std::time::{Duration, Instant};

use pgrx::prelude::*;

use super::courier::Courier;
use crate::guc;
use crate::pg::bgworker::{self, DynamicBackgroundWorker};
use crate::pg::shmem::Shared;
use crate::worker::catalog::{self, Task};

/// Changes in quick succession are read once, after this time. A request for an unknown path does not wait
/// for it.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// After a reading there is a pause of so many times the work that it was, so that whoever changes routines
/// all the time keeps a quarter of a processor busy and not all of it. With ten thousand routines that is
/// about a second. What it waited for (a lock, a processor, room in the ring) is nobody's work: after a
/// `VACUUM FULL` of an hour the next reading would be put off by three. The making of files has the same
/// pause for itself, so it keeps another quarter busy at most.
const PAUSE_FACTOR: u32 = 3;

/// The same while a request waits for the reading: half of a processor. Some may change routines all the time
/// while others ask for paths that do not exist; even together they must not use up a whole processor.
const HURRIED_PAUSE_FACTOR: u32 = 1;

/// This much of these pauses may come later: whoever makes a few URLs one after another, and asks for each,
/// does not wait for the pause after the one before.
const PAUSE_LATER: Duration = Duration::from_secs(1);

/// A worker that made files and was ended, since there was no place for another, leaves a place within this
/// time; until then that other one is asked for again and again, with this pause.
const PLACE_COMES: Duration = Duration::from_secs(2);
const PLACE_PAUSE: Duration = Duration::from_millis(50);

/// A reading that does not say what it worked counts with all of its time, but with no more than this: it
/// failed, and is tried again.
const MAX_UNTOLD: Duration = Duration::from_secs(5);

/// Pause after a reading that failed; doubled each time up to the maximum.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// A worker that was started.
struct Run {
    worker: DynamicBackgroundWorker,
    /// The number of its reading.
    number: u64,
    task: Task,
    started_at: Instant,
    /// It has left, and was seen to have then; its last records may still be in the ring, up to this mark of
    /// the courier's.
    left_at: Option<(u64, Instant)>,
    /// The number of changes that it has read.
    generation: u64,
    /// What it reads does not count: another database is served since it was started.
    is_overtaken: bool,
    /// The files that it makes do not count: a setting that they depend on has changed.
    has_old_files: bool,
}

/// See the head of this file.
pub(crate) struct CatalogReader {
    shared: Shared,
    /// The worker that reads the routines.
    reading: Option<Run>,
    /// A worker that has handed over the routines, and has nothing else to do than to leave.
    leaving: Option<Run>,
    /// The worker that has handed over the routines, and makes files.
    making: Option<Run>,
    /// The last worker was not done when it left.
    is_outdated: bool,
    /// The number of changes that the routes in force contain.
    loaded: Option<u64>,
    /// What the one before worked decides.
    not_before: Instant,
    /// The same while a request waits.
    hurried_not_before: Instant,
    /// When the pauses after all readings are over, those that come later, too.
    pauses_until: Instant,
    back_off: Duration,
    /// A request waits, and needs a reading of at least this number.
    question: Option<(u64, u64)>,
    /// The number of changes that the files contain.
    files: Option<u64>,
    files_not_before: Instant,
    files_back_off: Duration,
    /// Until then a place may come free ([`PLACE_COMES`]).
    place_until: Instant,
}

impl CatalogReader {
    /// Knows nothing yet.
    pub(crate) fn new(shared: Shared) -> Self {
        let now = Instant::now();
        Self {
            shared,
            reading: None,
            leaving: None,
            making: None,
            is_outdated: false,
            loaded: None,
            not_before: now,
            hurried_not_before: now,
            pauses_until: now,
            back_off: FIRST_BACK_OFF,
            question: None,
            files: None,
            files_not_before: now,
            place_until: now,
            files_back_off: FIRST_BACK_OFF,
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
        (self.loaded, self.files) = (None, None);
        self.reading.iter_mut().chain(&mut self.making).for_each(|run| run.is_overtaken = true);
    }

    /// What the files depend on has changed, other than the catalog: they are made again.
    pub(crate) fn outdate_files(&mut self) {
        self.files = None;
        self.reading.iter_mut().chain(&mut self.making).for_each(|run| run.has_old_files = true);
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

    /// Starts a worker when the routines or the files are outdated; looks after those that are running.
    pub(crate) fn tend(&mut self, courier: &mut Courier) {
        // A worker of ours stays known until all that it has pushed was heard of.
        if let Some(run) = self.reading.take_if(|run| run.has_left(courier)) {
            self.failed(&run);
        }
        if let Some(run) = self.making.take_if(|run| run.has_left(courier)) {
            self.files_came(&run);
        }
        self.leaving.take_if(|run| run.has_left(courier));
        if self.is_busy() {
            return;
        }
        let now = Instant::now();
        if self.next_start().is_some_and(|at| at <= now) {
            self.start(now);
        }
    }

    /// A worker reads routines, or is about to leave; one that makes files stands in nobody's way.
    fn is_busy(&self) -> bool {
        self.reading.is_some() || self.leaving.is_some()
    }

    /// When a worker has to be started; `None`: all is up to date, or is being made.
    fn next_start(&self) -> Option<Instant> {
        let generation = self.shared.catalog_generation();
        if self.is_outdated || self.loaded != Some(generation) {
            let hurries = self.question.is_some() && self.back_off == FIRST_BACK_OFF;
            return Some(if hurries { self.hurried_not_before } else { self.not_before });
        }
        self.wants_files(generation).then(|| self.not_before.max(self.files_not_before))
    }

    fn wants_files(&self, generation: u64) -> bool {
        guc::SERVE_CLIENT.get() && self.making.is_none() && self.files != Some(generation)
    }

    fn start(&mut self, now: Instant) {
        self.not_before = now + DEBOUNCE;
        let generation = self.shared.catalog_generation();
        let makes_files = self.wants_files(generation) && self.files_not_before <= now;
        let task = if makes_files { Task::RoutinesAndFiles } else { Task::Routines };
        let number = self.shared.header.last_reading.begin();
        if let Ok(worker) = bgworker::start_catalog_worker(catalog::argument(number, task)) {
            self.reading = Some(Run {
                worker,
                number,
                task,
                started_at: now,
                left_at: None,
                generation,
                is_overtaken: false,
                has_old_files: false,
            });
            self.is_outdated = false;
        } else if let Some(run) = self.making.take() {
            // The routines go first.
            let _ = run.worker.terminate();
            self.place_until = now + PLACE_COMES;
            self.wait_for_place(now);
            self.files_not_before = now + self.files_back_off;
            self.files_back_off = (self.files_back_off * 2).min(MAX_BACK_OFF);
        } else if now < self.place_until {
            self.wait_for_place(now);
        } else {
            self.retry_later(&format!(
                "no background worker is free to read the routines; set max_worker_processes (now {}) to a higher value",
                bgworker::max_worker_processes()
            ));
        }
    }

    fn wait_for_place(&mut self, now: Instant) {
        self.not_before = now + PLACE_PAUSE;
        self.hurried_not_before = self.not_before;
    }

    /// How long the loop may sleep, at most `longest`.
    pub(crate) fn pause(&self, longest: Duration) -> Duration {
        // What a worker pushes wakes the main thread; its leaving may not.
        let is_watched = self.is_busy() || self.making.is_some();
        let longest = if is_watched { longest.min(Duration::from_millis(20)) } else { longest };
        let next = self.next_start().filter(|_| !self.is_busy());
        next.map_or(longest, |at| longest.min(at.saturating_duration_since(Instant::now())))
    }

    /// Whether the routines were ever read.
    pub(crate) fn has_read(&self) -> bool {
        self.loaded.is_some()
    }

    /// The routes of this reading, which contains this many changes, are in force; making them has taken so
    /// long. `false`: it counts for nothing, because it is of the database before, or of the gateway before:
    /// the routines are read again.
    pub(crate) fn loaded(&mut self, number: u64, generation: u64, routing: Duration) -> bool {
        let Some(mut run) = self.reading.take_if(|run| run.number == number) else {
            self.loaded = None;
            return false;
        };
        run.generation = generation;
        let now = Instant::now();
        let told = self.shared.header.last_reading.work_for_routines(number);
        let read = told.unwrap_or_else(|| (now - run.started_at).min(MAX_UNTOLD));
        self.rest(now, read, routing);
        let counts = !run.is_overtaken;
        match run.task {
            Task::Routines => self.leaving = Some(run),
            Task::RoutinesAndFiles => self.making = Some(run),
        }
        if counts {
            (self.loaded, self.back_off) = (Some(generation), FIRST_BACK_OFF);
        } else {
            self.loaded = None;
        }
        counts
    }

    /// The pause after a reading. What the thread that makes routes has waited for a processor is no work.
    fn rest(&mut self, now: Instant, read: Duration, routing: Duration) {
        let work = read + routing.min(read);
        self.not_before = self.not_before.max(now + work * PAUSE_FACTOR);
        // The work itself has taken its own time from the pauses that are still to come.
        self.pauses_until =
            self.pauses_until.max(now.checked_sub(work).unwrap_or(now)) + work * (1 + HURRIED_PAUSE_FACTOR);
        let due = self.pauses_until.saturating_duration_since(now);
        self.hurried_not_before = now + due.saturating_sub(PAUSE_LATER);
    }

    /// A worker has left before it had handed over the routines.
    fn failed(&mut self, run: &Run) {
        let (now, left) = (Instant::now(), run.left_at.map_or(run.started_at, |(_, left)| left));
        self.rest(now, (left - run.started_at).min(MAX_UNTOLD), Duration::ZERO);
        if !run.is_overtaken {
            self.is_outdated = true;
            self.retry_later(FAILED);
        }
    }

    /// A worker has left that had handed over the routines, and made files.
    fn files_came(&mut self, run: &Run) {
        if run.is_overtaken || run.has_old_files {
            return;
        }
        let now = Instant::now();
        if let Some(work) = self.shared.header.last_reading.work_for_files(run.number) {
            self.files = Some(run.generation);
            self.files_back_off = FIRST_BACK_OFF;
            self.files_not_before = now + work * PAUSE_FACTOR;
            return;
        }
        if self.files_back_off == FIRST_BACK_OFF {
            warn(FAILED);
        }
        self.files_not_before = now + self.files_back_off;
        self.files_back_off = (self.files_back_off * 2).min(MAX_BACK_OFF);
    }

    fn retry_later(&mut self, why: &str) {
        if self.back_off == FIRST_BACK_OFF {
            warn(why);
        }
        self.not_before = Instant::now() + self.back_off;
        self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
    }
}

impl Run {
    /// It has left, and nothing is missing: all that it pushed has come.
    fn has_left(&mut self, courier: &mut Courier) -> bool {
        if self.worker.pid().is_ok() || is_starting(&self.worker) {
            return false;
        }
        let (mark, _) = *self.left_at.get_or_insert_with(|| (courier.mark(), Instant::now()));
        courier.has_reached(mark)
    }
}

const FAILED: &str = "the worker that reads the routines left before it was done";

fn warn(why: &str) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!("pg_sse: {why}")
    );
}

fn is_starting(worker: &DynamicBackgroundWorker) -> bool {
    matches!(worker.pid(), Err(bgworker::BackgroundWorkerStatus::NotYetStarted))
}
