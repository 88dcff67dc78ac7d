//! What people are told of a run.
//!
//! Not for the whole of what was recorded: `archive`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::check::Verdict;
use crate::figures::Figures;
use crate::history::{Reason, Recording};
use crate::schedule::Fault;

/// So many violations are told; the first ones are usually enough, and all are in the archive.
const MAX_TOLD: usize = 8;

/// Items of the reader's history that are told around a violation.
const CONTEXT: usize = 4;

/// How a run went. Its `Display` is for people.
#[derive(Debug)]
pub struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Single connections, besides.
    pub(crate) cuts: u64,
    pub(crate) transactions: u64,
    pub(crate) figures: Figures,
    /// Why the run proves nothing.
    pub(crate) failures: Vec<String>,
    /// What is wrong, each with its context.
    pub(crate) violations: Vec<String>,
    /// Where the histories are.
    pub(crate) archive: Option<PathBuf>,
}

impl Report {
    /// Everything was seen or covered by a gap, and enough happened to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.violations.is_empty()
    }
}

/// The violations as texts, each with what its reader saw around it.
pub(crate) fn told(verdict: &Verdict, recording: &Recording) -> Vec<String> {
    let told = |violation: &crate::check::Violation| {
        let reader = &recording.readers[violation.reader];
        let mut text = format!("reader {}: {violation}", reader.name);
        if let Some(item) = violation.item {
            let first = item.saturating_sub(CONTEXT);
            for (number, around) in reader.items.iter().enumerate().skip(first).take(2 * CONTEXT + 1) {
                let mark = if number == item { '>' } else { ' ' };
                text.push_str(&format!("\n    {mark} {around}"));
            }
        }
        text
    };
    verdict.violations.iter().map(told).collect()
}

fn by_reason((reason, count): (&Option<Reason>, &u64)) -> String {
    format!("{} {count}", reason.map_or("several", Reason::as_str))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { attempted, committed, rolled_back, immediate, unanswered, .. } = &self.figures;
        let Figures { seen, covered, opened, resumed, refused, .. } = &self.figures;
        writeln!(f, "seed      {}", self.seed)?;
        let faults: Vec<String> =
            self.faults.iter().map(|(fault, times)| format!("{} {times}", fault.name())).collect();
        writeln!(f, "faults    {}, single connections cut {}", faults.join(", "), self.cuts)?;
        writeln!(
            f,
            "written   {attempted} events in {} transactions: {committed} committed, {rolled_back} rolled back, {immediate} immediate; {unanswered} without an answer",
            self.transactions
        )?;
        writeln!(
            f,
            "streams   {opened} opened, {resumed} of them resumed, {refused} refused for the time being"
        )?;
        writeln!(
            f,
            "readers   {seen} of their events seen ({} %), covered by gaps: {}",
            self.figures.seen_percent(),
            covered.iter().map(by_reason).collect::<Vec<_>>().join(", ")
        )?;
        let gap = |reason: &Reason| {
            format!("{} {}", reason.as_str(), self.figures.gaps.get(reason).copied().unwrap_or(0))
        };
        writeln!(f, "gaps      {}", Reason::ALL.iter().map(gap).collect::<Vec<_>>().join(", "))?;
        for failure in &self.failures {
            writeln!(f, "PROBLEM   {failure}")?;
        }
        for violation in self.violations.iter().take(MAX_TOLD) {
            writeln!(f, "VIOLATION {violation}")?;
        }
        if let Some(archive) = &self.archive {
            writeln!(f, "all of it {}", archive.display())?;
            writeln!(f, "again     cargo xtask ledger --seconds {} --seed {}", self.seconds, self.seed)?;
        }
        match (self.violations.len(), self.failures.len()) {
            (0, 0) => {
                write!(f, "verdict   passed: every event was seen, was not for the reader, or a gap says so")
            }
            (0, _) => write!(f, "verdict   FAILED: the run proves nothing"),
            (count, _) => write!(f, "verdict   FAILED: {count} violations"),
        }
    }
}
