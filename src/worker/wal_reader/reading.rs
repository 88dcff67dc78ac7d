//! One reading of the log: from a safe start up to its end, and on from there, told in the order of commits.
//!
//! Events before the position from which everything is complete are not told: some of their neighbours would
//! be missing.
//!
//! Not for: where it begins (`beginning.rs`), and waking, sleeping and marks (`wal_reader.rs`).

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sse_proto::log_record::{self, Assembler, Content, LogRecord, Loss};
use sse_proto::place::{History, Place};
use sse_proto::record::{LogLoss, Record};

use super::beginning::{Begin, Beginning};
use super::marks::Marks;
use super::messages;
use super::pushing::{NotPushed, Pushing};
use super::queue::{Queue, lost};
use crate::guc;
use crate::pg::shmem::Shared;
use crate::pg::wal::layout::Layout;
use crate::pg::wal::log_end::{LogEnd, Role};
use crate::pg::wal::log_reader::{Entry, LogReader, NoRecord, What};
use crate::pg::wal::{fault_note, timelines};
use crate::pg::{backend, clock};

/// How long a step reads before it looks around: the end of the log, its orders, its flushes.
const LOOKS_AROUND_EVERY: Duration = Duration::from_millis(5);

/// How long something that cannot be read is tried again. On a standby a file may be missing for a moment,
/// while a timeline is changed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The directory of the log may have thousands of files.
const LOOK_FOR_OLDEST_EVERY: Duration = Duration::from_secs(5);

/// Memory for events whose commits have not been read, of all transactions together. What is beyond it is
/// lost, and a gap says so.
const ALL_BYTES: usize = 256 << 20;

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// There is more to read.
    More,
    /// Everything is read, and told or held.
    UpToDate,
    /// It was interrupted.
    Interrupted(NotPushed),
    /// Postgres has raised an error: this process cannot go on.
    Failed,
}

/// See the head of this file.
pub(super) struct Reading {
    shared: Shared,
    layout: Layout,
    log: LogReader,
    history: History,
    assembler: Assembler,
    queue: Queue,
    begin: Begin,
    /// Events up to here have been told.
    told: (u64, u32),
    is_caught_up: bool,
    state_is_told: bool,
    trouble_since: Option<Instant>,
    /// When it was looked last which segment is the oldest.
    oldest_at: Option<Instant>,
    /// Positions at which a reader has died.
    deadly: Vec<u64>,
    /// Why something is missing, up to which position, and on which timeline: a gap before what comes next.
    missing: Option<(LogLoss, u64, u32)>,
    /// Events told in this step.
    pub(super) has_told: bool,
}

impl Reading {
    /// `None`: the log cannot be read yet.
    pub(super) fn new(shared: Shared, end: &LogEnd, beginning: &Beginning<'_>) -> Option<Self> {
        let directory = backend::data_directory();
        let history = timelines::read(&directory, end.timeline).ok()?;
        let mut log = LogReader::new(&directory, history.clone())?;
        log.set_end(end.position);
        let begin = Begin::find(beginning, &mut log, end.position)?;
        log.go_to(begin.start);
        let (told, is_caught_up) = match *beginning {
            Beginning::OfWindow(_) => ((0, 0), false),
            Beginning::Behind { told, is_read_back, .. } => (told, is_read_back),
        };
        shared.wal.words.figures.caught_up.store(u32::from(is_caught_up), Relaxed);
        Some(Self {
            shared,
            layout: Layout::of_server(),
            log,
            history,
            assembler: Assembler::new(limits()),
            queue: Queue::new(&shared),
            begin,
            told,
            is_caught_up,
            state_is_told: false,
            trouble_since: None,
            oldest_at: None,
            deadly: fault_note::read(&directory),
            missing: None,
            has_told: false,
        })
    }

    /// Tells that what follows is told anew.
    ///
    /// # Errors
    /// [`NotPushed`].
    pub(super) fn announce(&self, pushing: &mut Pushing) -> Result<(), NotPushed> {
        let history = self.history.clone();
        pushing.record(&Record::LogState { history, begin: Place::default(), caught_up: false })
    }

    /// Reads and tells for some time, up to this end.
    pub(super) fn step(&mut self, end: &LogEnd, marks: &mut Marks, pushing: &mut Pushing) -> Progress {
        self.has_told = false;
        self.log.set_end(end.position);
        if end.timeline != self.history.timeline() {
            match timelines::read(&backend::data_directory(), end.timeline) {
                Ok(history) => self.follow(history),
                // It is being written.
                Err(_) => return Progress::UpToDate,
            }
        }
        self.assembler.set_limits(limits());
        let progress = match self.read_and_tell(end, marks, pushing) {
            Ok(progress) => progress,
            Err(why) => Progress::Interrupted(why),
        };
        pushing.flush();
        self.show(end, progress);
        progress
    }

    /// Up to where everything is told, and where the last of it is; the highest number as long as nobody
    /// knows.
    pub(super) fn told_to(&self) -> (u64, (u64, u32)) {
        (self.shared.wal.read_to(), self.begin.place.map_or((u64::MAX, 0), |begin| begin.max(self.told)))
    }

