//! `cargo xtask test`: everything that must pass, step by step, from a machine that has only a Rust toolchain.
//!
//! A step that fails does not keep the others from running; one that lacks what an earlier step should have made fails
//! by itself. The last line is exactly `N passed, N failed`; what was skipped stands above it.
//!
//! Not for what takes longer than people wait: PostgreSQL's own regression suite is a command of its own.

mod circles;
mod files;
mod fuzz;
mod imports;
mod rules;
mod steps;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

pub(crate) use steps::target_folder;
use steps::{Outcome, Run};
use tally::Tally;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Without siege, soak, loom, AddressSanitizer, fuzzing and slow tests.
    #[arg(long)]
    quick: bool,
    /// For how long each fuzzer runs; 0 leaves them out.
    #[arg(long, value_name = "N", default_value_t = 30, conflicts_with = "quick")]
    fuzz_seconds: u64,
    /// The PostgreSQL to test with (default: the one found on this machine).
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
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
const STEPS: [Step; 14] = [
    Step { name: "system packages", run: Run::packages, runs_when: When::Always },
    Step { name: "format", run: Run::format, runs_when: When::Always },
    Step { name: "rules of the house", run: Run::rules, runs_when: When::Always },
    Step { name: "build of the extension", run: Run::build, runs_when: When::Always },
    Step { name: "clippy", run: Run::clippy, runs_when: When::Always },
    Step { name: "tests of the crates", run: Run::crates, runs_when: When::Always },
    Step { name: "black-box tests", run: Run::black_box, runs_when: When::Always },
    Step { name: "demo --check", run: Run::demo, runs_when: When::Always },
    Step { name: "ledger", run: Run::ledger, runs_when: When::Always },
    Step { name: "siege", run: Run::siege, runs_when: When::NotQuick },
    Step { name: "soak", run: Run::soak, runs_when: When::NotQuick },
    Step { name: "loom", run: Run::loom, runs_when: When::NotQuick },
    Step { name: "ring, AddressSanitizer", run: Run::sanitizer, runs_when: When::NotQuick },
    Step { name: "fuzz", run: Run::fuzz, runs_when: When::Fuzzing },
];

/// Runs the steps and prints the summary; the exit code says whether everything passed.
pub(crate) fn run(options: &Options) -> ExitCode {
    let fuzz_seconds = if options.quick { 0 } else { options.fuzz_seconds };
    let pg_config = options.pg_config.clone();
    let mut run = Run { pg_config, quick: options.quick, fuzz_seconds, pg: None, extension: None };
    let is_due = |step: &&Step| match step.runs_when {
        When::Always => true,
        When::NotQuick => !options.quick,
        When::Fuzzing => fuzz_seconds > 0,
    };
    let steps: Vec<&Step> = STEPS.iter().filter(is_due).collect();
    let (mut total, mut lines) = (Tally::default(), Vec::new());
    for (number, step) in steps.iter().enumerate() {
        println!("[{}/{}] {}", number + 1, steps.len(), step.name);
        let started = Instant::now();
        let outcome = (step.run)(&mut run).unwrap_or_else(|error| Outcome {
            tally: Tally::one(false),
            output: format!("{error:#}"),
            skipped: Vec::new(),
        });
        let line = line_of(step.name, &outcome, started.elapsed().as_secs_f64());
        if outcome.tally.failed > 0 {
            println!("{}", outcome.output);
        }
        println!("      {line}");
        total.add(outcome.tally);
        lines.push(line);
        lines.extend(outcome.skipped.into_iter().map(|what| format!("        skipped: {what}")));
    }
    println!("\nSummary\n  {}", lines.join("\n  "));
    if total.skipped > 0 {
        println!("{} skipped, and in no count below", total.skipped);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn line_of(name: &str, outcome: &Outcome, seconds: f64) -> String {
    let verdict = if outcome.tally.failed == 0 { "ok" } else { "FAILED" };
    let Tally { passed, failed, skipped } = outcome.tally;
    let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    format!("{verdict:<7} {name:<24} {seconds:>7.1} s   {passed} passed, {failed} failed{skipped}")
}
