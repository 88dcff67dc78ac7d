//! The judge of a tree: a pure function of what was committed, what all servers tell alike, and what each
//! reader saw.
//!
//! What it proves of a channel: each event that committed and is meant for it is told once, those of a writer
//! in their order, and nothing else is. Of a reader: each line of its channel comes once and in its order,
//! under the same id and with the same text wherever it comes from, or a gap with the right reason is in its
//! place. Of what was acknowledged: it has committed, as far as the replication promises it.
//!
//! Not for reading what servers tell: `told`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::Replication;
use super::line::{Came, Line, Place, What};
use super::reader::Sight;
use crate::history::{Attempt, Delivery, Key, Reason};
use crate::plan::Listener;
use crate::writer::LAZY;

/// Sights that are told before one that is wrong.
const CONTEXT: usize = 8;

/// What is known of a round, besides what was told.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) attempts: Vec<Attempt>,
    /// The rows of the ledger table.
    pub(super) committed: BTreeSet<(u16, u32)>,
    /// When a primary was last seen to die.
    pub(super) last_death: u64,
}

/// What was acknowledged, and is not there. Without a synchronous standby a primary that dies may take it
/// along.
pub(super) fn lost_acknowledged(round: &Round, replication: Replication) -> Vec<String> {
    let is_kept = |attempt: &&Attempt| {
        let ends_well =
            !attempt.kind.contains("rolled back") && attempt.kind != "failed" && attempt.kind != LAZY;
        let lasts = replication == Replication::Synchronous || attempt.began > round.last_death;
        attempt.key.delivery == Delivery::Commit
            && attempt.answered
            && ends_well
            && lasts
            && !round.committed.contains(&(attempt.key.writer, attempt.key.number))
    };
    let lost = round.attempts.iter().filter(is_kept);
    lost.map(|attempt| format!("{} was acknowledged ({}) and is lost", attempt.key, attempt.kind)).collect()
}

/// What is wrong with what all servers tell of a channel in a round.
///
/// Long because it is one list of promises.
pub(super) fn of_channel(listener: &Listener, lines: &[Line], round: &Round) -> Vec<String> {
    let mut wrong = Vec::new();
    let attempts: HashMap<Key, &Attempt> =
        round.attempts.iter().map(|attempt| (attempt.key, attempt)).collect();
    let mut told = HashSet::new();
    let mut numbers: HashMap<(u16, Delivery), u32> = HashMap::new();
    let mut last: Option<&Line> = None;
    let mut counted = 0;
    let is_committed = |key: Key| round.committed.contains(&(key.writer, key.number));
    for line in lines {
        if let Some(before) = last.replace(line).filter(|before| before.at >= line.at) {
            wrong.push(format!("{line} comes behind {before}: ids must rise"));
        }
        let What::Event { key, audience, counter } = &line.what else {
            if let What::Malformed(text) = &line.what {
                wrong.push(format!("malformed: {text}"));
            }
            continue;
        };
        if !told.insert(*key) {
            wrong.push(format!("{line} is told twice"));
        }
        let before = numbers.insert((key.writer, key.delivery), key.number).unwrap_or(0);
        if before > key.number {
            wrong.push(format!("{line} comes behind event {before} of that writer"));
        }
        if let Some(counter) = counter
            && std::mem::replace(&mut counted, *counter) >= *counter
        {
            wrong.push(format!("{line} brings a counter that does not rise"));
        }
        match attempts.get(key) {
            None => wrong.push(format!("{line} was never raised")),
            Some(attempt) if attempt.audience != *audience || !listener.is_meant(*audience) => {
                wrong.push(format!("{line} was not for it"));
            }
            Some(attempt) if has_row(attempt) && !is_committed(*key) => {
                wrong.push(format!("{line} was rolled back ({})", attempt.kind));
            }
            Some(_) => {}
        }
    }
    for attempt in round.attempts.iter().filter(|attempt| listener.is_meant(attempt.audience)) {
        let is_due = if has_row(attempt) {
            is_committed(attempt.key)
        } else {
            // Not waited for: a primary that dies may take it along.
            attempt.answered && attempt.began > round.last_death
        };
        if is_due && !attempt.too_large && !told.contains(&attempt.key) {
            wrong.push(format!("{} ({}) was raised and is told by nobody", attempt.key, attempt.kind));
        }
    }
    wrong
}

/// Whether a row of the ledger says what became of it.
fn has_row(attempt: &Attempt) -> bool {
    attempt.key.delivery == Delivery::Commit && attempt.kind != LAZY
}

/// What is known of the tree's log.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The timelines that have ended, each with its last position.
    pub(super) ended: Vec<(u32, u64)>,
    /// Up to which position each server has lost its log.
    pub(super) cuts: Vec<Option<u64>>,
}

impl Past {
    /// Whether it was told on a timeline after the end that it has here: it never was.
    fn is_rewound(&self, place: Place) -> bool {
        self.ended.iter().any(|(timeline, end)| *timeline == place.timeline && place.lsn > *end)
    }

    /// Up to where a server may have lost its log. Behind a proxy it may be any.
    fn cut(&self, door: usize) -> Option<u64> {
        self.cuts.get(door).copied().unwrap_or_else(|| self.cuts.iter().copied().flatten().max())
    }
}

/// How often what came.
#[derive(Clone, Debug, Default)]
pub(super) struct Count {
    pub(super) lines: u64,
    pub(super) gaps: BTreeMap<Reason, u64>,
    /// Not seen, by the reason of the gap.
    pub(super) covered: BTreeMap<Reason, u64>,
    /// Seen, and taken back.
    pub(super) rewound: u64,
}

