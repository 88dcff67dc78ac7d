//! Writes everything that was recorded of a failed run as texts into a folder.
//!
//! Not for reading it in again.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;

use crate::Options;
use crate::check::Verdict;
use crate::history::Recording;
use crate::report::told;

/// Writes `violations.txt`, `events.txt` (what writers attempted, and what became of it), `reader-NN.txt` and
/// `server.log` into a folder named after the seed, in place of an earlier run's.
pub(crate) fn write(
    options: &Options,
    recording: &Recording,
    verdict: &Verdict,
    log: &str,
) -> Result<PathBuf> {
    let mut texts = vec![
        ("violations.txt".to_owned(), told(verdict, recording).join("\n")),
        ("events.txt".to_owned(), events(recording)?),
        ("server.log".to_owned(), log.to_owned()),
    ];
    for (number, reader) in recording.readers.iter().enumerate() {
        let mut text = format!("reader {}\n", reader.name);
        for item in &reader.items {
            writeln!(text, "{item}")?;
        }
        texts.push((format!("reader-{number:02}.txt"), text));
    }
    cluster::archive(&options.folder, options.seed, texts.iter().map(|(name, text)| (name.as_str(), text)))
}

fn events(recording: &Recording) -> Result<String> {
    let mut text = String::new();
    for attempt in &recording.attempts {
        let is_committed = recording.committed.contains(&(attempt.key.writer, attempt.key.number));
        let ledger = if is_committed { "in the ledger" } else { "not in the ledger" };
        let answer = if attempt.answered { "answered" } else { "no answer" };
        let began = attempt.began as f64 / 1e6;
        let (key, kind, audience) = (attempt.key, attempt.kind, attempt.audience);
        writeln!(text, "{began:>10.6} s  {key}, audience {audience}, {kind}: {ledger}, {answer}")?;
    }
    Ok(text)
}
