//! Answers of the gateway that have no place in fixed shared memory: a backend raises a number there and
//! wakes the gateway; the gateway writes the answer into a file of `pg_stat_tmp` and answers with the number.
//! (Other extensions keep their statistics in that folder, too.)
//!
//! Not for what is asked: `subscribers.rs`, `histograms.rs`.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use pgrx::prelude::*;

use crate::pg::backend;
use crate::pg::shmem::{Questions, Shared};

/// How long a backend waits for the gateway.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// One kind of answer.
pub(crate) struct AnswerFile {
    /// The file's name in `pg_stat_tmp`.
    pub name: &'static str,
    /// What it is, for messages.
    pub what: &'static str,
}

impl AnswerFile {
    /// The gateway's side: the last question, if it has not been answered.
    pub(crate) fn question(numbers: &Questions) -> Option<u64> {
        let asked = numbers.asked.load(Acquire);
        (asked != numbers.answered.load(Relaxed)).then_some(asked)
    }

    /// The gateway's side: answers all questions up to this one.
    pub(crate) fn answer(&self, numbers: &Questions, question: u64, text: &str) {
        if let Err(error) = self.write(text) {
            log!("pg_sse gateway: cannot write the {}: {error}", self.what);
            // Without the file the question is answered with an empty list. An old file would be answered
            // with what is no more.
            let _ = fs::remove_file(self.path());
        }
        numbers.answered.store(question, Release);
    }

    /// A backend's side: asks, waits, and returns the answer: a JSON array.
    pub(crate) fn ask(&self, numbers: &Questions, shared: &Shared) -> String {
        let mine = numbers.asked.fetch_add(1, Release) + 1;
        shared.wake_gateway();
        let deadline = backend::Deadline::after(MAX_WAIT);
        while numbers.answered.load(Acquire) < mine {
            if deadline.has_passed() {
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("could not get the {} from the gateway", self.what),
                    "It may be restarting; sse.stat_gateway shows its state."
                );
            }
            backend::pause();
            pgrx::check_for_interrupts!();
        }
        fs::read_to_string(self.path()).unwrap_or_else(|_| "[]".to_owned())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let unfinished = self.path().with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&unfinished)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        fs::rename(unfinished, self.path())
    }

    fn path(&self) -> PathBuf {
        backend::data_directory().join("pg_stat_tmp").join(self.name)
    }
}
