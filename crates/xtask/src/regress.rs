//! `cargo xtask regress`: PostgreSQL's own regression suite, with every PL/pgSQL function treated as
//! annotated.
//!
//! What the suite expects was written for a server without us, so any difference that capture makes (a
//! message more or less, a lost error field, a setting that tells a lie, an assertion) is a failed test. The
//! server is the one that `cargo xtask test --pg` builds from Debian's source package with assertions on,
//! once; it stays in `target/postgres`.
//!
//! Not part of `cargo xtask test`: the first run takes some minutes and downloads 22 MB.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use cluster::{Account, Cluster, Extension, Install, PATIENCE, PgConfig, Profile, Scratch, wait_until};

use crate::{build, postgres, progress};

/// Database that `pg_regress` works in, so the one that is served.
const DATABASE: &str = "regression";

/// Runs the suite.
///
/// # Errors
/// A test of the suite fails (its differences are in the message), or something on the way does.
pub(crate) fn run() -> Result<()> {
    let pg = postgres::server(postgres::ASSERTING)?;
    let install = Install::of(&pg)?;
    install.put(&annotating_extension(&pg)?)?;
    let cluster = Cluster::builder()
        .install(Arc::new(install))
        .without_extension()
        .setting("sse.database", DATABASE)
        .setting("max_prepared_transactions", 4)
        .start()?;
    cluster.sql(&format!("create database {DATABASE}"))?;
    cluster.sql("create extension pg_sse")?;
    // A gateway without an extension in its database drains the ring and throws away what is in it.
    wait_until(PATIENCE, "the gateway has found the database", || {
        cluster.sql("select state from sse.stat_gateway").is_ok_and(|state| state == "waiting for extension")
    })?;
    let verdict = run_suite(&cluster, &postgres::source_of(postgres::ASSERTING).join("src/test/regress"));
    let captured: u64 = cluster.sql("select records_total from sse.stat_ring")?.parse()?;
    let refused = cluster.sql("select internal_total + dropped_total from sse.stat_ring")?;
    verdict?;
    ensure!(captured > 1000, "only {captured} messages of the suite were captured: the switch is not on");
    ensure!(refused == "0", "{refused} messages were lost");
    println!("{captured} messages were captured meanwhile");
    Ok(())
}

/// The extension with its test switch on, built beside the ordinary one.
fn annotating_extension(pg: &PgConfig) -> Result<Extension> {
    let mut command = Extension::build_command(pg, Profile::Dev);
    command
        .arg("--features=annotate_everything")
        .env("CARGO_TARGET_DIR", build::target_folder().join("regress"));
    build::with(command, "building pg_sse with every function annotated")
}

fn run_suite(cluster: &Cluster, source: &Path) -> Result<()> {
    let account = Account::for_servers()?;
    // A copy, because the server's account reads the input, and writes beside it.
    let tests = Scratch::create(&account)?;
    let copied = Command::new("cp").arg("-a").arg(source).arg(tests.path()).status()?;
    ensure!(copied.success(), "cannot copy {}", source.display());
    let input = tests.path().join("regress");
    let output = tests.path().join("output");
    fs::create_dir(&output)?;
    account.give(&output)?;
    let mut suite = account.command(&input.join("pg_regress"));
    suite.current_dir(&input);
    suite.args(["--use-existing", "--inputdir=.", "--dlpath=.", "--user=postgres"]);
    suite.args(["--schedule=parallel_schedule", "--max-concurrent-tests=20"]);
    suite.arg(format!("--outputdir={}", output.display()));
    suite.arg(format!("--bindir={}", parent(&cluster.install().program("psql")).display()));
    suite.arg(format!("--host={}", cluster.home().display()));
    suite.arg(format!("--dbname={DATABASE}"));
    let result = progress::run("PostgreSQL's regression suite", suite)?;
    if result.status.success() {
        println!("{}", result.lines.last().map_or("", String::as_str));
        return Ok(());
    }
    let differences = fs::read_to_string(output.join("regression.diffs")).unwrap_or_default();
    bail!("{}\n{differences}", result.text())
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}
