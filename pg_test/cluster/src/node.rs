//! Packages of npm, for tests that run JavaScript: a folder with a package.json and its lock file is copied
//! into target/node/, and installed there by `npm ci`. Nothing is installed into the checkout, and versions
//! are those of the lock file.
//!
//! Not for installing Node itself: `cargo xtask test` does.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::account::find_program;
use crate::extension::workspace_root;

/// What is made here and not copied: what npm installs, and what a package builds.
const MADE: [&str; 2] = ["node_modules", "dist"];

/// The lock file as it was installed last, in the copy.
const INSTALLED: &str = "node_modules/.installed-lock.json";

/// Whether this machine has Node with npm.
pub fn has_node() -> bool {
    find_program("node").is_some() && find_program("npm").is_some()
}

/// Copies a package (`pg_test/node`, relative to the checkout) to where it may be built, with its
/// dependencies, and returns that folder. Packages are downloaded only where the lock file has changed.
///
/// # Errors
/// There is no npm, it fails, or a file cannot be copied.
pub fn node_package(folder: &str) -> Result<PathBuf> {
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
        let mut install = Command::new(find_program("npm").context("there is no npm")?);
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&to);
        let output = install.output().context("cannot run npm")?;
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
