//! Finds what is missing: every event that was committed, or was certainly raised, must be seen by each
//! reader it was for, unless a gap covers it or the reader was not listening yet.
//!
//! An event that some reader saw has a place in the stream, and a reader that has everything around that
//! place must have it. An event that no reader saw was dropped for all, or was lost with its epoch. It
//! belongs to the epoch of its writer's next event if its writer's last event does, or anything that a reader
//! got before it was raised. Then every reader that has the whole stretch must have been told of a loss
//! before the next event came (C3.6), by a gap that is not older than the event. Such a gap may come before
//! the writer's last event: what was in the ring when it overflowed comes after the gap.
//!
//! Not for what came and should not have: `streams`.

use std::collections::BTreeMap;

use super::Violation;
use super::index::Index;
use super::streams::{Read, Span, Told};
use crate::history::{Attempt, Delivery, Position, Reason, Recording};
use crate::plan::MARKS;

/// Pairs of an event and a reader it was for; events that were raised in bulk to fill something are not
/// counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    pub(crate) seen: u64,
    /// Covered by a gap of its reader; `None` where it is not certain by which one.
    pub(crate) covered: BTreeMap<Option<Reason>, u64>,
}

/// What became of one event for one reader.
enum Fate {
    Covered(Option<Reason>),
    /// How that is known.
    Lost(String),
}

pub(super) fn settle(
    recording: &Recording,
    index: &Index,
    read: &[Read],
    violations: &mut Vec<Violation>,
) -> Coverage {
    let mut coverage = Coverage::default();
    for attempt in &recording.attempts {
        let is_due = match attempt.key.delivery {
            Delivery::Commit => recording.committed.contains(&(attempt.key.writer, attempt.key.number)),
            Delivery::Immediate => attempt.answered,
        };
        for (reader, history) in recording.readers.iter().enumerate() {
            if !history.listener.is_meant(attempt.audience) {
                continue;
            }
            if read[reader].seen.contains(&attempt.key) {
                coverage.seen += u64::from(!attempt.is_bulk);
                continue;
            }
            if !is_due {
                continue;
            }
            let was_listening = read[reader].since.is_some_and(|since| since < attempt.began);
            match fate(attempt, index, &read[reader]) {
                Fate::Covered(reason) => {
                    let count = coverage.covered.entry(reason).or_default();
                    *count += u64::from(was_listening && !attempt.is_bulk);
                }
                Fate::Lost(why) => {
                    violations.push(Violation {
                        reader,
                        item: history.items.iter().rposition(|item| item.at < attempt.began),
                        why: format!("{} was lost silently ({}): {why}", attempt.key, attempt.kind),
                    });
                }
            }
        }
    }
    coverage
}

fn fate(attempt: &Attempt, index: &Index, read: &Read) -> Fate {
    let has_all = |span: &Span, from: u64, to: Position| {
        span.epoch == to.epoch && span.from <= from && to.sequence <= span.to
    };
    let jump = |beyond: Position| {
        let is_beyond = |told: &&Told| !told.reason.is_in_place() && told.at >= beyond;
        Fate::Covered(read.gaps.iter().find(is_beyond).map(|told| told.reason))
    };
    if let Some(at) = index.position(attempt.key) {
        if read.spans.iter().any(|span| span.holds(at)) {
            return Fate::Lost(format!("others saw it at {at}, and this reader has all around it"));
        }
        if MARKS.contains(&attempt.audience) {
            return Fate::Lost("it is the last one: the reader has not caught up".to_owned());
        }
        return jump(at);
    }
    let Some((next, behind)) = index.behind(attempt.key) else {
        return Fate::Lost("nobody saw it nor anything behind it of that writer".to_owned());
    };
    let before = index.before(attempt.key).filter(|before| before.epoch == behind.epoch);
    let before = before.map(|before| before.sequence).max(index.received_before(behind.epoch, attempt.began));
    let Some(before) = before else { return Fate::Covered(Some(Reason::Restarted)) };
    if !read.spans.iter().any(|span| has_all(span, before, behind)) {
        return jump(Position { sequence: before, ..behind });
    }
    let tells_of_it = |told: &&Told| {
        let is_in_time = told.at.epoch == behind.epoch && told.at.sequence < behind.sequence;
        let is_of_it = match told.reason {
            Reason::TooLarge => attempt.too_large && told.at.sequence > before,
            _ => told.time >= attempt.began,
        };
        is_in_time && is_of_it
    };
    if let Some(told) = read.gaps.iter().find(tells_of_it) {
        return Fate::Covered(Some(told.reason));
    }
    Fate::Lost(format!(
        "nobody saw it, the reader has all up to {next} at {behind}, and no gap came before that"
    ))
}
