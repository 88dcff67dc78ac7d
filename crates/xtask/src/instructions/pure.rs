//! What is counted without a server: ignored tests of the crates, built with optimisation, each of which does
//! its subject [`TIMES`] times within a function `counted`.
//!
//! Not for what a backend does (`backend.rs`).

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use cluster::cargo;

use super::{Found, TIMES, callgrind};
use crate::progress;

/// callgrind's pattern for the function within which it counts.
const COUNTED: &str = "*counts::counted*";

/// Tests of one test program.
struct Program {
    /// What cargo is told to build.
    arguments: &'static [&'static str],
    /// In cargo's message about it: package and target.
    package: &'static str,
    target: &'static str,
    /// Subject, and name of the test.
    subjects: &'static [(&'static str, &'static str)],
}

const PROGRAMS: [Program; 2] = [
    Program {
        arguments: &["--package=sse-proto", "--test=counts"],
        package: "proto",
        target: "counts",
        subjects: &[
            ("record of an event, encoded", "by_hand_record"),
            ("frames of a call, encoded and decoded", "by_hand_frames_of_a_call"),
        ],
    },
    Program {
        arguments: &["--package=sse-ring", "--test=counts"],
        package: "ring",
        target: "counts",
        subjects: &[("ring: a push", "by_hand_push"), ("ring: a record taken out", "by_hand_take")],
    },
];

/// Builds and counts.
///
/// # Errors
/// It does not build, or a test fails.
pub(super) fn count() -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for program in &PROGRAMS {
        found.extend(program.count()?);
    }
    Ok(found)
}

/// The compiler's version.
///
/// # Errors
/// There is none.
pub(super) fn compiler() -> Result<String> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("--version");
    let version = progress::run("rustc", rustc)?.ok("rustc --version")?;
    version.stdout.first().cloned().context("rustc says no version")
}

impl Program {
    fn count(&self) -> Result<Vec<Found>> {
        let mut build = cargo();
        build.args(["test", "--release", "--no-run", "--message-format=json-render-diagnostics"]);
        build.args(self.arguments);
        let what = format!("building {} with optimisation", self.package);
        let built = progress::run(&what, build)?.ok(&what)?;
        let program = built.stdout.iter().find_map(|line| self.executable_in(line));
        let program = program.with_context(|| format!("cargo named no program of {}", self.package))?;
        let count = |&(subject, test): &(&'static str, &str)| {
            let arguments = ["--exact", test, "--ignored", "--test-threads=1"];
            let counted = callgrind::run(subject, COUNTED, &program, &arguments)?;
            Ok(Found { subject, instructions: counted as f64 / TIMES as f64 })
        };
        self.subjects.iter().map(count).collect()
    }

    fn executable_in(&self, line: &str) -> Option<PathBuf> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["reason"] == "compiler-artifact"
            && message["profile"]["test"] == true
            && message["target"]["name"] == self.target;
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    }
}
