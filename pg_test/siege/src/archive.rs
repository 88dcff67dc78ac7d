//! Writes everything that was recorded of a failed run as texts into a folder.
//!
//! Not for reading it in again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delays::Pair;
use crate::report::Report;
use crate::sequence::Item;
use crate::watch::Findings;

/// Writes `report.txt` with all violations, `delays.csv`, `memory.csv`, `subscriber.txt` and `server.log`
/// into a folder named after the seed, in place of an earlier run's.
pub(crate) fn write(
    folder: &Path,
    report: &Report,
    pairs: &[Pair],
    items: &[Item],
    findings: &Findings,
) -> Result<PathBuf> {
    let mut all = format!("{report}\n\n");
    for violation in &report.conclusion.violations {
        writeln!(all, "{violation}")?;
    }
    for (name, tally) in &report.attackers {
        let (refusal, failure) = (&tally.last_refusal, &tally.last_failure);
        writeln!(all, "{name}: refused last: {refusal}; failed last: {failure}")?;
    }
    let mut delays = "number,sent_us,event_us,control_us\n".to_owned();
    let told = |delay: Option<u64>| delay.map_or_else(String::new, |delay| delay.to_string());
    for Pair { number, sent, event, control } in pairs {
        writeln!(delays, "{number},{sent},{},{}", told(*event), told(*control))?;
    }
    let mut memory = "at_us,bytes\n".to_owned();
    for (at, bytes) in &findings.memory {
        writeln!(memory, "{at},{bytes}")?;
    }
    let mut seen = String::new();
    for item in items {
        writeln!(seen, "{item:?}")?;
    }
    let texts = [
        ("report.txt", all.into_bytes()),
        ("delays.csv", delays.into_bytes()),
        ("memory.csv", memory.into_bytes()),
        ("subscriber.txt", seen.into_bytes()),
        ("server.log", findings.log.clone()),
    ];
    cluster::archive(folder, report.seed, texts)
}
