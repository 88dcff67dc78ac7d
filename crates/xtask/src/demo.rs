//! `cargo xtask demo [NAME]`: one of `examples/` on a throwaway server, for people; or with `--check` all of
//! them, for a machine. `cluster` is none of them: one of them on two servers.
//!
//! Not for a server that is to stay: everything is gone when it ends. Not for browsers:
//! `pg_test/tests/examples.rs`.

mod check;
mod cluster;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use ::cluster::{Cluster, Profile, has_node, skip};
use anyhow::{Context, Result, ensure};
use clap::Args;
use example::{Example, Running};

use crate::build;
use crate::packages::{self, Purpose};

/// Which one runs when none is named.
const DEFAULT: &str = "chat";

/// Two servers, instead of an example.
const CLUSTER: &str = "cluster";

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// The folder of `examples/`, or `cluster`: the counter on two servers (default: chat; with --check: all
    /// of `examples/`).
    name: Option<String>,
    /// Use it as its page does, end with 0 or 1.
    #[arg(long)]
    check: bool,
    /// The gateway's port, or the proxy's; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The PostgreSQL to run (default: the one found on this machine).
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
}

/// Runs the demo until Ctrl-C, or the check to its end.
///
/// # Errors
/// Something on the way fails; the end of the server's log is in the message where it helps.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.name.as_deref() == Some(CLUSTER) {
        let pg = packages::ensure(options.pg_config.as_deref(), Purpose::Servers)?;
        println!("{}", pg.version);
        let install = build::installed(&pg, Profile::Test)?;
        let who = if options.check { cluster::For::Check } else { cluster::For::People };
        return cluster::run(install, options.port, who);
    }
    let examples = match &options.name {
        Some(name) => vec![Example::named(name)?],
        None if options.check => Example::all()?,
        None => vec![Example::named(DEFAULT)?],
    };
    let is_packed = examples.iter().any(|example| example.uses_package().unwrap_or(true));
    let purpose = if is_packed && !options.check { Purpose::Pages } else { Purpose::BuildAndRun };
    let pg = packages::ensure(options.pg_config.as_deref(), purpose)?;
    println!("{}", pg.version);
    let install = build::installed(&pg, Profile::Test)?;
    let (sender, stop) = channel();
    // A check ends by the signal, at once, and what it has made goes with it (`cluster::Scratch`).
    if !options.check {
        ctrlc::set_handler(move || sender.send(()).unwrap_or_default()).context("cannot catch signals")?;
    }
    for example in &examples {
        if options.check && example.uses_package()? && !has_node() {
            skip(&format!("demo {}", example.name()), "Node with npm")?;
            continue;
        }
        let builder = Cluster::builder().install(Arc::clone(&install)).setting("sse.port", options.port);
        let running = example.start(builder)?;
        if options.check {
            check::check(example, &running)?;
        } else {
            tell(example, &running)?;
            serve(&running, &stop)?;
        }
    }
    Ok(())
}

fn tell(example: &Example, running: &Running) -> Result<()> {
    let psql = running.cluster.install().original().bindir.join("psql");
    println!("\nopen     {}", running.url()?);
    for user in example.users()? {
        let note = if user.note.is_empty() { String::new() } else { format!(" ({})", user.note) };
        println!("         as {} / {}{note}", user.name, user.password);
    }
    println!(
        "         and in a second window\n\n\
         look     {} -h {} -U postgres\n\
         copy     {}: its README says which files\n\n\
         Ctrl-C stops the server and removes everything.",
        psql.display(),
        running.cluster.home().display(),
        example.folder().display(),
    );
    Ok(())
}

fn serve(running: &Running, stop: &Receiver<()>) -> Result<()> {
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(Duration::from_millis(500)) {
        ensure!(running.cluster.is_running(), "the server has ended by itself:\n{}", running.cluster.log()?);
    }
    println!("\nstopped, removed");
    Ok(())
}