/// All lines of a channel that some reader has still to get, and those after.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: VecDeque<Line>,
    /// Lines that were here before the first one.
    forgotten: usize,
}

impl Log {
    pub(super) fn add(&mut self, lines: Vec<Line>) {
        self.lines.extend(lines);
    }

    /// Forgets what is before this place, which all have.
    pub(super) fn forget_before(&mut self, place: usize) {
        let count = place.saturating_sub(self.forgotten).min(self.lines.len());
        self.lines.drain(..count);
        self.forgotten += count;
    }

    pub(super) fn end(&self) -> usize {
        self.forgotten + self.lines.len()
    }

    fn first_behind(&self, at: Place) -> usize {
        self.forgotten + self.lines.partition_point(|line| line.at <= at)
    }

    fn get(&self, place: usize) -> Option<&Line> {
        self.lines.get(place.checked_sub(self.forgotten)?)
    }

    /// Where this line is; `Err(true)`: before all of them.
    fn find(&self, line: &Line) -> Result<usize, bool> {
        match self.lines.binary_search_by(|known| known.at.cmp(&line.at)) {
            Ok(number) => Ok(self.forgotten + number),
            Err(number) => Err(number == 0 && self.forgotten > 0),
        }
    }
}

/// Follows one reader through its channel's log.
pub(super) struct Judge {
    replication: Replication,
    /// What is to come.
    pub(super) next: usize,
    /// What the last gap was, if no line came after it, and up to where lines may be missing.
    gap: Option<(Reason, Place)>,
    /// The last line that was seen, if no gap came after it.
    last: Option<Place>,
    /// Lines in a row that never were.
    never_was: u64,
    pub(super) count: Count,
    recent: VecDeque<Sight>,
}

impl Judge {
    pub(super) fn new(replication: Replication) -> Self {
        let (count, recent) = (Count::default(), VecDeque::new());
        Self { replication, next: 0, gap: None, last: None, never_was: 0, count, recent }
    }

    /// How many lines it has still to get; none if a gap has told it that they are missing.
    pub(super) fn lines_left(&self, log: &Log) -> usize {
        let told = self.gap.map_or(0, |(_, at)| log.first_behind(at));
        log.end() - self.next.max(told)
    }

    /// # Errors
    /// What is wrong, and what came before it.
    pub(super) fn judge(&mut self, log: &Log, past: &Past, sights: Vec<Sight>) -> Result<(), String> {
        for sight in sights {
            let wrong = match &sight.came {
                Came::Gap { at, reason, .. } => self.gap(*at, *reason, &sight, past),
                Came::Line(line) => self.line(line, log, past),
            };
            self.recent.push_back(sight);
            if let Err(why) = wrong {
                return Err(format!("{why}\n{}", self.recent_sights()));
            }
            while self.recent.len() > CONTEXT {
                self.recent.pop_front();
            }
        }
        Ok(())
    }

    /// The last things that came, one a line.
    pub(super) fn recent_sights(&self) -> String {
        let asked = |sight: &Sight| sight.asked.map_or("an unknown id".to_owned(), |at| at.to_string());
        let told =
            |sight: &Sight| format!("    door {}, behind {}: {}", sight.door, asked(sight), sight.came);
        self.recent.iter().map(told).collect::<Vec<_>>().join("\n")
    }

    fn gap(&mut self, at: Place, reason: Option<Reason>, sight: &Sight, past: &Past) -> Result<(), String> {
        let is_asynchronous = self.replication == Replication::Asynchronous;
        // What was seen on the way is what the gap is told for.
        let seen = self.last.take().or(sight.asked);
        let is_right = match (reason, seen) {
            (Some(Reason::Rewound), Some(seen)) => is_asynchronous && past.is_rewound(seen),
            (Some(Reason::Expired), Some(seen)) => past.cut(sight.door).is_some_and(|cut| seen.lsn < cut),
            _ => false,
        };
        let Some(reason) = reason.filter(|_| is_right) else {
            return Err("a gap that nothing explains".to_owned());
        };
        *self.count.gaps.entry(reason).or_default() += 1;
        self.gap = Some((reason, at));
        if reason == Reason::Rewound {
            self.never_was = 0;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line, log: &Log, past: &Past) -> Result<(), String> {
        self.last = Some(line.at);
        let place = match log.find(line) {
            Ok(place) => place,
            Err(true) => return Err("twice, or too late".to_owned()),
            Err(false) => {
                let is_asynchronous = self.replication == Replication::Asynchronous;
                if !is_asynchronous || !past.is_rewound(line.at) {
                    return Err("no server has this line".to_owned());
                }
                self.never_was += 1;
                self.count.rewound += 1;
                return Ok(());
            }
        };
        if self.never_was > 0 {
            return Err("it goes on behind what never was, and no gap says so".to_owned());
        }
        if log.get(place) != Some(line) {
            return Err("another event of this id".to_owned());
        }
        if place < self.next {
            return Err("twice, or too late".to_owned());
        }
        let missing = (place - self.next) as u64;
        if missing > 0 {
            let first = log.get(self.next).map_or_else(String::new, ToString::to_string);
            let Some((reason, until)) = self.gap else {
                return Err(format!("{missing} lines are lost silently, the first is {first}"));
            };
            if log.get(place - 1).is_some_and(|line| line.at > until) {
                return Err(format!(
                    "{missing} lines are lost, more than the gap is for; the first is {first}"
                ));
            }
            *self.count.covered.entry(reason).or_default() += missing;
        }
        self.gap = None;
        self.count.lines += 1;
        self.next = place + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
