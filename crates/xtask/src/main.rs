//! `cargo xtask …`: the commands of the project: install, demo, test, regress.
//!
//! Not for anything that runs in a server: this builds, starts and asks.

#![forbid(unsafe_code)]

mod build;
mod demo;
mod install;
mod packages;
mod privilege;
mod progress;
mod regress;
mod test;

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
    /// Build the extension and install it into an existing PostgreSQL.
    Install {
        /// The PostgreSQL to install into (default: the one found on this machine).
        #[arg(long, value_name = "PATH")]
        pg_config: Option<PathBuf>,
        /// Build with optimisation; for every server that people use.
        #[arg(long)]
        release: bool,
    },
    /// Show rows in a browser as they are inserted, on a throwaway cluster.
    Demo {
        /// Insert rows, receive them, end with 0 or 1.
        #[arg(long)]
        check: bool,
        /// The gateway's port; 0 picks a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// The PostgreSQL to run (default: the one found on this machine).
        #[arg(long, value_name = "PATH")]
        pg_config: Option<PathBuf>,
    },
    /// Run PostgreSQL's own regression suite with every PL/pgSQL function treated as annotated.
    Regress,
    /// Run everything that must pass, from nothing.
    Test(test::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Install { pg_config, release } => install::run(pg_config.as_deref(), release),
        Task::Demo { check, port, pg_config } => demo::run(check, port, pg_config.as_deref()),
        Task::Regress => regress::run(),
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
