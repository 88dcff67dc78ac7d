//! `cargo xtask snapshots`: the test of the exact cut (`pg_test/tests/snapshot_cut.rs`), for as long as
//! wanted.
//!
//! Not for what the test does.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::packages::{self, Purpose};

/// Runs it, and lets it print.
///
/// # Errors
/// A stream's snapshots and events did not give the table's state, or too little happened.
pub(crate) fn run(seconds: u64, seed: Option<u64>, pg_config: Option<&Path>) -> Result<()> {
    let pg = packages::ensure(pg_config, Purpose::BuildAndRun)?;
    let mut test = Command::new("cargo");
    test.args(["test", "-p", "pg-test", "--test", "snapshot_cut", "--", "--nocapture"]);
    test.env("PGRX_PG_CONFIG_PATH", &pg.path).env("PG_CONFIG", &pg.path);
    test.env("PG_SSE_SNAPSHOT_SECONDS", seconds.to_string());
    if let Some(seed) = seed {
        test.env("PG_SSE_SNAPSHOT_SEED", seed.to_string());
    }
    ensure!(test.status()?.success(), "the test of snapshots failed");
    Ok(())
}
