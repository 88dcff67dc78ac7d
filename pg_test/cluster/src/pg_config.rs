//! Which PostgreSQL of this machine is used, and where its parts are.
//!
//! Not for installing one: `cargo xtask` does that.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The major versions for which the extension is built (C1.1), the preferred one first: the project's own
/// numbers were measured on it. The others follow from the newest down.
pub const MAJORS: [u32; 4] = [15, 18, 17, 16];

/// What one `pg_config` says about its installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgConfig {
    /// The program itself.
    pub path: PathBuf,
    /// 15 to 18.
    pub major: u32,
    /// The whole line, `PostgreSQL 15.20 (Debian …)`.
    pub version: String,
    /// Where `postgres` and `psql` are.
    pub bindir: PathBuf,
    /// Where loadable libraries go (`$libdir`).
    pub pkglibdir: PathBuf,
    /// Below it `extension/` holds control and SQL files.
    pub sharedir: PathBuf,
    /// Where `libpq` is.
    pub libdir: PathBuf,
    /// Where `postgres.h` is, when the development package is installed.
    pub includedir_server: PathBuf,
}

impl PgConfig {
    /// Finds the PostgreSQL to use: `explicit`, else `$PG_CONFIG`, else `$PGRX_PG_CONFIG_PATH`, else a
    /// Debian-style installation in the order of [`MAJORS`], else `pg_config` on the `PATH`.
    ///
    /// Only one that has a server counts, because a Debian machine with nothing but `libpq-dev` also has a
    /// `pg_config`; `explicit` and `$PG_CONFIG` are taken at their word.
    pub fn find(explicit: Option<&Path>) -> Result<Self> {
        if let Some(path) = explicit {
            return Self::read(path);
        }
        if let Some(path) = env::var_os("PG_CONFIG") {
            return Self::read(Path::new(&path)).context("PG_CONFIG");
        }
        Self::candidates().iter().filter_map(|path| Self::read(path).ok()).find(Self::has_server).context(
            "no PostgreSQL 15 to 18 with a server was found; name one with PG_CONFIG=/path/to/pg_config",
        )
    }

    /// Asks one `pg_config`.
    ///
    /// # Errors
    /// It does not run, or its version is not one of [`MAJORS`].
    pub fn read(path: &Path) -> Result<Self> {
        let ask = |option: &str| -> Result<String> {
            let output = Command::new(path)
                .arg(option)
                .output()
                .with_context(|| format!("{} does not run", path.display()))?;
            if !output.status.success() {
                bail!("{} {option} failed: {}", path.display(), String::from_utf8_lossy(&output.stderr));
            }
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let version = ask("--version")?;
        let major = major_of(&version).with_context(|| format!("cannot read the version {version:?}"))?;
        if !MAJORS.contains(&major) {
            bail!("{} belongs to {version}; pg_sse needs PostgreSQL 15 to 18", path.display());
        }
        Ok(Self {
            path: path.to_owned(),
            major,
            version,
            bindir: ask("--bindir")?.into(),
            pkglibdir: ask("--pkglibdir")?.into(),
            sharedir: ask("--sharedir")?.into(),
            libdir: ask("--libdir")?.into(),
            includedir_server: ask("--includedir-server")?.into(),
        })
    }

    /// Is there a server, not only client tools?
    pub fn has_server(&self) -> bool {
        self.bindir.join("postgres").is_file() && self.bindir.join("initdb").is_file()
    }

    /// Are the headers there that building the extension needs?
    pub fn has_headers(&self) -> bool {
        self.includedir_server.join("postgres.h").is_file()
    }

    /// Does it come from Debian's packages, so that more of it can be had from there?
    pub fn is_debians(&self) -> bool {
        self.bindir.starts_with("/usr/lib/postgresql")
    }

    /// How a loadable library is called: `.so`, on macOS `.dylib` from version 16 on.
    pub fn library_suffix(&self) -> &'static str {
        if cfg!(target_os = "macos") && self.major >= 16 { "dylib" } else { "so" }
    }

    fn candidates() -> Vec<PathBuf> {
        let set_for_the_build = env::var_os("PGRX_PG_CONFIG_PATH").map(PathBuf::from);
        let debian = MAJORS.iter().map(|major| format!("/usr/lib/postgresql/{major}/bin/pg_config").into());
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|folder| folder.join("pg_config")).collect::<Vec<_>>();
        set_for_the_build.into_iter().chain(debian).chain(on_path).filter(|path| path.is_file()).collect()
    }
}

/// `PostgreSQL 15.20 (Debian …)` and `PostgreSQL 18beta1` give 15 and 18.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(1)?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_major_version_is_read_from_releases_and_betas() {
        assert_eq!(major_of("PostgreSQL 15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(major_of("PostgreSQL 18beta1"), Some(18));
        assert_eq!(major_of("PostgreSQL"), None);
    }

    #[test]
    fn a_missing_pg_config_is_named() {
        let error = PgConfig::find(Some(Path::new("/nowhere/pg_config"))).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/pg_config"));
    }
}
