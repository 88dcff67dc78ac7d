//! The npm package, as `npm pack` makes it, in the folder of a page.
//!
//! Not for its tests: `clients/js`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cluster::{node_package, npm};
use tempfile::TempDir;

/// Where the package is in the checkout.
const PACKAGE: &str = "clients/js";

/// What `npm pack` has made.
pub(crate) struct Packed {
    pub(crate) file: PathBuf,
    /// Where packages are copied to, and built.
    pub(crate) packages: PathBuf,
    _folder: TempDir,
}

/// Builds and packs it.
pub(crate) fn pack() -> Result<Packed> {
    let folder = node_package(PACKAGE)?;
    // One at a time: tests run side by side, and all build in this folder.
    let lock = File::create(folder.with_extension("pack-lock"))?;
    lock.lock()?;
    let packed = tempfile::tempdir()?;
    let mut pack = npm()?;
    pack.args(["pack", "--pack-destination"]).arg(packed.path()).current_dir(&folder);
    run(&mut pack, "npm pack")?;
    let file = fs::read_dir(packed.path())?.next().context("npm pack has made no file")??.path();
    let packages = folder.parent().context("a package without a folder")?.to_owned();
    Ok(Packed { file, packages, _folder: packed })
}

/// Puts what it publishes into `to`.
pub(crate) fn put(to: &Path) -> Result<()> {
    let packed = pack()?;
    fs::create_dir_all(to)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(&packed.file).arg("-C").arg(to).args(["--strip-components=2", "--no-same-owner"]);
    run(unpack.arg("package/dist"), "tar")
}

pub(crate) fn run(command: &mut Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {what}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}{said}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
