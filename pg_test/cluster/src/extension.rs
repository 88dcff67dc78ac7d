//! The built extension: its library, control and SQL files, and the cargo command that makes the library.
//!
//! Not for putting them somewhere: [`crate::Install`] and `cargo xtask install` do.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::pg_config::PgConfig;

/// The package, and the name of the library in the server.
pub(crate) const NAME: &str = "pg_sse";

/// The version whose feature is on by default in Cargo.toml. Naming the feature would cause a second build of
/// the same thing, so no features are given for this version.
const DEFAULT_MAJOR: u32 = 15;

/// How the library is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build, and with ways to make it fail (the feature `faults`): for tests.
    Test,
    /// Quick to build.
    Dev,
    /// For servers that people use.
    Release,
}

/// The files of the extension.
#[derive(Clone, Debug)]
pub struct Extension {
    /// The built library.
    pub library: PathBuf,
    /// `pg_sse.control`.
    pub control: PathBuf,
    /// `pg_sse--*.sql`: install and upgrade scripts.
    pub scripts: Vec<PathBuf>,
}

impl Extension {
    /// The extension for `pg`: the library that `PG_SSE_LIBRARY` names, else one built now.
    pub fn locate(pg: &PgConfig) -> Result<Self> {
        if let Some(library) = env::var_os("PG_SSE_LIBRARY") {
            return Self::with_library(PathBuf::from(library)).context("PG_SSE_LIBRARY");
        }
        let output = Self::build_command(pg, Profile::Test).output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("the extension does not build:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let library = messages.lines().find_map(Self::library_in).context("cargo named no library")?;
        Self::with_library(library)
    }

    /// The extension with this library, the other files from the checkout.
    pub fn with_library(library: PathBuf) -> Result<Self> {
        let root = workspace_root();
        let control = root.join(format!("{NAME}.control"));
        for file in [&library, &control] {
            if !file.is_file() {
                bail!("{} is missing", file.display());
            }
        }
        let mut scripts = Vec::new();
        for entry in fs::read_dir(root.join("sql")).context("sql/ is missing")? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&format!("{NAME}--")) && name.ends_with(".sql") {
                scripts.push(path);
            }
        }
        if scripts.is_empty() {
            bail!("sql/{NAME}--*.sql is missing");
        }
        scripts.sort();
        Ok(Self { library, control, scripts })
    }

    /// The cargo command that builds the library for `pg` and names it on stdout, one JSON message per line.
    pub fn build_command(pg: &PgConfig, profile: Profile) -> Command {
        let mut command = cargo();
        command.args(["build", "--package", NAME, "--message-format=json-render-diagnostics"]);
        command.args(Self::feature_arguments(pg, profile)).env("PGRX_PG_CONFIG_PATH", &pg.path);
        if profile == Profile::Release {
            command.arg("--release");
        }
        command
    }

    /// The cargo arguments that choose the version of `pg`, and the test switches of the profile.
    pub fn feature_arguments(pg: &PgConfig, profile: Profile) -> Vec<String> {
        let mut arguments = Vec::new();
        if pg.major != DEFAULT_MAJOR {
            arguments.extend(["--no-default-features".into(), format!("--features=pg{}", pg.major)]);
        }
        if profile == Profile::Test {
            arguments.push("--features=faults".into());
        }
        arguments
    }

    /// The library that a line of [`Self::build_command`]'s output names, if it does.
    pub fn library_in(line: &str) -> Option<PathBuf> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        if message["reason"] != "compiler-artifact" || message["target"]["name"] != NAME {
            return None;
        }
        let files = message["filenames"].as_array()?.iter().filter_map(|name| name.as_str());
        files
            .map(PathBuf::from)
            .find(|path| path.extension().is_some_and(|end| end == "so" || end == "dylib"))
    }

    /// Every file with the name it has in a server's folders: first the library, then those for `extension/`.
    pub fn files(&self, pg: &PgConfig) -> Vec<(PathBuf, PathBuf)> {
        let library = pg.pkglibdir.join(format!("{NAME}.{}", pg.library_suffix()));
        let share = pg.sharedir.join("extension");
        let mut files = vec![(self.library.clone(), library)];
        for file in std::iter::once(&self.control).chain(&self.scripts) {
            files.push((file.clone(), share.join(file.file_name().unwrap_or_default())));
        }
        files
    }
}

/// A `cargo` command in the root of the checkout: the same cargo that runs us, so that a toolchain override
/// counts.
///
/// The variables that cargo has set for us are removed. A build script that watches such a variable would
/// otherwise run again whenever cargo is started by us after being started by hand, and the other way round.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            command.env_remove(&name);
        }
    }
    command.current_dir(workspace_root());
    command
}

/// The root of the checkout that this was built from.
pub fn workspace_root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_library_is_found_in_cargos_messages() {
        let line =
            r#"{"reason":"compiler-artifact","target":{"name":"pg_sse"},"filenames":["/t/libpg_sse.so"]}"#;
        assert_eq!(Extension::library_in(line), Some(PathBuf::from("/t/libpg_sse.so")));
        let other = line.replace(r#""name":"pg_sse""#, r#""name":"hyper""#);
        assert_eq!(Extension::library_in(&other), None);
        assert_eq!(Extension::library_in("no json"), None);
    }
}
