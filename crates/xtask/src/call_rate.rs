//! `cargo xtask call-rate`: builds what is compared with optimisation, and runs pg_test/call_rate.
//!
//! Not part of `cargo xtask test`: it measures, and it builds what nothing else needs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use cluster::{Profile, cargo, workspace_root};

use crate::build;
use crate::packages::{self, Purpose};

/// Runs the comparison; its table is on the output.
///
/// # Errors
/// Something does not build or does not run.
pub(crate) fn run(seconds: f64, pg_config: Option<&Path>) -> Result<()> {
    let pg = packages::ensure(pg_config, Purpose::BuildAndRun)?;
    println!("{}", pg.version);
    let extension = build::extension(&pg, Profile::Release)?;
    let mut comparison = cargo();
    comparison.args(["run", "--quiet", "--release", "--manifest-path"]);
    comparison.arg(workspace_root().join("pg_test/call_rate/Cargo.toml"));
    comparison.args(["--", "--seconds", &seconds.to_string()]);
    comparison.env("PG_SSE_LIBRARY", &extension.library).env("PG_CONFIG", &pg.path);
    ensure!(comparison.status().context("cannot run cargo")?.success(), "the comparison failed");
    Ok(())
}
