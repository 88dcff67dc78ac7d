//! Other libraries for a server, as small as they get: C that is compiled into a private installation.

use std::fs;
use std::process::Command;

use anyhow::{Result, bail};
use cluster::{Install, find_program};

/// Compiles the source of a module of this name into the installation. False where there is no compiler or no headers.
pub(crate) fn compile(install: &Install, name: &str, source_text: &str) -> Result<bool> {
    let include = Command::new(&install.original().path).arg("--includedir-server").output()?;
    let include = String::from_utf8_lossy(&include.stdout).trim().to_owned();
    let Some(compiler) = find_program("cc").or_else(|| find_program("gcc")) else { return Ok(false) };
    if !fs::exists(format!("{include}/postgres.h"))? {
        return Ok(false);
    }
    let scratch = tempfile::tempdir()?;
    let source = scratch.path().join(format!("{name}.c"));
    fs::write(&source, source_text)?;
    let suffix = if cfg!(target_os = "macos") { "dylib" } else { "so" };
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-I", &include, "-o"]);
    command.arg(install.pg_config().pkglibdir.join(format!("{name}.{suffix}"))).arg(&source);
    if cfg!(target_os = "macos") {
        command.args(["-undefined", "dynamic_lookup"]);
    }
    let output = command.output()?;
    if !output.status.success() {
        bail!("the module does not compile: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(true)
}
