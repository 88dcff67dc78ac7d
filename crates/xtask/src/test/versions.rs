//! Every version of PostgreSQL that is supported: clippy for those that a run does not test with, and the
//! steps of `--pg`.
//!
//! Not for where they come from: postgres/.

use std::env;

use anyhow::{Context, Result};
use cluster::{MAJORS, MAY_SKIP, skip};

use super::steps::{Outcome, Run, lint_extension};
use super::tally::Tally;
use crate::packages::{self, Purpose};
use crate::postgres;

impl Run {
    /// The extension is compiled and linted for the versions that this run does not test with. One that
    /// cannot be had here, for want of a network, is skipped.
    pub(super) fn other_versions(&mut self) -> Result<Outcome> {
        let tested = self.pg()?.major;
        let mut outcome = Outcome::none();
        for major in MAJORS.into_iter().filter(|major| *major != tested) {
            let pg = match postgres::headers(major) {
                Ok(pg) => pg,
                Err(error) => {
                    println!("      PostgreSQL {major} cannot be had: {error:#}");
                    let reason = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
                    outcome.skipped.push(format!("PostgreSQL {major}: {reason}"));
                    outcome.tally.skipped += 1;
                    continue;
                }
            };
            let linted = lint_extension(&pg);
            outcome.tally.add(Tally::one(linted.is_ok()));
            if let Err(error) = linted {
                outcome.output.push_str(&format!("{error:#}\n"));
            }
        }
        Ok(outcome)
    }

    /// Gets the server of the version, with the tools to build for it. One that was asked for and cannot be
    /// had is a failure, unless the environment names it (`PG_SSE_MAY_SKIP=pg17`).
    pub(super) fn server(&mut self) -> Result<Outcome> {
        let major = self.major.context("no version was named")?;
        packages::ensure(None, Purpose::Test)?;
        match postgres::server(major) {
            Ok(pg) => {
                self.pg = Some(pg);
                Ok(Outcome::passed())
            }
            Err(error) => {
                let why = format!("{error:#}");
                skip(&format!("pg{major}"), &format!("PostgreSQL {major}")).with_context(|| why.clone())?;
                let mut outcome = Outcome::none();
                outcome.tally.skipped = 1;
                outcome.skipped.push(why.lines().next().unwrap_or_default().to_owned());
                Ok(outcome)
            }
        }
    }

    pub(super) fn lint(&mut self) -> Result<Outcome> {
        lint_extension(self.pg()?)?;
        Ok(Outcome::passed())
    }

    /// The black box, and the tests of what it stands on. What a server of ours comes without may be skipped,
    /// and is counted so.
    pub(super) fn black_box_of_version(&mut self) -> Result<Outcome> {
        let pg = self.pg()?;
        let mut tests = self.black_box_of(&["pg-test", "cluster"])?;
        let named = env::var(MAY_SKIP).unwrap_or_default();
        let names = postgres::may_skip(pg).iter().copied().chain([named.as_str()]);
        tests.env(MAY_SKIP, names.collect::<Vec<_>>().join(","));
        self.tests(&format!("black box on PostgreSQL {}", pg.major), tests)
    }
}
