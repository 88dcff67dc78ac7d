//! `cargo xtask bench`: builds what is measured with optimisation, runs `pg_test/bench`, and takes its tables
//! and pictures into docs/performance.md.
//!
//! Not for what is measured: that is the package `pg_test/bench`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use cluster::{PgConfig, Profile, cargo, workspace_root};

use crate::build::{self, target_folder};
use crate::packages::{self, Purpose};

/// Its package, a workspace of its own.
pub(crate) const MANIFEST: &str = "pg_test/bench/Cargo.toml";

/// The page that has the tables.
const PAGE: &str = "docs/performance.md";

/// Pictures of the page.
const PICTURES: &str = "docs/images/performance";

/// How to run it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// These parts alone (default: all).
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// In about five minutes, with fewer and shorter rounds and rows.
    #[arg(long)]
    quick: bool,
    /// Take tables and pictures of the parts that are measured into docs/performance.md.
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// The PostgreSQL to run (default: the one found on this machine).
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
}

/// What can be measured alone.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// What a delivery costs, how long it takes, and what a stream costs that hears nothing.
    Fanout,
    /// What an event at commit costs, beside the same insert without, and beside pg_notify.
    Publish,
    /// What an annotation costs the session that calls a routine, which raises nothing or an event.
    Capture,
    /// Calls of routines, beside a hand-written endpoint that does the same.
    Calls,
    /// The cost of an event as streams, bytes, publishers, topics, users, routines and threads become more.
    Growth,
    /// Events of a primary and its standbys with `sse.durability = wal`: how late they are, also beside a
    /// load, and what they cost.
    Reach,
}

/// Measures; tables are on the output, and with figures and pictures in target/bench.
///
/// # Errors
/// Something does not build or does not run, or an event of ours is lost, doubled or out of order.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let pg = packages::ensure(arguments.pg_config.as_deref(), Purpose::BuildAndRun)?;
    println!("{}", pg.version);
    let library = build::extension(&pg, Profile::Release)?.library;
    let output = target_folder().join("bench");
    if arguments.write {
        forget(&output)?;
    }
    let mut bench = command("run");
    bench
        .args(["--quiet", "--release"])
        .args(["--", "run", "--size", if arguments.quick { "quick" } else { "full" }, "--output"])
        .arg(&output);
    bench.args(
        arguments.parts.iter().filter_map(Part::to_possible_value).map(|part| part.get_name().to_owned()),
    );
    bench.env("PG_SSE_LIBRARY", library).env("PG_CONFIG", &pg.path);
    ensure!(bench.status().context("cannot run cargo")?.success(), "the bench failed");
    if arguments.write { write(workspace_root(), &output) } else { Ok(()) }
}

/// Removes the tables and pictures of earlier runs, so that what is there afterwards is of this one.
fn forget(output: &Path) -> Result<()> {
    for entry in fs::read_dir(output).into_iter().flatten() {
        let path = entry?.path();
        if matches!(path.extension().and_then(OsStr::to_str), Some("md" | "svg")) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A cargo command for the package of the bench, in a target folder of its own.
pub(crate) fn command(name: &str) -> Command {
    let mut command = cargo();
    command.arg(name).arg("--manifest-path").arg(workspace_root().join(MANIFEST));
    command.env("CARGO_TARGET_DIR", target_folder().join("bench_build"));
    command
}

/// All parts for a moment, with this library and without peers from elsewhere. Its figures mean nothing; but
/// it fails where something does not run, where an event is lost, doubled or out of order, and where the two
/// sides of a call answer differently.
pub(crate) fn smoke(pg: &PgConfig, library: &Path) -> Command {
    let mut bench = command("run");
    bench.args(["--quiet", "--", "run", "--size", "smoke", "--output"]);
    bench.arg(target_folder().join("bench_smoke"));
    bench.env("PG_SSE_LIBRARY", library).env("PG_CONFIG", &pg.path);
    bench
}

/// Replaces what is between the markers of each chapter, and the pictures.
fn write(root: &Path, output: &Path) -> Result<()> {
    let page = root.join(PAGE);
    let mut text = fs::read_to_string(&page).context(PAGE)?;
    fs::create_dir_all(root.join(PICTURES))?;
    for entry in fs::read_dir(output)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default().to_owned();
        match path.extension().and_then(OsStr::to_str) {
            Some("md") => text = replaced(&text, &name, &fs::read_to_string(&path)?)?,
            Some("svg") => {
                fs::copy(&path, root.join(PICTURES).join(format!("{name}.svg")))?;
            }
            _ => {}
        }
    }
    fs::write(page, text)?;
    println!("{PAGE} and {PICTURES} are written");
    Ok(())
}

/// The page with this chapter's table.
fn replaced(page: &str, chapter: &str, table: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench {chapter} -->\n"), format!("<!-- end of bench {chapter} -->"));
    let Some((before, rest)) = page.split_once(&begin) else { bail!("{PAGE} has no place for {chapter}") };
    let (_, after) = rest.split_once(&end).with_context(|| format!("{chapter} has no end in {PAGE}"))?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tables_and_pictures_of_earlier_runs_are_forgotten_and_their_figures_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["calls.md", "calls.svg", "bench.json"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        forget(folder.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["bench.json"]);
        forget(&folder.path().join("none")).unwrap();
    }

    #[test]
    fn a_table_replaces_the_one_before_and_nothing_else() {
        let page = "a\n<!-- bench x -->\n\nold\n\n<!-- end of bench x -->\nb\n";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench x -->\n\nnew\n\n<!-- end of bench x -->\nb\n");
        assert_eq!(replaced(&new, "x", "new").unwrap(), new);
        assert!(replaced(page, "y", "new").is_err());
    }
}