    /// Since when a commit is held.
    pub(super) fn held_since(&self) -> Option<Instant> {
        self.queue.held_since()
    }

    fn read_and_tell(
        &mut self,
        end: &LogEnd,
        marks: &mut Marks,
        pushing: &mut Pushing,
    ) -> Result<Progress, NotPushed> {
        let until = Instant::now() + LOOKS_AROUND_EVERY;
        loop {
            self.tell_state(pushing)?;
            self.tell(end, marks, pushing)?;
            if self.queue.is_full() {
                self.catch_up(pushing)?;
                return Ok(Progress::UpToDate);
            }
            match self.read(marks, end) {
                Ok(()) => self.trouble_since = None,
                Err(NoRecord::End) => {
                    self.trouble_since = None;
                    self.queue.push_gap(self.missing.take());
                    self.tell(end, marks, pushing)?;
                    self.catch_up(pushing)?;
                    self.begin.look_whether_all_have_ended(self.log.position());
                    return Ok(Progress::UpToDate);
                }
                Err(NoRecord::Raised) => return Ok(Progress::Failed),
                Err(NoRecord::NoFile) => return Ok(self.pass_over(LogLoss::Expired, "its file is missing")),
                Err(NoRecord::Invalid(why)) => return Ok(self.pass_over(LogLoss::Unreadable, &why)),
            }
            if Instant::now() >= until {
                pushing.may_go_on()?;
                return Ok(Progress::More);
            }
        }
    }

    /// Reads one record, or some that do not concern us.
    fn read(&mut self, marks: &mut Marks, end: &LogEnd) -> Result<(), NoRecord> {
        let Entry { what, xid, begin, end: record_end } = self.log.next()?;
        let complete = match what {
            What::Nothing => None,
            What::Commit => {
                let complete = self.assembler.commit(xid, record_end);
                if complete.is_none() && self.begin.may_lack(xid, record_end) {
                    let loss = self.missing.map_or(LogLoss::Expired, |(loss, ..)| loss);
                    self.missing = Some((loss, record_end, self.history.timeline_at(begin)));
                }
                complete
            }
            What::Abort => {
                self.assembler.abort(xid);
                None
            }
            What::Break => {
                self.assembler.forget_all();
                self.begin.all_have_ended();
                None
            }
            What::Message(message) => {
                let Some(payload) = log_record::payload(message) else {
                    if log_record::has_our_prefix(message) {
                        self.shared.wal.words.figures.foreign_total.fetch_add(1, Relaxed);
                    }
                    return Ok(());
                };
                if self.deadly.contains(&begin) {
                    Some(lost(record_end, Loss::NoBeginning))
                } else {
                    let _note = fault_note::at(begin);
                    #[cfg(feature = "faults")]
                    fault_note::provoke_if_asked(payload);
                    match log_record::decode(payload) {
                        Ok(LogRecord::Events(part)) => self.assembler.part(xid, record_end, &part),
                        Ok(LogRecord::Mark { start }) => {
                            if end.role == Role::Standby && self.is_caught_up {
                                marks.read(start, record_end);
                            }
                            // What is held lies before it, and would never be told.
                            if self.queue.first_end().is_none() {
                                let is_new = self.begin.take_mark(start, record_end);
                                self.state_is_told &= !is_new;
                            }
                            None
                        }
                        Err(error) => {
                            messages::unreadable(begin, &error);
                            Some(lost(record_end, Loss::Broken(error)))
                        }
                    }
                }
            }
        };
        if let Some(complete) = complete {
            self.queue.push_gap(self.missing.take());
            self.queue.push(complete, self.history.timeline_at(begin));
        }
        Ok(())
    }

    /// Tells what is not held, and up to where everything is told.
    fn tell(&mut self, end: &LogEnd, marks: &mut Marks, pushing: &mut Pushing) -> Result<(), NotPushed> {
        let (shared, mut first) = (self.shared, true);
        while let Some(position) = self.queue.first_end() {
            self.state_is_told &= !self.begin.come_to(position);
            self.tell_state(pushing)?;
            let Some(held) = self.queue.ready(&shared, end) else { break };
            if !first {
                pushing.may_go_on()?;
            }
            first = false;
            let is_wanted = self.begin.place.is_some_and(|begin| position > begin.0);
            match &held.complete.content {
                Content::Events(events) if is_wanted => {
                    let is_now = self.is_caught_up && end.role == Role::Primary;
                    for (index, event) in events.records() {
                        if index <= held.told || (position, index) <= self.told {
                            continue;
                        }
                        pushing.event(held.place(index), event, is_now)?;
                        held.told = index;
                        self.told = (position, index);
                        shared.wal.set_told(pushing.reading, position, index);
                        shared.wal.words.figures.events_total.fetch_add(1, Relaxed);
                        self.has_told = true;
                        marks.note_events();
                    }
                }
                Content::Lost(_) if is_wanted && (position, u32::MAX) > self.told => {
                    pushing.gap(held.loss, held.place(Place::BEHIND_ALL))?;
                    self.told = (position, Place::BEHIND_ALL);
                    shared.wal.set_told(pushing.reading, position, Place::BEHIND_ALL);
                    if held.loss == LogLoss::Unreadable {
                        shared.wal.words.figures.unreadable_total.fetch_add(1, Relaxed);
                    }
                }
                Content::Events(_) | Content::Lost(_) => {}
            }
            self.queue.pop();
            shared.wal.set_read_to(position);
        }
        let read_to = match self.queue.first_end().or(self.missing.map(|(_, position, _)| position)) {
            Some(held) => held.saturating_sub(1),
            None => {
                if self.assembler.waiting() == 0 && !self.begin.is_in_doubt() {
                    shared.wal.set_rest_at(self.log.position());
                }
                self.layout.behind_header(self.log.position())
            }
        };
        shared.wal.set_read_to(read_to);
        Ok(())
    }

