//! The page of an example that has a package.json: its own lock file says what it needs, besides the npm
//! package of the checkout, and `npm run build` makes it.
//!
//! Not for a page that browsers load as it is: running.rs.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use cluster::{node_package, npm};

use crate::folder::Example;
use crate::package::{self, run};

/// Where a bundler puts what browsers load.
const BUILT: &str = "dist";

/// Builds the page and puts it into `to`.
pub(crate) fn put(example: &Example, to: &Path) -> Result<()> {
    let packed = package::pack()?;
    let packages = &packed.packages;
    let name = format!("examples/{}", example.name());
    let copy = packages.join(name.replace('/', "-"));
    // One at a time: tests run side by side, and all build in this folder.
    let lock = File::create(copy.with_extension("build-lock"))?;
    lock.lock()?;
    // Beside the folder, where its package.json says that it is. The lock file does not know what is in it,
    // so npm would not look at another one.
    let beside = packages.join(packed.file.file_name().context("a file without a name")?);
    let bytes = fs::read(&packed.file)?;
    if fs::read(&beside).ok() != Some(bytes.clone()) {
        if copy.join("node_modules").exists() {
            fs::remove_dir_all(copy.join("node_modules"))?;
        }
        fs::write(&beside, bytes)?;
    }
    let folder = node_package(&name)?;
    run(npm()?.args(["run", "build"]).current_dir(&folder), "npm run build")?;
    copy_all(&folder.join(BUILT), to)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_all(&path, &copied)?;
        } else {
            fs::copy(&path, &copied)?;
        }
    }
    Ok(())
}
