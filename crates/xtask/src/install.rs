//! `cargo xtask install`: the extension into an existing PostgreSQL.
//!
//! Not for starting or configuring a server: it says what to write into postgresql.conf, and where a line is
//! already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cluster::{PgConfig, Profile};

use crate::packages::{self, Purpose};
use crate::{build, privilege};

/// Builds, copies, and says what is left to do.
pub(crate) fn run(pg_config: Option<&Path>, release: bool) -> Result<()> {
    let pg = packages::ensure(pg_config, Purpose::BuildAndRun)?;
    println!("{} ({})", pg.version, pg.path.display());
    let extension = build::extension(&pg, if release { Profile::Release } else { Profile::Dev })?;
    for (from, to) in extension.files(&pg) {
        put(&from, &to)?;
        println!("  {}", to.display());
    }
    if !release {
        println!("built without optimisation: for a server that people use, add --release");
    }
    print_next_steps(&pg);
    Ok(())
}

/// Copies under another name, then renames: the old library may be mapped by a running server, and writing
/// into it would crash every backend.
fn put(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("no folder to install into")?;
    let new = to.with_extension("pg_sse-new");
    let is_library = to.extension().is_some_and(|end| end == "so" || end == "dylib");
    let mode = if is_library { "755" } else { "644" };
    let (mut copy, mut rename) = if privilege::can_write(folder) {
        (Command::new("install"), Command::new("mv"))
    } else {
        let why = || format!("{} is not ours to write", folder.display());
        (privilege::command("install").with_context(why)?, privilege::command("mv").with_context(why)?)
    };
    let copied = copy.args(["-m", mode]).arg(from).arg(&new).status().context("cannot run install")?;
    if !copied.success() || !rename.arg("-f").arg(&new).arg(to).status().context("cannot run mv")?.success() {
        bail!("cannot install {}", to.display());
    }
    Ok(())
}

fn print_next_steps(pg: &PgConfig) {
    println!("\nWhat is left to do:\n\n1. postgresql.conf:");
    let existing = existing_lines(&configuration_files(pg.major));
    if existing.is_empty() {
        println!(
            "     shared_preload_libraries = 'pg_sse'        # if there are others already: last in the list"
        );
    }
    for (file, value) in existing {
        println!(
            "     shared_preload_libraries = '{}'        # in {}",
            with_pg_sse_last(&value),
            file.display()
        );
    }
    println!(
        "     sse.database = 'postgres'                  # the database whose routines are served\n\
         \x20    sse.port = 8080\n\
         \x20    # to call routines over HTTP, too (a role that exists at the next start or is made later):\n\
         \x20    # sse.call_role = 'app'\n\n\
         2. restart the server (a reload is not enough)\n\n\
         3. in that database, as a superuser:\n     CREATE EXTENSION pg_sse;\n\n\
         4. a second later it serves, and the server log says so:\n     \
         curl http://localhost:8080/healthz          # {{\"status\":\"pass\"}}\n\n\
         Go on with docs/start.md, behind its part \"Install\"."
    );
}

/// Where Debian keeps its clusters' files, and those of `$PGDATA`, in the order in which Postgres reads them.
fn configuration_files(major: u32) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Ok(clusters) = fs::read_dir(format!("/etc/postgresql/{major}")) {
        files.extend(clusters.flatten().map(|cluster| cluster.path().join("postgresql.conf")));
    }
    if let Some(data) = std::env::var_os("PGDATA") {
        files.extend(["postgresql.conf", "postgresql.auto.conf"].map(|name| Path::new(&data).join(name)));
    }
    files
}

/// The last `shared_preload_libraries` of each file that has a non-empty one.
fn existing_lines(files: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let last = |file: &PathBuf| fs::read_to_string(file).ok()?.lines().filter_map(preload_in).next_back();
    files
        .iter()
        .filter_map(|file| Some((file.clone(), last(file)?)))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn preload_in(line: &str) -> Option<String> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("shared_preload_libraries")?.trim_start();
    Some(rest.strip_prefix('=').unwrap_or(rest).trim().trim_matches('\'').to_owned())
}

/// Puts pg_sse last in the list: a library loaded after it would still see what pg_sse hides from the server
/// log.
fn with_pg_sse_last(value: &str) -> String {
    let others = value.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "pg_sse");
    others.chain(["pg_sse"]).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn an_installed_library_is_replaced_and_never_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let (built, installed) = (folder.path().join("libpg_sse.so"), folder.path().join("pg_sse.so"));
        fs::write(&built, "new").unwrap();
        fs::write(&installed, "old").unwrap();
        let before = fs::metadata(&installed).unwrap();
        put(&built, &installed).unwrap();
        let after = fs::metadata(&installed).unwrap();
        assert_eq!(fs::read_to_string(&installed).unwrap(), "new");
        assert_ne!(before.ino(), after.ino());
        assert_eq!(after.mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn the_preload_line_is_found_and_pg_sse_goes_last() {
        let found =
            preload_in("shared_preload_libraries = 'auto_explain,pg_sse, x' # (change requires restart)");
        assert_eq!(found.as_deref(), Some("auto_explain,pg_sse, x"));
        assert_eq!(with_pg_sse_last("auto_explain,pg_sse, x"), "auto_explain, x, pg_sse");
        assert_eq!(preload_in("#shared_preload_libraries = ''"), None);
        assert_eq!(with_pg_sse_last(""), "pg_sse");
    }
}