    /// What was there when it began is told, but for what is held. That may be for long, and comes as what is
    /// committed from now on: streams need not wait for it.
    fn catch_up(&mut self, pushing: &mut Pushing) -> Result<(), NotPushed> {
        if !std::mem::replace(&mut self.is_caught_up, true) {
            self.state_is_told = false;
            let held = self.queue.first_end();
            self.begin.come_to(held.unwrap_or(u64::MAX));
            self.begin.settle(held.map_or(self.log.position(), |held| held.saturating_sub(1)));
        }
        self.tell_state(pushing)
    }

    fn follow(&mut self, history: History) {
        self.history = history.clone();
        self.log.set_history(history);
        self.state_is_told = false;
    }

    /// Tells what the log is, as soon as it is known, and whenever it changes.
    fn tell_state(&mut self, pushing: &mut Pushing) -> Result<(), NotPushed> {
        let Some(place @ (lsn, index)) = self.begin.place.filter(|_| !self.state_is_told) else {
            return Ok(());
        };
        let begin = Place::new(self.history.timeline_at(lsn), lsn, index);
        let history = self.history.clone();
        pushing.record(&Record::LogState { history, begin, caught_up: self.is_caught_up })?;
        self.state_is_told = true;
        // A reader that follows on this one goes on after it, also if nothing was told until then.
        self.told = self.told.max(place);
        self.shared.wal.set_told(pushing.reading, self.told.0, self.told.1);
        if self.is_caught_up {
            self.shared.wal.set_read_back(pushing.reading);
        }
        Ok(())
    }

    /// What is here cannot be read. After some patience it goes on after it: at the oldest segment that is
    /// still there, or at the next one.
    fn pass_over(&mut self, loss: LogLoss, why: &str) -> Progress {
        let position = self.log.position();
        let oldest = self.log.oldest(0);
        let is_gone = oldest.is_some_and(|oldest| oldest > self.layout.behind_header(position));
        let since = *self.trouble_since.get_or_insert_with(Instant::now);
        if !is_gone && since.elapsed() < PATIENCE {
            return Progress::UpToDate;
        }
        let next_segment = self.layout.start(self.layout.segment(self.layout.behind_header(position)) + 1);
        let from = if is_gone { oldest } else { self.log.oldest(next_segment) };
        let Some(found) = from.and_then(|from| self.log.find_from(from)) else {
            self.log.go_to(position);
            return Progress::UpToDate;
        };
        // Whoever has begun before may have events in what is passed over, and commit after it.
        if self.begin.begin_in_doubt(found).is_none() {
            self.log.go_to(position);
            return Progress::UpToDate;
        }
        messages::passed_over(position, found, why);
        let loss = if is_gone { LogLoss::Expired } else { loss };
        self.trouble_since = None;
        self.assembler.forget_all();
        self.log.go_to(found);
        self.missing = Some((loss, found, self.history.timeline_at(found)));
        Progress::More
    }

    fn show(&mut self, end: &LogEnd, progress: Progress) {
        let figures = &self.shared.wal.words.figures;
        figures.timeline.store(self.history.timeline(), Relaxed);
        figures.position.store(self.log.position(), Relaxed);
        figures.end.store(end.position, Relaxed);
        figures.begin.store(self.begin.place.map_or(0, |begin| begin.0), Relaxed);
        figures.caught_up.store(u32::from(self.is_caught_up), Relaxed);
        let is_behind = progress != Progress::UpToDate || self.queue.first_end().is_some();
        if !is_behind {
            figures.up_to_date_at.store(clock::now_microseconds(), Relaxed);
        }
        figures.is_behind.store(u32::from(is_behind), Relaxed);
        let now = Instant::now();
        if self.oldest_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_FOR_OLDEST_EVERY) {
            self.oldest_at = Some(now);
            figures.oldest.store(self.log.oldest(0).unwrap_or(0), Relaxed);
        }
    }
}

fn limits() -> log_record::Limits {
    // A transaction of another server's, or of another time's, may have had another limit.
    let body_bytes = guc::MAX_TRANSACTION_SIZE.bytes().max(64 << 20);
    log_record::Limits { body_bytes, all_bytes: ALL_BYTES.max(2 * body_bytes) }
}
