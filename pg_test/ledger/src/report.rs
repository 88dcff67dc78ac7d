//! What people are told of a run.
//!
//! Not for the whole of what was recorded: `archive`.

use std::collections::BTreeMap;
use std::fmt;

use cluster::Conclusion;

use crate::check::{Verdict, Violation};
use crate::figures::Figures;
use crate::history::{Reason, Recording};
use crate::schedule::Fault;
use crate::tally::Tally;

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
    /// What streams with a snapshot saw.
    pub(crate) tally: Tally,
    pub(crate) conclusion: Conclusion,
}

impl Report {
    /// Everything was seen or covered by a gap, and enough happened to say so.
    pub fn passed(&self) -> bool {
        self.conclusion.passed()
    }
}

/// The violations as texts, each with what its reader saw around it.
pub(crate) fn told(verdict: &Verdict, recording: &Recording) -> Vec<String> {
    let told = |violation: &Violation| {
        let reader = &recording.readers[violation.reader];
        format!("reader {}: {violation}{}", reader.name, around(violation, &reader.items))
    };
    verdict.violations.iter().map(told).collect()
}

/// The same of followers.
pub(crate) fn told_of_followers(violations: &[Violation], tally: &Tally) -> Vec<String> {
    let told = |violation: &Violation| {
        let number = violation.reader;
        format!("follower {number}: {violation}{}", around(violation, &tally.followed[number].sights))
    };
    violations.iter().map(told).collect()
}

fn around(violation: &Violation, items: &[impl fmt::Display]) -> String {
    let mut text = String::new();
    if let Some(item) = violation.item {
        let first = item.saturating_sub(CONTEXT);
        for (number, around) in items.iter().enumerate().skip(first).take(2 * CONTEXT + 1) {
            let mark = if number == item { '>' } else { ' ' };
            text.push_str(&format!("\n    {mark} {around}"));
        }
    }
    text
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
        writeln!(
            f,
            "followers {} changes behind {} snapshots, {} times none",
            self.tally.changes(),
            self.tally.snapshots(),
            self.tally.lacks()
        )?;
        let again = format!("cargo xtask ledger --seconds {} --seed {}", self.seconds, self.seed);
        self.conclusion.tell(f, &again, "every event was seen, was not for the reader, or a gap says so")
    }
}
