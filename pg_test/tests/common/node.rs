//! Node in the folder of a package: compilers, linters, validators, and programs that were made there.
//!
//! Not for programs that ask for something of the server while they run (`control.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cluster::node_package;

/// An empty folder of this name beside the packages of `package`, where it is installed.
pub(crate) fn folder(package: &str, name: &str) -> Result<PathBuf> {
    let folder = node_package(package)?.join("dist").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Runs Node in the folder of the package that such a folder is in.
pub(crate) fn run_beside(folder: &Path, arguments: &[&str]) -> Result<()> {
    run(folder.ancestors().nth(2).context("no folder above")?, arguments)
}

/// Runs Node in this folder, which must succeed.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = cluster::node()?.args(arguments).current_dir(folder).output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    ensure!(output.status.success(), "node {arguments:?}: {}", said.join("\n"));
    Ok(())
}
