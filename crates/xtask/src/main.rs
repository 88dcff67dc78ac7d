//! `cargo xtask …`: the commands of the project: install, demo, docs, package, release, administrator, test,
//! rules, bench, instructions, ledger, siege, snapshots, soak, regress, screenshots.
//!
//! Not for anything that runs in a server: this builds, starts and asks.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod docs;
mod install;
mod instructions;
mod ledger;
mod package;
mod packages;
mod postgres;
mod privilege;
mod progress;
mod regress;
mod sanitizer;
mod screenshots;
mod siege;
mod snapshots;
mod soak;
mod test;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of pg_sse's checkout.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Go from an empty Debian to HTTPS, and through an upgrade, by the commands of docs/debian.md. Root,
    /// Debian.
    Administrator {
        /// The PostgreSQL whose release of Debian it is: 15, 17 or 18.
        #[arg(long, value_name = "N", default_value_t = 15)]
        #[arg(value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: u32,
    },
    /// Measure fan-out, publishing and calls, beside a floor and beside peers.
    Bench(bench::Arguments),
    /// Build the extension and install it into an existing PostgreSQL.
    Install {
        /// The PostgreSQL to install into (default: the one found on this machine).
        #[arg(long, value_name = "PATH")]
        pg_config: Option<PathBuf>,
        /// Build with optimisation; for every server that people use.
        #[arg(long)]
        release: bool,
    },
    /// Count the instructions of the hot paths, and compare with what is expected.
    Instructions(instructions::Options),
    /// Run one of `examples/` on a throwaway server, for two browsers.
    Demo(demo::Options),
    /// Build the documentation as a site in target/site, with its links checked.
    Docs,
    /// Break everything for a while, and prove that nothing was lost silently.
    Ledger(ledger::Arguments),
    /// Make Debian packages, or another thing to give to people, in target/packages.
    Package(package::Options),
    /// Run PostgreSQL's own regression suite with every PL/pgSQL function treated as annotated.
    Regress,
    /// Make everything that is given to people from what is committed, with checksums.
    Release {
        /// Debian packages for these major versions (default: all).
        #[arg(long, value_name = "LIST", value_delimiter = ',')]
        #[arg(value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: Vec<u32>,
    },
    /// Look at the format and the rules of the house: seconds, before every commit.
    Rules,
    /// Make the pictures of the examples that README and docs show: docs/images/NAME.png.
    Screenshots {
        /// Of these alone (default: of all).
        names: Vec<String>,
        /// The PostgreSQL to run (default: the one found on this machine).
        #[arg(long, value_name = "PATH")]
        pg_config: Option<PathBuf>,
    },
    /// Attack from all sides for a while, and prove that honest clients notice nothing.
    Siege(siege::Arguments),
    /// Writers, and streams with snapshots that are broken all the time: each must have the table's state.
    Snapshots {
        /// For how long.
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
        /// Repeats the choices of another run, though not its timing.
        #[arg(long, value_name = "S")]
        seed: Option<u64>,
        /// The PostgreSQL to run (default: the one found on this machine).
        #[arg(long, value_name = "PATH")]
        pg_config: Option<PathBuf>,
    },
    /// Let subscribers come and go, and look whether the gateway's memory and descriptors stay level.
    Soak {
        /// For how long.
        #[arg(long, value_name = "N", default_value_t = 300)]
        seconds: u64,
        /// Over TLS.
        #[arg(long)]
        tls: bool,
        /// The PostgreSQL to run (default: the one found on this machine).
        #[arg(long, value_name = "PATH")]
        pg_config: Option<PathBuf>,
    },
    /// Run everything that must pass, from nothing.
    Test(test::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Administrator { pg } => package::administrator(pg),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Install { pg_config, release } => install::run(pg_config.as_deref(), release),
        Task::Instructions(options) => instructions::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Docs => docs::run(),
        Task::Ledger(arguments) => ledger::run(&arguments),
        Task::Package(options) => package::run(&options),
        Task::Regress => regress::run(),
        Task::Release { pg } => package::release(&pg),
        Task::Rules => test::rules(),
        Task::Screenshots { names, pg_config } => screenshots::run(&names, pg_config.as_deref()),
        Task::Siege(arguments) => siege::run(arguments),
        Task::Snapshots { seconds, seed, pg_config } => snapshots::run(seconds, seed, pg_config.as_deref()),
        Task::Soak { seconds, tls, pg_config } => soak::run(seconds, tls, pg_config.as_deref()),
        Task::Test(options) => return test::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
