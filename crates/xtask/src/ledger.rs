//! `cargo xtask ledger`: the ledger test of `pg_test/ledger` on a throwaway cluster.
//!
//! Not for what the test does: that is the crate `pg_test/ledger`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use cluster::{Install, Profile};
use ledger::Options;

use crate::build;
use crate::packages::{self, Purpose};

/// Runs it, and prints the result.
///
/// # Errors
/// Something was lost, or the run proves nothing; what is printed says which.
pub(crate) fn run(seconds: u64, seed: Option<u64>, pg_config: Option<&Path>) -> Result<()> {
    let pg = packages::ensure(pg_config, Purpose::BuildAndRun)?;
    // With assertions: without them nothing can make a thread of the gateway panic.
    let extension = build::extension(&pg, Profile::Test)?;
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("{}, for {seconds} s with seed {seed}", pg.version);
    let install = Install::of(&pg)?;
    install.put(&extension)?;
    let options =
        Options { seconds, seed, install: Arc::new(install), folder: build::target_folder().join("ledger") };
    let report = ledger::run(&options)?;
    println!("{report}");
    if !report.passed() {
        bail!("the ledger test failed");
    }
    Ok(())
}
