//! `cargo xtask instructions`: how many instructions the hot paths take, beside what is expected of them
//! (instructions/expected.txt).
//!
//! A guard that does not depend on the clock: valgrind's callgrind counts the same on a busy machine as on an
//! idle one. Instructions are not time, and what the kernel does is not among them; but what makes a path
//! longer shows.
//!
//! Not for finding out where they go: callgrind_annotate does that (CONTRIBUTING.md).

mod backend;
mod callgrind;
mod expected;
mod pure;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use cluster::find_program;

use crate::packages;
use expected::{Expected, Verdict};

/// How often each subject is done while it is counted.
const TIMES: u64 = 1_000;

/// What to count.
#[derive(Args)]
pub(crate) struct Options {
    /// Take what is found for what is expected from now on.
    #[arg(long)]
    accept: bool,
    /// Only what needs no server: ring and formats.
    #[arg(long, conflicts_with = "pg_config")]
    pure: bool,
    /// The PostgreSQL whose backends are counted (default: the one found on this machine).
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
}

/// One subject, and how many instructions it took.
struct Found {
    subject: &'static str,
    instructions: f64,
}

/// Counts, prints the table, and compares.
///
/// # Errors
/// Something does not build or run, or a count is another one than expected.
pub(crate) fn run(options: &Options) -> Result<()> {
    if find_program("valgrind").is_none() {
        packages::install(&["valgrind"])?;
    }
    let mut expected = Expected::read()?;
    let mut found = pure::count()?;
    let mut made_with = vec![pure::compiler()?];
    if !options.pure {
        let (server, in_backends) = backend::count(options.pg_config.as_deref())?;
        found.extend(in_backends);
        made_with.push(server);
    }
    let mut failures = Vec::new();
    println!("{:48} {:>10} {:>10} {:>8}", "instructions of", "expected", "found", "");
    for Found { subject, instructions } in &found {
        let (before, verdict) = expected.judge(subject, *instructions);
        let told = before.map_or("none".to_owned(), |before| format!("{before:.1}"));
        let change =
            before.map_or(String::new(), |before| format!("{:+.1} %", (instructions / before - 1.0) * 100.0));
        println!("{subject:48} {told:>10} {instructions:>10.1} {change:>8}{}", verdict.remark());
        if verdict != Verdict::AsExpected {
            failures.push(*subject);
        }
    }
    let others = expected.made_with_others(&made_with);
    if options.accept {
        found.iter().for_each(|found| expected.accept(found.subject, found.instructions));
        return expected.write(&made_with);
    }
    if !others.is_empty() {
        let why = format!("what is expected was counted with {}", others.join(" and "));
        return cluster::tell_skipped("instructions", &why);
    }
    if !failures.is_empty() {
        bail!(
            "not as expected: {}. If it is meant to be so: cargo xtask instructions --accept",
            failures.join(", ")
        );
    }
    Ok(())
}
