//! What people are told of a run over a tree, and what is kept of one that failed.
//!
//! Not for judging: `verdict`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use cluster::Conclusion;

use super::verdict::Count;
use super::{Figures, Replication, Run};
use crate::Options;
use crate::history::Reason;

/// The least part of all lines that readers must have got.
const MIN_SEEN_PERCENT: u64 = 60;

/// The least number of committed events in a second.
const MIN_EVENTS_PER_SECOND: u64 = 10;

/// How a run went. Its `Display` is for people.
#[derive(Debug)]
pub struct TreeReport {
    seed: u64,
    seconds: u64,
    replication: Replication,
    figures: Figures,
    readers: u64,
    count: Count,
    moves: u64,
    refused: u64,
    conclusion: Conclusion,
}

impl TreeReport {
    /// Nothing is wrong, and enough happened to say so.
    pub fn passed(&self) -> bool {
        self.conclusion.passed()
    }

    fn seen_percent(&self) -> u64 {
        let covered: u64 = self.count.covered.values().sum();
        self.count.lines * 100 / (self.count.lines + covered).max(1)
    }

    /// Why the run proves too little, if it does.
    fn too_little(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut least = |what: &str, count: u64, least: u64| {
            if count < least {
                found.push(format!("only {count} {what}, at least {least} are needed"));
            }
        };
        least("events committed", self.figures.committed, self.seconds * MIN_EVENTS_PER_SECOND);
        least("moves of readers", self.moves, self.seconds);
        least("percent of all lines were seen", self.seen_percent(), MIN_SEEN_PERCENT);
        let has = |reason| self.count.gaps.get(&reason).copied().unwrap_or(0);
        least("gaps (expired) where log was removed", has(Reason::Expired), 1);
        if self.replication == Replication::Asynchronous {
            least("gaps (rewound)", has(Reason::Rewound), 1);
            least("lines that were taken back", self.count.rewound, 1);
        }
        found
    }
}

/// Puts the report together, and writes down what there is of a run that failed.
pub(super) fn conclude(
    options: &Options,
    replication: Replication,
    run: Run<'_>,
    ended: Result<()>,
) -> Result<TreeReport> {
    let mut count = Count::default();
    let (mut moves, mut refused) = (0, 0);
    for reading in &run.readings {
        let one = &reading.judge.count;
        count.lines += one.lines;
        count.rewound += one.rewound;
        for (all, of_one) in [(&mut count.gaps, &one.gaps), (&mut count.covered, &one.covered)] {
            of_one.iter().for_each(|(reason, number)| *all.entry(*reason).or_default() += number);
        }
        moves += reading.notes.moves.load(Relaxed);
        refused += reading.notes.refused.load(Relaxed);
    }
    let mut texts = vec![("violations.txt".to_owned(), run.violations.join("\n"))];
    for (number, node) in run.tree.nodes.iter().enumerate() {
        texts.push((format!("server-{number}.log"), node.cluster.log().unwrap_or_default()));
    }
    for (number, reading) in run.readings.iter().enumerate() {
        texts.push((format!("reader-{number:02}.txt"), reading.judge.recent_sights()));
    }
    let failures = ended.err().map(|error| format!("{error:#}")).into_iter().collect();
    let conclusion = Conclusion { failures, violations: run.violations, archive: None };
    let (seed, seconds, readers) = (options.seed, options.seconds, run.readings.len() as u64);
    let figures = run.figures;
    let mut report =
        TreeReport { seed, seconds, replication, figures, readers, count, moves, refused, conclusion };
    if report.passed() {
        report.conclusion.failures = report.too_little();
    }
    if !report.passed() {
        let texts = texts.iter().map(|(name, text)| (name.as_str(), text));
        report.conclusion.archive = Some(cluster::archive(&options.folder, options.seed, texts)?);
    }
    Ok(report)
}

fn by_reason(counts: &BTreeMap<Reason, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let told = counts.iter().map(|(reason, count)| format!("{} {count}", reason.as_str()));
    told.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for TreeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { rounds, failovers, faults, transactions, attempted, committed, unanswered, lines } =
            &self.figures;
        writeln!(f, "seed      {}, {} standby", self.seed, self.replication)?;
        let faults: Vec<String> = faults.iter().map(|(fault, times)| format!("{fault} {times}")).collect();
        writeln!(f, "faults    {failovers} failovers in {rounds} rounds; {}", faults.join(", "))?;
        writeln!(
            f,
            "written   {attempted} events in {transactions} transactions: {committed} of them committed; {unanswered} without an answer"
        )?;
        writeln!(f, "servers   {lines} lines of all streams, the same on all three")?;
        writeln!(
            f,
            "readers   {} saw {} lines ({} %) over {} moves, {} refused",
            self.readers,
            self.count.lines,
            self.seen_percent(),
            self.moves,
            self.refused
        )?;
        writeln!(
            f,
            "gaps      {}; not seen behind them: {}; seen and taken back: {}",
            by_reason(&self.count.gaps),
            by_reason(&self.count.covered),
            self.count.rewound
        )?;
        let again = format!(
            "cargo xtask ledger --tree {} --seconds {} --seed {}",
            self.replication, self.seconds, self.seed
        );
        self.conclusion.tell(
            f,
            &again,
            "on every server the same, each line once, or a gap with the right reason",
        )
    }
}
