//! `cargo xtask test`: everything that must pass, step by step, from a machine that has only a Rust
//! toolchain.
//!
//! If a step fails, the others still run; a step that lacks what an earlier one should have made fails by
//! itself. The last line is exactly `N passed, N failed`; what was skipped is listed above it.
//!
//! With `--pg` it is what depends on the version of PostgreSQL, one version after the other (versions.rs).
//!
//! Not for what takes longer than people wait: PostgreSQL's own regression suite is a command of its own.

mod circles;
mod dependencies;
mod files;
mod functions;
mod fuzz;
mod imports;
mod node;
mod paths;
mod rules;
mod steps;
mod tally;
mod transports;
mod versions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use steps::{Outcome, Run};
use tally::Tally;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Without instructions, streams over TLS, siege, soak, bench, loom, AddressSanitizer, fuzzing and slow
    /// tests.
    #[arg(long)]
    quick: bool,
    /// For how long each fuzzer runs; 0 leaves them out.
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "quick")]
    fuzz_seconds: u64,
    /// The PostgreSQL to test with (default: the one found on this machine).
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
    /// Test with these major versions, one after the other: get each, build, clippy, the black box; nothing
    /// else.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["pg_config", "fuzz_seconds"])]
    #[arg(value_parser = clap::value_parser!(u32).range(15..=18))]
    pg: Vec<u32>,
}

struct Step {
    name: &'static str,
    run: fn(&mut Run) -> Result<Outcome>,
    runs_when: When,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    NotQuick,
    Fuzzing,
}

/// The order: what everything needs, then what is quick to fail, then what takes long.
const STEPS: [Step; 21] = [
    Step { name: "system packages", run: Run::packages, runs_when: When::Always },
    Step { name: "format", run: Run::format, runs_when: When::Always },
    Step { name: "rules of the house", run: Run::rules, runs_when: When::Always },
    Step { name: "documentation", run: Run::site, runs_when: When::Always },
    Step { name: "build of the extension", run: Run::build, runs_when: When::Always },
    Step { name: "clippy", run: Run::clippy, runs_when: When::Always },
    Step { name: "other versions, clippy", run: Run::other_versions, runs_when: When::NotQuick },
    Step { name: "tests of the crates", run: Run::crates, runs_when: When::Always },
    Step { name: "instructions", run: Run::instructions, runs_when: When::NotQuick },
    Step { name: "packages of npm", run: Run::node, runs_when: When::Always },
    Step { name: "black-box tests", run: Run::black_box, runs_when: When::Always },
    Step { name: "streams over TLS", run: Run::over_tls, runs_when: When::NotQuick },
    Step { name: "demo --check", run: Run::demo, runs_when: When::Always },
    Step { name: "ledger", run: Run::ledger, runs_when: When::Always },
    Step { name: "ledger over a tree", run: Run::ledger_over_tree, runs_when: When::Always },
    Step { name: "siege", run: Run::siege, runs_when: When::NotQuick },
    Step { name: "soak", run: Run::soak, runs_when: When::NotQuick },
    Step { name: "bench", run: Run::bench, runs_when: When::NotQuick },
    Step { name: "loom", run: Run::loom, runs_when: When::NotQuick },
    Step { name: "ring, AddressSanitizer", run: Run::sanitizer, runs_when: When::NotQuick },
    Step { name: "fuzz", run: Run::fuzz, runs_when: When::Fuzzing },
];

/// What is done for each version of `--pg`; without a server, no more.
const STEPS_OF_A_VERSION: [Step; 5] = [
    Step { name: "server", run: Run::server, runs_when: When::Always },
    Step { name: "build of the extension", run: Run::build, runs_when: When::Always },
    Step { name: "clippy of the extension", run: Run::lint, runs_when: When::Always },
    Step { name: "black-box tests", run: Run::black_box_of_version, runs_when: When::Always },
    Step { name: "ledger over a tree", run: Run::ledger_over_tree, runs_when: When::Always },
];

