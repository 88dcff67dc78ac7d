//! The judge: a pure function of what was recorded.
//!
//! What it proves for every reader: no event comes twice; ids rise, and name the same event for every reader,
//! so that all see one order; events of one writer and one delivery come in the order of raising, and the
//! values of the counter rise (C5.3); each committed event is seen or covered by a gap; no event comes that
//! was rolled back or was for others (`streams`, `owed`). Where an event that no reader saw was in the stream
//! is concluded from its writer's next one, and from what any reader had got before it was raised (`index`).
//!
//! What it proves of streams with a snapshot stands in `follow`.
//!
//! Not for whether enough happened: `figures`.

mod follow;
mod index;
mod owed;
mod streams;

#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::history::Recording;
pub(crate) use follow::check as check_followers;
use index::Index;
pub(crate) use owed::Coverage;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Place in [`Recording::readers`], or in [`crate::tally::Tally::followed`].
    pub(crate) reader: usize,
    /// The item at which it shows.
    pub(crate) item: Option<usize>,
    /// Which event and why.
    pub(crate) why: String,
}

/// The result of the comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    pub(crate) coverage: Coverage,
}

/// Compares what the readers saw with what was committed.
pub(crate) fn check(recording: &Recording) -> Verdict {
    let mut violations = Vec::new();
    let attempts = recording.attempts.iter().map(|attempt| (attempt.key, attempt)).collect();
    let index = Index::new(recording, &mut violations);
    let read: Vec<streams::Read> = recording
        .readers
        .iter()
        .enumerate()
        .map(|(number, _)| streams::follow(recording, number, &attempts, &index, &mut violations))
        .collect();
    let coverage = owed::settle(recording, &index, &read, &mut violations);
    Verdict { violations, coverage }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
