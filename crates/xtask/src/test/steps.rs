//! What each step of `cargo xtask test` does.
//!
//! Not for the order of the steps and for counting: mod.rs.

use std::env;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::TRANSPORT;
use cluster::{Extension, PgConfig, Profile, cargo, workspace_root};

use super::dependencies;
use super::fuzz;
use super::rules;
use super::tally::{self, Tally};
use super::transports;
use crate::bench;
use crate::build::{self, target_folder};
use crate::packages::{self, Purpose};
use crate::{docs, progress, tools};

/// Packages that are workspaces of their own.
const APART: [(&str, &str); 3] = [
    ("the fuzzers", "fuzz/Cargo.toml"),
    ("the bench", bench::MANIFEST),
    ("rust_interop", "pg_test/rust_interop/Cargo.toml"),
];

/// The result of a step, and what to show when not everything passed.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) output: String,
    /// What was skipped, and why.
    pub(super) skipped: Vec<String>,
    /// How each failed test begins to say why.
    pub(super) reasons: Vec<String>,
}

impl Outcome {
    pub(super) fn none() -> Self {
        Self { tally: Tally::default(), output: String::new(), skipped: Vec::new(), reasons: Vec::new() }
    }

    fn add(&mut self, other: Self) {
        self.tally.add(other.tally);
        self.output.push_str(&other.output);
        self.skipped.extend(other.skipped);
        self.reasons.extend(other.reasons);
    }

    pub(super) fn passed() -> Self {
        Self { tally: Tally::one(true), ..Self::none() }
    }
}

/// What the steps share. Later steps need what earlier ones found.
pub(super) struct Run {
    pub(super) pg_config: Option<PathBuf>,
    /// The version of `--pg` that this run is about.
    pub(super) major: Option<u32>,
    pub(super) quick: bool,
    pub(super) fuzz_seconds: u64,
    pub(super) pg: Option<PgConfig>,
    pub(super) extension: Option<Extension>,
}

/// Everything is formatted as rustfmt does it, also what is apart from the workspace.
pub(super) fn keep_format() -> Result<()> {
    let mut format = cargo();
    format.args(["fmt", "--all", "--", "--check", "--color=never"]);
    progress::run("format", format)?.ok("cargo fmt --check")?;
    for (name, manifest) in APART {
        let mut apart = cargo();
        apart.args(["fmt", "--manifest-path"]).arg(workspace_root().join(manifest));
        apart.args(["--", "--check", "--color=never"]);
        progress::run(&format!("format of {name}"), apart)?.ok("cargo fmt --check")?;
    }
    Ok(())
}

/// Every violation of the rules is in the error, one line each.
pub(super) fn keep_rules() -> Result<()> {
    let mut violations = rules::violations(workspace_root())?;
    violations.extend(dependencies::violations(workspace_root())?);
    violations.extend(docs::violations(workspace_root())?);
    ensure!(violations.is_empty(), "{}", violations.join("\n"));
    Ok(())
}

impl Run {
    pub(super) fn packages(&mut self) -> Result<Outcome> {
        let purpose = if self.fuzz_seconds > 0 { Purpose::Fuzz } else { Purpose::Test };
        self.pg = Some(packages::ensure(self.pg_config.as_deref(), purpose)?);
        Ok(Outcome::passed())
    }

    pub(super) fn format(&mut self) -> Result<Outcome> {
        keep_format()?;
        Ok(Outcome::passed())
    }

    pub(super) fn rules(&mut self) -> Result<Outcome> {
        keep_rules()?;
        Ok(Outcome::passed())
    }

    /// The documentation as a site, with its links.
    pub(super) fn site(&mut self) -> Result<Outcome> {
        docs::build()?;
        Ok(Outcome::passed())
    }

