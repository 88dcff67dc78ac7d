//! Programs out of the Rust registry that the commands run: from the `PATH`, else a copy below target/,
//! installed on first use.
//!
//! Not for what the system's archive has: packages.rs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use cluster::{cargo, find_program};

use crate::build::target_folder;
use crate::progress;

/// The program; `arguments` are for `cargo install`.
pub(crate) fn installed(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    if let Some(found) = find_program(name) {
        return Ok(found);
    }
    let root = target_folder().join("tools");
    let program = root.join("bin").join(name);
    if !program.is_file() {
        let mut install = cargo();
        install.args(["install", name, "--locked", "--root"]).arg(&root).args(arguments);
        progress::run(&format!("installing {name}"), install)?.ok(&format!("cargo install {name}"))?;
    }
    program.canonicalize().with_context(|| program.display().to_string())
}
