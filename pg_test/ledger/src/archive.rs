//! Writes everything that was recorded of a failed run as texts into a folder.
//!
//! Not for reading it in again.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;

use crate::Options;
use crate::history::Recording;
use crate::tally::Tally;

/// Writes `violations.txt`, `events.txt` (what writers attempted, and what became of it), `reader-NN.txt`,
/// `follower-NN.txt`, `spans.txt` (what was broken when) and `server.log` into a folder named after the seed,
/// in place of an earlier run's.
pub(crate) fn write(
    options: &Options,
    recording: &Recording,
    tally: &Tally,
    violations: &[String],
    log: &str,
) -> Result<PathBuf> {
    let mut texts = vec![
        ("violations.txt".to_owned(), violations.join("\n")),
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
    for (number, followed) in tally.followed.iter().enumerate() {
        let mut text = String::new();
        for sight in &followed.sights {
            writeln!(text, "{sight}")?;
        }
        texts.push((format!("follower-{number:02}.txt"), text));
    }
    let mut spans = String::new();
    for span in &tally.spans {
        let (from, until) = (span.from as f64 / 1e6, span.until as f64 / 1e6);
        writeln!(spans, "{from:>10.6} s to {until:>10.6} s  {}", span.fault.name())?;
    }
    texts.push(("spans.txt".to_owned(), spans));
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