    pub(super) fn clippy(&mut self) -> Result<Outcome> {
        let mut crates = self.cargo()?;
        crates.args([
            "clippy",
            "--workspace",
            "--exclude",
            "pg_sse",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        progress::run("clippy", crates)?.ok("clippy")?;
        lint_extension(self.pg()?)?;
        if !self.quick {
            let mut bench = bench::command("clippy");
            bench.args(["--all-targets", "--", "-D", "warnings"]);
            progress::run("clippy of the bench", bench)?.ok("clippy of the bench")?;
        }
        Ok(Outcome::passed())
    }

    /// Everything that needs no server with pg_sse; the tests of the harness need a server.
    pub(super) fn crates(&mut self) -> Result<Outcome> {
        let mut tests = self.cargo()?;
        tests.args(["test", "--no-fail-fast", "--workspace", "--exclude", "pg_sse", "--exclude", "pg-test"]);
        let mut outcome = self.tests("crates", tests)?;
        // Of the extension, the part that needs no symbol of a server.
        let mut courier = self.cargo()?;
        courier.args(["test", "--package", "pg_sse", "--test", "courier"]);
        courier.args(Extension::feature_arguments(self.pg()?, Profile::Test));
        outcome.add(self.tests("courier", courier)?);
        Ok(outcome)
    }

    /// Instructions of the hot paths, without a release build, which nothing else here needs: what of them
    /// runs in backends is counted with the library of the tests. With another compiler nothing is judged.
    pub(super) fn instructions(&mut self) -> Result<Outcome> {
        let library = &self.extension.as_ref().context("the extension was not built")?.library;
        let mut instructions = Command::new(env::current_exe().context("where are we?")?);
        instructions.arg("instructions").arg("--library").arg(library);
        instructions.arg("--pg-config").arg(&self.pg()?.path);
        let folded = progress::run("instructions", instructions)?.ok("cargo xtask instructions")?;
        let mut outcome = Outcome::passed();
        for (what, count) in tally::skipped(&folded.lines) {
            outcome.tally = Tally { skipped: count, ..Tally::default() };
            outcome.skipped.push(what.to_owned());
        }
        Ok(outcome)
    }

    /// The ring under loom, in a target folder of its own, because the flag rebuilds everything.
    pub(super) fn loom(&mut self) -> Result<Outcome> {
        let mut tests = self.cargo()?;
        tests.args(["test", "--release", "--package", "sse-ring", "--test", "loom"]);
        tests.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", target_folder().join("loom"));
        self.tests("loom", tests)
    }

    /// The ring's tests in its real memory, which loom replaces with a model, under AddressSanitizer: no
    /// access is out of bounds. The flag is unstable and needs a named target, so that build scripts are
    /// built without it.
    pub(super) fn sanitizer(&mut self) -> Result<Outcome> {
        let version = progress::run("rustc", rustc_version())?.ok("rustc -vV")?;
        let host = version.stdout.iter().find_map(|line| line.strip_prefix("host: ")).context("no host")?;
        let mut tests = self.cargo()?;
        tests.args(["test", "--package", "sse-ring", "--tests", "--target", host]);
        tests.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
        tests.env("CARGO_TARGET_DIR", target_folder().join("sanitizer"));
        self.tests("ring under AddressSanitizer", tests)
    }

    pub(super) fn build(&mut self) -> Result<Outcome> {
        self.extension = Some(build::extension(self.pg()?, Profile::Test)?);
        Ok(Outcome::passed())
    }

    pub(super) fn black_box(&mut self) -> Result<Outcome> {
        let mut tests = self.black_box_of(&["pg-test"])?;
        if self.quick {
            // The tests mostly wait. The full run has one test for each core, so that none is slow for want
            // of a processor.
            tests.env("RUST_TEST_THREADS", "5");
        }
        self.tests("black box", tests)
    }

    /// Tests of these packages with the extension that was built.
    pub(super) fn black_box_of(&self, packages: &[&str]) -> Result<Command> {
        let library = &self.extension.as_ref().context("the extension was not built")?.library;
        let mut tests = self.cargo()?;
        tests.args(["test", "--no-fail-fast"]).env("PG_SSE_LIBRARY", library);
        tests.args(packages.iter().flat_map(|name| ["--package", *name]));
        Ok(tests)
    }

    /// The part of the black box that is about streams, once more over TLS. Slow tests are left out: they are
    /// slow by what they do to Postgres.
    pub(super) fn over_tls(&mut self) -> Result<Outcome> {
        let mut tests = self.black_box_of(&["pg-test"])?;
        tests.args(transports::OVER_TLS.iter().flat_map(|file| ["--test", *file]));
        tests.env(TRANSPORT, "tls").env("RUST_TEST_THREADS", "5");
        self.tests_without_slow("streams over TLS", tests)
    }

    pub(super) fn demo(&mut self) -> Result<Outcome> {
        let mut outcome = Outcome::none();
        for (name, arguments) in [("demo", &["demo"][..]), ("demo cluster", &["demo", "cluster"])] {
            let mut demo = Command::new(env::current_exe().context("where are we?")?);
            demo.args(arguments).args(["--check", "--pg-config"]).arg(&self.pg()?.path);
            progress::run(name, demo)?.ok(&format!("cargo xtask {name} --check"))?;
            outcome.add(Outcome::passed());
        }
        Ok(outcome)
    }

    /// A minute in which everything breaks, each time with another seed; a quick run is just long enough for
    /// most things to break once.
    pub(super) fn ledger(&mut self) -> Result<Outcome> {
        let seconds = if self.quick { "20" } else { "60" };
        self.ledger_with(&["--seconds", seconds])
    }

    /// The same on a tree of servers: half of the time with a synchronous standby, half with an asynchronous
    /// one.
    pub(super) fn ledger_over_tree(&mut self) -> Result<Outcome> {
        let seconds = if self.quick { "20" } else { "60" };
        self.ledger_with(&["--tree", "--seconds", seconds])
    }

    fn ledger_with(&mut self, arguments: &[&str]) -> Result<Outcome> {
        let mut ledger = Command::new(env::current_exe().context("where are we?")?);
        ledger.arg("ledger").args(arguments).arg("--pg-config").arg(&self.pg()?.path);
        progress::run("ledger", ledger)?.ok("cargo xtask ledger")?;
        Ok(Outcome::passed())
    }

    /// Half a minute of siege, each time with another seed; a siege of ten minutes is a command of its own.
    pub(super) fn siege(&mut self) -> Result<Outcome> {
        let mut siege = Command::new(env::current_exe().context("where are we?")?);
        siege.args(["siege", "--seconds", "30", "--pg-config"]).arg(&self.pg()?.path);
        progress::run("siege", siege)?.ok("cargo xtask siege")?;
        Ok(Outcome::passed())
    }

    /// A minute of soak, so that it keeps working; five minutes are a command of their own.
    pub(super) fn soak(&mut self) -> Result<Outcome> {
        let mut soak = Command::new(env::current_exe().context("where are we?")?);
        soak.args(["soak", "--seconds", "60", "--pg-config"]).arg(&self.pg()?.path);
        progress::run("soak", soak)?.ok("cargo xtask soak")?;
        Ok(Outcome::passed())
    }

    /// The bench, so that it keeps working: its unit tests, and all of its parts for a moment.
    pub(super) fn bench(&mut self) -> Result<Outcome> {
        let library = &self.extension.as_ref().context("the extension was not built")?.library;
        let mut outcome = self.tests("bench", bench::command("test"))?;
        let smoke = bench::smoke(self.pg()?, library);
        progress::run("bench, for a moment", smoke)?.ok("the bench, for a moment")?;
        outcome.add(Outcome::passed());
        Ok(outcome)
    }

    /// Runs every target of fuzz/ for the given time, starting from its seeds, as many at once as there are
    /// processors. libFuzzer needs unstable compiler flags, which a stable compiler takes with
    /// RUSTC_BOOTSTRAP.
    pub(super) fn fuzz(&mut self) -> Result<Outcome> {
        let cargo_fuzz = tools::installed("cargo-fuzz", &[])?;
        let command = |arguments: &[String]| {
            let mut fuzz = Command::new(&cargo_fuzz);
            fuzz.arg("fuzz").args(arguments).current_dir(workspace_root()).env("RUSTC_BOOTSTRAP", "1");
            fuzz
        };
        let targets = progress::run("fuzz", command(&["list".to_owned()]))?.ok("cargo fuzz list")?.stdout;
        if targets.is_empty() {
            bail!("there is nothing to fuzz");
        }
        progress::run("building the fuzzers", command(&["build".to_owned()]))?.ok("cargo fuzz build")?;
        let queue = Mutex::new(targets.iter());
        let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let fuzz_in_turn = || -> Result<Outcome> {
            let mut outcome = Outcome::none();
            while let Some(target) = take() {
                let arguments = fuzz::arguments(workspace_root(), target, self.fuzz_seconds)?;
                let fuzzed = progress::run(&format!("fuzz {target}"), command(&arguments))?;
                outcome.tally.add(Tally::one(fuzzed.status.success()));
                if !fuzzed.status.success() {
                    outcome.output.push_str(&fuzzed.text());
                }
            }
            Ok(outcome)
        };
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..processors).map(|_| scope.spawn(fuzz_in_turn)).collect();
            let joined = threads.into_iter().map(ScopedJoinHandle::join);
            joined.map(|outcome| outcome.unwrap_or_else(|_| bail!("a thread panicked"))).collect()
        });
        let mut all = Outcome::none();
        for outcome in outcomes {
            all.add(outcome?);
        }
        Ok(all)
    }

    /// Runs tests and counts them. Slow ones, marked `#[ignore = "slow"]`, run unless the run is quick; what
    /// is run by hand alone, a measurement or a picture, is ignored and has a name that begins with
    /// `by_hand_`.
    pub(super) fn tests(&self, title: &str, mut tests: Command) -> Result<Outcome> {
        if !self.quick {
            tests.args(["--", "--include-ignored", "--skip", "by_hand_"]);
        }
        self.tests_without_slow(title, tests)
    }

    fn tests_without_slow(&self, title: &str, mut tests: Command) -> Result<Outcome> {
        // A failure is named by its message. Whoever needs a backtrace can run that test again.
        tests.env("RUST_BACKTRACE", "0");
        let folded = progress::run(title, tests)?;
        let tally = Tally::of_runner(&folded.lines, folded.status.success());
        let output: Vec<&str> =
            folded.lines.iter().map(String::as_str).filter(|line| tally::is_told(line)).collect();
        let skipped = tally::skipped(&folded.lines);
        let skipped = skipped.iter().map(|(what, count)| format!("{what} ({count})")).collect();
        let slowest = tally::slowest(&folded.lines);
        let slowest: Vec<String> =
            slowest.iter().map(|(file, seconds)| format!("{file} {seconds:.0} s")).collect();
        println!("      slowest: {}", slowest.join(", "));
        let reasons = tally::reasons(&folded.lines);
        Ok(Outcome { tally, output: output.join("\n"), skipped, reasons })
    }

    pub(super) fn pg(&self) -> Result<&PgConfig> {
        self.pg.as_ref().context("there is no PostgreSQL")
    }

    fn cargo(&self) -> Result<Command> {
        let mut command = cargo();
        command.env("PGRX_PG_CONFIG_PATH", &self.pg()?.path).env("PG_CONFIG", &self.pg()?.path);
        Ok(command)
    }
}

fn rustc_version() -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.arg("-vV");
    command
}

/// Clippy of the extension as it is for one PostgreSQL, of which the headers suffice. Versions do not disturb
/// each other in one target folder: each is another feature, and pgrx looks at its headers anew only where
/// the feature is the same.
pub(super) fn lint_extension(pg: &PgConfig) -> Result<()> {
    let mut clippy = cargo();
    clippy
        .args(["clippy", "--package", "pg_sse", "--all-targets"])
        .args(Extension::feature_arguments(pg, Profile::Test));
    clippy.args(["--", "-D", "warnings"]).env("PGRX_PG_CONFIG_PATH", &pg.path);
    let what = format!("clippy of the extension for PostgreSQL {}", pg.major);
    progress::run(&what, clippy)?.ok(&what)?;
    Ok(())
}
