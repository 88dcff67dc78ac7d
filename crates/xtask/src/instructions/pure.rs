//! What is counted without a server: ignored tests of the crates, each of which does its subject [`TIMES`]
//! times within a function `counted`.
//!
//! The crate that is counted is optimised. What it stands on is as in all other tests, and so it is built
//! already where these have run: a release build of the gateway's dependencies would take longer than all of
//! the counting.
//!
//! Not for what a backend does (`backend.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, Result, bail};
use cluster::{Extension, PgConfig, Profile, cargo};

use super::{Found, TIMES, Where, callgrind};
use crate::progress;

/// callgrind's pattern for the function within which it counts.
const COUNTED: &str = "*counts::counted*";

/// How a crate is built that is counted, besides its level of optimisation. In one piece: so what is inlined
/// does not depend on into which pieces the compiler happens to divide it.
const OPTIMISED: [&str; 3] = ["codegen-units=1", "debug-assertions=false", "overflow-checks=false"];

/// What cargo builds at once.
struct Build {
    what: &'static str,
    /// As in the step "tests of the crates", so that what is not counted has the same features, and need not
    /// be built anew.
    arguments: &'static [&'static str],
    /// Whether it is for one PostgreSQL.
    is_extension: bool,
    optimised: &'static [&'static str],
    /// 3 as in a release, or less where compiling would take longer than people wait.
    level: u8,
    programs: &'static [Program],
}

/// Tests of one program.
struct Program {
    /// Its first file.
    source: &'static str,
    /// Subject, and name of the test.
    subjects: &'static [(&'static str, &'static str)],
}

const BUILDS: [Build; 3] = [
    Build {
        what: "ring and formats",
        arguments: &["--workspace", "--exclude=pg_sse", "--exclude=pg-test", "--test=counts"],
        is_extension: false,
        optimised: &["sse-proto", "sse-ring"],
        level: 3,
        programs: &[
            Program {
                source: "crates/proto/tests/counts.rs",
                subjects: &[
                    ("record of an event, encoded", "by_hand_record"),
                    ("block of an event, for the wire", "by_hand_block"),
                    ("frames of a call, encoded and decoded", "by_hand_frames_of_a_call"),
                ],
            },
            Program {
                source: "crates/ring/tests/counts.rs",
                subjects: &[("ring: a push", "by_hand_push"), ("ring: a record taken out", "by_hand_take")],
            },
        ],
    },
    Build {
        what: "the courier",
        arguments: &["--package=pg_sse", "--test=courier"],
        is_extension: true,
        optimised: &["pg_sse", "sse-ring"],
        level: 3,
        programs: &[Program {
            source: "src/worker/gateway/courier/tests/main.rs",
            subjects: &[
                (
                    "courier: an event sent at once",
                    "worker::gateway::courier::counts::by_hand_event_sent_at_once",
                ),
                (
                    "courier: an event of a commit",
                    "worker::gateway::courier::counts::by_hand_event_of_a_commit",
                ),
                (
                    "courier: one of a hundred events",
                    "worker::gateway::courier::counts::by_hand_one_of_a_hundred_events",
                ),
            ],
        }],
    },
    Build {
        what: "the gateway",
        arguments: &["--workspace", "--exclude=pg_sse", "--exclude=pg-test", "--lib"],
        is_extension: false,
        optimised: &["sse-gateway"],
        level: 1,
        programs: &[Program {
            source: "crates/gateway/src/lib.rs",
            subjects: &[
                ("stream log: append", "stream::slab::tests::counts::by_hand_append"),
                (
                    "a visit that gets an event",
                    "stream::slab::tests::counts::by_hand_visit_that_gets_an_event",
                ),
                ("a visit that gets nothing", "stream::slab::tests::counts::by_hand_visit_that_gets_nothing"),
                (
                    "an event for one of 100 streams",
                    "stream::slab::tests::counts::by_hand_event_for_one_of_a_hundred",
                ),
                (
                    "a round of one event, one stream",
                    "stream::slab::tests::counts::by_hand_round_of_one_stream",
                ),
            ],
        }],
    },
];

/// Builds and counts all of it, with the headers of this server.
pub(super) fn count(pg: &PgConfig) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for build in &BUILDS {
        found.extend(build.count(pg)?);
    }
    Ok(found)
}

/// The compiler's version.
pub(super) fn compiler() -> Result<String> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("--version");
    let version = progress::run("rustc", rustc)?.ok("rustc --version")?;
    version.stdout.first().cloned().context("rustc says no version")
}

impl Build {
    fn count(&self, pg: &PgConfig) -> Result<Vec<Found>> {
        let title = format!("building {} with optimisation", self.what);
        let built = progress::run(&title, self.command(pg))?.ok(&title)?;
        let mut tests = Vec::new();
        for program in self.programs {
            let path = built.stdout.iter().find_map(|line| program.executable_in(line));
            let path = path.with_context(|| format!("cargo named no program of {}", program.source))?;
            tests.extend(program.subjects.iter().map(|subject| (path.clone(), subject)));
        }
        // All at once: another one at the same time does not change what is counted.
        thread::scope(|scope| {
            let spawn = |(program, (subject, test)): (PathBuf, &'static (&'static str, &'static str))| {
                scope.spawn(move || count_one(&program, subject, test))
            };
            let threads: Vec<_> = tests.into_iter().map(spawn).collect();
            let counts = threads.into_iter().map(ScopedJoinHandle::join);
            counts.map(|counted| counted.unwrap_or_else(|_| bail!("a thread panicked"))).collect()
        })
    }

    fn command(&self, pg: &PgConfig) -> Command {
        let mut build = cargo();
        build.args(["test", "--no-run", "--message-format=json-render-diagnostics"]).args(self.arguments);
        if self.is_extension {
            build.args(Extension::feature_arguments(pg, Profile::Test));
        }
        for name in self.optimised {
            let level = format!("opt-level={}", self.level);
            for setting in OPTIMISED.iter().copied().chain([level.as_str()]) {
                build.arg("--config").arg(format!("profile.dev.package.{name}.{setting}"));
            }
        }
        build.env("PGRX_PG_CONFIG_PATH", &pg.path).env("PG_CONFIG", &pg.path);
        // An incremental build divides a crate into pieces whatever is said of codegen-units.
        build.env("CARGO_INCREMENTAL", "0");
        build
    }
}

fn count_one(program: &Path, subject: &str, test: &str) -> Result<Found> {
    let arguments = ["--exact", test, "--ignored", "--test-threads=1"];
    let counted = callgrind::run(subject, COUNTED, program, &arguments)?;
    let instructions = counted as f64 / TIMES as f64;
    Ok(Found { subject: subject.to_owned(), instructions, counted_in: Where::Crates })
}

impl Program {
    fn executable_in(&self, line: &str) -> Option<PathBuf> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["reason"] == "compiler-artifact"
            && message["profile"]["test"] == true
            && message["target"]["src_path"].as_str().is_some_and(|path| path.ends_with(self.source));
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    }
}
