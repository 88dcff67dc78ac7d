//! `cargo xtask regress`: PostgreSQL's own regression suite, with every PL/pgSQL function treated as annotated.
//!
//! What the suite expects was written for a server without us, so any difference that capture makes (a message more or
//! less, a lost error field, a setting that tells a lie, an assertion) is a failed test. The server is built from
//! Debian's source package with assertions on, once; it stays in `target/regress`.
//!
//! Not part of `cargo xtask test`: the first run takes some minutes and downloads 22 MB.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use cluster::{
    Account, Cluster, Extension, Install, PATIENCE, PgConfig, Profile, Scratch, find_program, wait_until,
    workspace_root,
};

use crate::{build, privilege, progress};

/// Debian's release that has [`MAJOR`], and its source package.
const RELEASE: &str = "trixie";
const MAJOR: u32 = 17;

/// What building PostgreSQL needs beyond what building the extension does.
const PACKAGES: [&str; 3] = ["bison", "flex", "make"];

/// Database that `pg_regress` works in, so the one that is served.
const DATABASE: &str = "regression";

/// Downloads the source package in a folder of its own, with apt's own checks, without touching apt's configuration.
/// `$1` is the release, `$2` the package.
const FETCH: &str = r#"
    set -e
    site=$(apt-get indextargets --format '$(REPO_URI)' "Release: stable" | head -n 1)
    [ -n "$site" ] || site=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)
    mkdir -p lists/partial
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $1 main" > sources.list
    options="-o Dir::Etc::sourcelist=$PWD/sources.list -o Dir::Etc::sourceparts=/dev/null
             -o Dir::State::lists=$PWD/lists -o APT::Sandbox::User=root"
    apt-get $options update
    apt-get $options source --download-only "$2"
    mkdir -p source
    tar -xf "$2"_*.orig.tar.* -C source --strip-components=1
"#;

/// Builds server, `pg_regress` and the libraries that the tests load. `$1` is the folder to install into.
const MAKE: &str = r#"
    set -e
    ./configure --prefix="$1" --enable-cassert --enable-debug --without-icu --without-readline --without-zlib CFLAGS='-O1 -g'
    make -s -j"$(nproc)"
    make -s install
    make -s -C src/test/regress
    make -s -C contrib/spi
    make -s -C contrib/spi install
"#;

/// Runs the suite.
///
/// # Errors
/// A test of the suite fails (its differences are in the message), or something on the way does.
pub(crate) fn run() -> Result<()> {
    let folder = workspace_root().join("target/regress");
    let installed = folder.join("postgresql");
    if !folder.join("built").exists() {
        make_server(&folder, &installed)?;
    }
    let pg = PgConfig::read(&installed.join("bin/pg_config"))?;
    let install = Install::of(&pg)?;
    install.put(&annotating_extension(&pg, &folder)?)?;
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
    let verdict = run_suite(&cluster, &folder.join("source/src/test/regress"));
    let captured: u64 = cluster.sql("select records_total from sse.stat_ring")?.parse()?;
    let refused = cluster.sql("select internal_total + dropped_total from sse.stat_ring")?;
    verdict?;
    ensure!(captured > 1000, "only {captured} messages of the suite were captured: the switch is not on");
    ensure!(refused == "0", "{refused} messages were lost");
    println!("{captured} messages were captured meanwhile");
    Ok(())
}

fn make_server(folder: &Path, installed: &Path) -> Result<()> {
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|name| find_program(name).is_none()).collect();
    if !missing.is_empty() {
        println!("missing system packages: {}", missing.join(" "));
        let mut install = privilege::command("apt-get")?;
        install.args(["install", "-y", "--no-install-recommends"]).args(missing);
        progress::run("installing packages", install)?.ok("apt-get")?;
    }
    if folder.exists() {
        fs::remove_dir_all(folder).context("target/regress")?;
    }
    fs::create_dir_all(folder)?;
    let package = format!("postgresql-{MAJOR}");
    let mut fetch = shell(FETCH, folder);
    fetch.args([RELEASE, package.as_str()]);
    progress::run("downloading PostgreSQL's source", fetch)?.ok("apt-get source")?;
    let mut make = shell(MAKE, &folder.join("source"));
    make.arg(installed);
    progress::run("building PostgreSQL with assertions", make)?.ok("make")?;
    fs::write(folder.join("built"), "")?;
    Ok(())
}

/// The extension with its test switch on, built beside the ordinary one.
fn annotating_extension(pg: &PgConfig, folder: &Path) -> Result<Extension> {
    let mut command = Extension::build_command(pg, Profile::Dev);
    command.arg("--features=annotate_everything").env("CARGO_TARGET_DIR", folder.join("extension"));
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

fn shell(script: &str, folder: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).current_dir(folder);
    command
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}
