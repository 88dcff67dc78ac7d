//! `cargo xtask siege`: the siege of `pg_test/siege` on a throwaway cluster.
//!
//! Not for what the siege does: that is the crate `pg_test/siege`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use cluster::{Install, Profile};
use siege::{Choice, Options};

use crate::build;
use crate::packages::{self, Purpose};
use crate::sanitizer;

/// How to run it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// For how long.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// What is drawn at random follows from it (default: a new one, which is printed).
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Most address space of each process of the server, in megabytes (default: no limit).
    #[arg(long, value_name = "MB")]
    memory_limit: Option<u64>,
    /// The extension under AddressSanitizer, which makes it slow and large: delays, recovery and memory are
    /// not judged.
    #[arg(long, conflicts_with = "memory_limit")]
    sanitize: bool,
    /// This attacker alone; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// All attackers but this; may be given several times.
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// The gateway speaks TLS, and everybody with it, attackers too.
    #[arg(long)]
    tls: bool,
    /// With optimisation, as users run it: delays are to be believed then.
    #[arg(long, conflicts_with = "sanitize")]
    release: bool,
    /// The PostgreSQL to run (default: the one found on this machine).
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
}

/// Runs it, and prints the result.
///
/// # Errors
/// The honest parties noticed something, or the run proves nothing; the output says which.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let Arguments { seconds, seed, memory_limit, sanitize, only, without, tls, release, pg_config } =
        arguments;
    let pg = packages::ensure(pg_config.as_deref(), Purpose::BuildAndRun)?;
    let install = Install::of(&pg)?;
    if sanitize {
        sanitizer::put(&pg, &install)?;
    } else {
        install.put(&build::extension(&pg, if release { Profile::Release } else { Profile::Test })?)?;
    }
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("{}, for {seconds} s with seed {seed}", pg.version);
    let options = Options {
        seconds,
        seed,
        install: Arc::new(install),
        folder: build::target_folder().join("siege"),
        memory_limit: memory_limit.map(|megabytes| megabytes << 20),
        judges_costs: !sanitize,
        choice: Choice { only, without },
        is_secure: tls,
    };
    let report = siege::run(&options)?;
    println!("{report}");
    if !report.passed() {
        bail!("the siege failed");
    }
    Ok(())
}
