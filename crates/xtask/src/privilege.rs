//! Running something as root: directly, or through sudo.
//!
//! Not for becoming somebody else: servers get their account from the `cluster` crate.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

/// A command that runs `program` as root.
///
/// # Errors
/// We are not root and there is no sudo.
pub(crate) fn command(program: &str) -> Result<Command> {
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = cluster::find_program("sudo") else {
        bail!("this needs root, and there is no sudo");
    };
    let mut command = Command::new(sudo);
    command.arg(program);
    Ok(command)
}

/// May we make files in this folder?
pub(crate) fn can_write(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}
