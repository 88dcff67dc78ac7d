//! `pg_sse wal reader`: with `sse.durability = wal`, reads the write-ahead log and hands the events of
//! committed transactions to the gateway, in the order of their commits, as soon as a reader on this server
//! can see what they changed (C10.2). The same on a primary and on a standby; a promotion changes nothing but
//! the timeline.
//!
//! It reads when a gateway has asked for it, from where the window begins. On a primary it also flushes the
//! log for those who did not wait for the disk, and finds where to begin after a restart; it does neither in
//! recovery, where that is for the primary to do.
//!
//! Not for: events once they are in the ring (`gateway/courier.rs`).

mod beginning;
mod marks;
mod messages;
mod pushing;
mod queue;
mod reading;
mod sleep;
mod starts;

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use crate::pg::shmem::{self, Shared};
use crate::pg::wal::fault_note;
use crate::pg::wal::log_end::{self, LogEnd, Role};
use crate::pg::wal::words::Wal;
use crate::pg::{backend, bgworker, latch};
use beginning::Beginning;
use marks::Marks;
use pushing::{NotPushed, Pushing};
use reading::{Progress, Reading};
use sleep::{Nap, Sleep};
use starts::Starts;

struct Reader {
    shared: Shared,
    marks: Marks,
    pushing: Pushing,
    reading: Option<Reading>,
    sleep: Sleep,
}

/// Main function of the worker.
pub(crate) fn run() {
    let Some(shared) = shmem::shared() else { return };
    bgworker::attach_signals();
    bgworker::settle_transactions();
    bgworker::connect(None);
    let directory = backend::data_directory();
    fault_note::install(&directory);
    let wal = shared.wal;
    wal.set_reader_place(latch::my_place());
    bgworker::before_exit(leave_no_trace);
    wal.words.figures.pid.store(backend::my_pid(), Relaxed);
    let reader = Reader {
        shared,
        marks: Marks::new(shared, &directory),
        pushing: Pushing::new(shared),
        reading: None,
        sleep: Sleep::new(),
    };
    bgworker::leave(reader.serve());
}

fn leave_no_trace() {
    if let Some(shared) = shmem::shared() {
        shared.wal.set_reader_place(None);
        shared.wal.words.figures.pid.store(0, Relaxed);
    }
}

impl Reader {
    /// Runs until the worker has to leave; returns its exit code.
    fn serve(mut self) -> i32 {
        loop {
            self.pushing.is_leaving |= bgworker::told_to_leave();
            if self.pushing.is_leaving {
                return i32::from(!bgworker::server_is_stopping());
            }
            bgworker::reload_configuration();
            let Some(end) = self.look() else { return 1 };
            if end.role == Role::Primary {
                self.marks.tend();
            }
            let progress = self.read(&end);
            // Without a gateway nothing is told, and the log is looked at by nobody.
            self.marks.settle(self.reading.as_ref().map_or((end.position, (u64::MAX, 0)), Reading::told_to));
            match progress {
                Progress::Failed => return 1,
                // It is looked at above, and in `read`.
                Progress::Interrupted(NotPushed::Leaving | NotPushed::AskedAnew) => continue,
                Progress::More => bgworker::take_in_interrupts(),
                Progress::UpToDate => self.sleep(&end),
            }
        }
    }

    /// Where the log ends, after what somebody wants to be flushed. `None`: that has failed.
    fn look(&self) -> Option<LogEnd> {
        let end = log_end::flush_wanted(self.shared.wal).ok()?;
        self.shared.wal.words.known_end.store(log_end::known(&end), Relaxed);
        Some(end)
    }

    fn read(&mut self, end: &LogEnd) -> Progress {
        let wanted = self.shared.wal.reading_wanted();
        if wanted == 0 {
            return Progress::UpToDate;
        }
        if self.reading.is_none() || self.pushing.reading != wanted {
            self.pushing.reading = wanted;
            let beginning = beginning(self.shared.wal, wanted, &self.marks.starts);
            let is_anew = matches!(beginning, Beginning::OfWindow(_));
            self.reading = Reading::new(self.shared, end, &beginning);
            if is_anew {
                // Nothing is waited for with what was told before.
                self.shared.wal.set_read_to(0);
                self.shared.wal.set_rest_at(0);
            }
            if let (Some(reading), true) = (&self.reading, is_anew)
                && let Err(why) = reading.announce(&mut self.pushing)
            {
                self.reading = None;
                return Progress::Interrupted(why);
            }
        }
        let Some(reading) = &mut self.reading else { return Progress::UpToDate };
        let progress = reading.step(end, &mut self.marks, &mut self.pushing);
        if reading.has_told {
            self.sleep.told(Instant::now());
        }
        progress
    }

    fn sleep(&mut self, end: &LogEnd) {
        let held = self.reading.as_ref().and_then(Reading::held_since).map(|since| since.elapsed());
        match self.sleep.nap(Instant::now(), end, held) {
            Nap::Deaf(pause) => {
                thread::sleep(pause);
                bgworker::take_in_interrupts();
            }
            Nap::UntilWoken(pause) => bgworker::wait(pause),
        }
    }
}

/// Where to begin. What a reader before this one has told of the same reading is not told again.
fn beginning(wal: Wal, reading: u32, starts: &Starts) -> Beginning<'_> {
    match wal.told(reading) {
        Some(told) => Beginning::Behind {
            told,
            rest_at: wal.rest_at(),
            is_read_back: wal.is_read_back(reading),
            start: starts.for_rest(told),
        },
        None => Beginning::OfWindow(starts),
    }
}
