//! Other libraries for a server, as small as possible: C that is compiled into a private installation.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Result, bail};
use cluster::{Install, find_program, skip};

/// Compiles the source of a module of this name into the installation. `false` where the test is to be
/// skipped, because there is no compiler or there are no headers.
pub(crate) fn compile(install: &Install, name: &str, source_text: &str) -> Result<bool> {
    let original = install.original();
    let compiler = find_program("cc").or_else(|| find_program("gcc")).filter(|_| original.has_headers());
    let Some(compiler) = compiler else {
        skip(env!("CARGO_CRATE_NAME"), "C compiler with the server's headers")?;
        return Ok(false);
    };
    let scratch = tempfile::tempdir()?;
    let source = scratch.path().join(format!("{name}.c"));
    let built = scratch.path().join(name);
    fs::write(&source, source_text)?;
    let mut command = Command::new(compiler);
    command
        .args(["-shared", "-fPIC", "-I"])
        .arg(&original.includedir_server)
        .arg("-o")
        .arg(&built)
        .arg(&source);
    if cfg!(target_os = "macos") {
        command.args(["-undefined", "dynamic_lookup"]);
    }
    let output = command.output()?;
    if !output.status.success() {
        bail!("the module does not compile: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Built beside and moved: tests of one binary run side by side, and a server may have it open.
    let target = install.pg_config().pkglibdir.join(name);
    let new = target.with_extension(format!("new{:?}", thread::current().id()));
    fs::copy(&built, &new)?;
    fs::rename(new, target.with_extension(original.library_suffix()))?;
    Ok(true)
}
