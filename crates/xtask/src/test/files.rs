//! Finds the files to which the rules of the house apply.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// All Rust files below a folder, sorted.
pub(super) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = everything(folder)?;
    files.retain(|path| path.extension().is_some_and(|end| end == "rs") && path.is_file());
    Ok(files)
}

/// All files and folders below a folder, sorted, without what git and cargo keep there.
pub(super) fn everything(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(all) };
    for entry in entries {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name == "target" || name == ".git") {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            all.extend(everything(&path)?);
        }
        all.push(path);
    }
    all.sort();
    Ok(all)
}
