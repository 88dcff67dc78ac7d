//! `cargo xtask ledger`: the ledger test of `pg_test/ledger` on a throwaway cluster, or on a tree of them.
//!
//! Not for what the test does: that is the crate `pg_test/ledger`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use cluster::Profile;
use ledger::{Options, Replication};

use crate::build;
use crate::packages::{self, Purpose};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// For how long things break.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// What breaks in which order follows from it (default: a new one, which is printed).
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// A primary, a standby and a cascading standby behind HAProxy, with failovers; half of the time with a
    /// synchronous standby and half with an asynchronous one, or all of it with one.
    #[arg(long, value_name = "REPLICATION", num_args = 0..=1, default_missing_value = "both")]
    tree: Option<Tree>,
    /// The PostgreSQL to run (default: the one found on this machine).
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Tree {
    Synchronous,
    Asynchronous,
    Both,
}

impl Tree {
    fn replications(self) -> &'static [Replication] {
        match self {
            Self::Synchronous => &[Replication::Synchronous],
            Self::Asynchronous => &[Replication::Asynchronous],
            Self::Both => &[Replication::Synchronous, Replication::Asynchronous],
        }
    }
}

/// Runs it, and prints the result.
///
/// # Errors
/// Something was lost, or the run proves nothing; what is printed says which.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let purpose = if arguments.tree.is_some() { Purpose::Servers } else { Purpose::BuildAndRun };
    let pg = packages::ensure(arguments.pg_config.as_deref(), purpose)?;
    // With assertions: without them nothing can make a thread of the gateway panic.
    let install = build::installed(&pg, Profile::Test)?;
    let (seconds, seed) = (arguments.seconds, arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)));
    println!("{}, for {seconds} s with seed {seed}", pg.version);
    let mut options = Options { seconds, seed, install, folder: build::target_folder().join("ledger") };
    let Some(tree) = arguments.tree else {
        let report = ledger::run(&options)?;
        println!("{report}");
        return ended(report.passed());
    };
    let replications = tree.replications();
    options.seconds /= replications.len() as u64;
    for replication in replications {
        println!("{replication} standby, for {} s", options.seconds);
        let report = ledger::run_tree(&options, *replication)?;
        println!("{report}");
        ended(report.passed())?;
    }
    Ok(())
}

fn ended(passed: bool) -> Result<()> {
    if !passed {
        bail!("the ledger test failed");
    }
    Ok(())
}