/// Runs the steps and prints the summary; the exit code says whether everything passed.
pub(crate) fn run(options: &Options) -> ExitCode {
    let fuzz_seconds = if options.quick { 0 } else { options.fuzz_seconds };
    let pg_config = options.pg_config.clone();
    let new = |major| Run {
        pg_config: pg_config.clone(),
        major,
        quick: options.quick,
        fuzz_seconds,
        pg: None,
        extension: None,
    };
    let is_due = |step: &&Step| match step.runs_when {
        When::Always => true,
        When::NotQuick => !options.quick,
        When::Fuzzing => fuzz_seconds > 0,
    };
    let mut summary = Summary::default();
    if options.pg.is_empty() {
        let mut run = new(None);
        let steps: Vec<&Step> = STEPS.iter().filter(is_due).collect();
        for (number, step) in steps.iter().enumerate() {
            println!("[{}/{}] {}", number + 1, steps.len(), step.name);
            summary.take(&mut run, step);
        }
    }
    for major in &options.pg {
        let (mut run, before) = (new(Some(*major)), summary.total);
        let heading = summary.lines.len();
        for step in &STEPS_OF_A_VERSION {
            println!("[PostgreSQL {major}] {}", step.name);
            summary.take(&mut run, step);
            if run.pg.is_none() {
                break;
            }
        }
        let version = run.pg.map_or_else(|| format!("PostgreSQL {major}"), |pg| pg.version);
        summary.lines.insert(heading, format!("{version}: {}", told(summary.total.since(before))));
    }
    summary.print();
    if summary.total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is quick to fail, alone.
pub(crate) fn rules() -> Result<()> {
    steps::keep_format()?;
    steps::keep_rules()
}

/// What the steps so far came to.
#[derive(Default)]
struct Summary {
    total: Tally,
    lines: Vec<String>,
    reasons: Vec<String>,
}

impl Summary {
    /// Runs a step and takes it in.
    fn take(&mut self, run: &mut Run, step: &Step) {
        let started = Instant::now();
        let outcome = (step.run)(run).unwrap_or_else(|error| Outcome {
            tally: Tally::one(false),
            output: format!("{error:#}"),
            reasons: tally::end_of(step.name, &format!("{error:#}")),
            ..Outcome::none()
        });
        let line = line_of(step.name, &outcome, started.elapsed().as_secs_f64());
        if outcome.tally.failed > 0 {
            println!("{}", outcome.output);
        }
        println!("      {line}");
        self.total.add(outcome.tally);
        self.lines.push(line);
        self.reasons.extend(outcome.reasons);
        self.lines.extend(outcome.skipped.into_iter().map(|what| format!("        skipped: {what}")));
    }

    fn print(&self) {
        if !self.reasons.is_empty() {
            println!("\nFailed\n  {}", self.reasons.join("\n  "));
        }
        println!("\nSummary\n  {}", self.lines.join("\n  "));
        if self.total.skipped > 0 {
            println!("{} skipped, and in no count below", self.total.skipped);
        }
        println!("{} passed, {} failed", self.total.passed, self.total.failed);
    }
}

fn line_of(name: &str, outcome: &Outcome, seconds: f64) -> String {
    let verdict = if outcome.tally.failed == 0 { "ok" } else { "FAILED" };
    format!("{verdict:<7} {name:<24} {seconds:>7.1} s   {}", told(outcome.tally))
}

fn told(tally: Tally) -> String {
    let Tally { passed, failed, skipped } = tally;
    let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    format!("{passed} passed, {failed} failed{skipped}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn versions(arguments: &[&str]) -> Option<Vec<u32>> {
        let command = Command::try_parse_from(["test"].iter().chain(arguments));
        command.ok().map(|command| command.options.pg)
    }

    #[test]
    fn versions_are_listed_and_only_supported_ones() {
        assert_eq!(versions(&[]), Some(Vec::new()));
        assert_eq!(versions(&["--pg", "15,16,17,18"]), Some(vec![15, 16, 17, 18]));
        assert_eq!(versions(&["--quick", "--pg=18"]), Some(vec![18]));
        for refused in [&["--pg", "14"][..], &["--pg", "19"], &["--pg", "16", "--pg-config", "/p"]] {
            assert_eq!(versions(refused), None, "{refused:?}");
        }
    }
}
