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
use std::thread;

use anyhow::{Result, bail};
use clap::Args;
use cluster::{PgConfig, find_program};

use crate::packages::{self, Purpose};
use expected::{Expected, Verdict};

/// How often each subject is done while it is counted.
const TIMES: u64 = 1_000;

/// What to count.
#[derive(Args)]
pub(crate) struct Options {
    /// Take what is found for what is expected from now on.
    #[arg(long)]
    accept: bool,
    /// Without backends: only what needs no running server.
    #[arg(long, conflicts_with = "library")]
    pure: bool,
    /// Count in backends with this library, one for tests, in place of one that is built with optimisation.
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
    /// The PostgreSQL whose backends are counted (default: the one found on this machine).
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
}

/// One subject, and how many instructions it took.
struct Found {
    subject: String,
    instructions: f64,
    counted_in: Where,
}

/// On what the count depends besides the code and the compiler.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// On nothing.
    Crates,
    /// On the version of the server.
    Backends,
}

/// Counts, prints the table, and compares.
///
/// # Errors
/// Something does not build or run, or a count is another one than expected.
pub(crate) fn run(options: &Options) -> Result<()> {
    if find_program("valgrind").is_none() {
        packages::install(&["valgrind"])?;
    }
    let pg = packages::ensure(options.pg_config.as_deref(), Purpose::BuildAndRun)?;
    let mut expected = Expected::read()?;
    let found = count(options, &pg)?;
    let (compiler, server) = (pure::compiler()?, format!("PostgreSQL {}", pg.major));
    let mut failures = Vec::new();
    let other_compiler = expected.made_with_others(std::slice::from_ref(&compiler));
    let other_server = expected.made_with_others(std::slice::from_ref(&server));
    println!("{:64} {:>10} {:>10} {:>8}", "instructions of", "expected", "found", "");
    for Found { subject, instructions, counted_in } in &found {
        let (before, verdict) = expected.judge(subject, *instructions);
        let told = before.map_or("none".to_owned(), |before| format!("{before:.1}"));
        let change =
            before.map_or(String::new(), |before| format!("{:+.1} %", (instructions / before - 1.0) * 100.0));
        println!("{subject:64} {told:>10} {instructions:>10.1} {change:>8}{}", verdict.remark());
        let is_judged =
            other_compiler.is_empty() && (*counted_in == Where::Crates || other_server.is_empty());
        if verdict != Verdict::AsExpected && is_judged {
            failures.push(subject.as_str());
        }
    }
    if options.accept {
        found.iter().for_each(|found| expected.accept(&found.subject, found.instructions));
        let mut made_with = vec![compiler];
        made_with.extend((!options.pure).then_some(server));
        return expected.write(&made_with);
    }
    if !failures.is_empty() {
        bail!(
            "not as expected: {}. If it is meant to be so: cargo xtask instructions --accept",
            failures.join(", ")
        );
    }
    let others = if options.pure { other_compiler } else { [other_compiler, other_server].concat() };
    if !others.is_empty() {
        let why = format!("what is expected was counted with {}", others.join(" and "));
        return cluster::tell_skipped("instructions", &why);
    }
    Ok(())
}

/// Backends meanwhile, which are built elsewhere or not at all.
fn count(options: &Options, pg: &PgConfig) -> Result<Vec<Found>> {
    thread::scope(|scope| {
        let backends = || backend::count(pg, options.library.as_deref());
        let backends = (!options.pure).then(|| scope.spawn(backends));
        let mut found = pure::count(pg)?;
        if let Some(backends) = backends {
            found.extend(backends.join().unwrap_or_else(|_| bail!("a thread panicked"))?);
        }
        Ok(found)
    })
}
