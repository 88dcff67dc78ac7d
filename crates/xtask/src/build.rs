//! Building the extension for one PostgreSQL.
//!
//! Not for putting it where it stays: install.rs.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use cluster::{Extension, Install, PgConfig, Profile, workspace_root};

use crate::progress;

/// Builds the library and returns it with the files that belong to it.
///
/// # Errors
/// It does not build: the compiler's messages are in the error.
pub(crate) fn extension(pg: &PgConfig, profile: Profile) -> Result<Extension> {
    let title = format!("building pg_sse for PostgreSQL {}", pg.major);
    with(Extension::build_command(pg, profile), &title)
}

/// A copy of this PostgreSQL with the extension in it, for throwaway clusters.
pub(crate) fn installed(pg: &PgConfig, profile: Profile) -> Result<Arc<Install>> {
    let extension = extension(pg, profile)?;
    let install = Install::of(pg)?;
    install.put(&extension)?;
    Ok(Arc::new(install))
}

/// Builds the library with a command that [`Extension::build_command`] began.
pub(crate) fn with(command: Command, title: &str) -> Result<Extension> {
    Extension::with_library(library(command, title)?)
}

/// The library alone: of a checkout that need not be ours.
pub(crate) fn library(command: Command, title: &str) -> Result<PathBuf> {
    let built = progress::run(title, command)?;
    if !built.status.success() {
        let messages: Vec<&str> =
            built.lines.iter().map(String::as_str).filter(|line| !line.starts_with('{')).collect();
        anyhow::bail!("the extension does not build:\n{}", messages.join("\n"));
    }
    built.stdout.iter().find_map(|line| Extension::library_in(line)).context("cargo named no library")
}

/// Where cargo builds, and everything else that may be thrown away is.
pub(crate) fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from)
}
