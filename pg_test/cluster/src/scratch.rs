//! Folders that go away with the process that made them, however it ends.
//!
//! Dropping is not enough: a static is never dropped, and a process can be killed. So each folder is also
//! told to a shell, which waits for the end of its standard input, that is, for the end of this process, and
//! then removes what is left.
//!
//! Not for anything that must survive.

use std::env;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::account::Account;

/// Reads folders until the end of its input, then removes them; a second time, because a server may just be
/// ending in one.
const JANITOR: &str = r#"
    trap '' INT TERM HUP
    while IFS= read -r folder; do set -- "$@" "$folder"; done
    [ $# -eq 0 ] || rm -rf -- "$@" || { sleep 1; rm -rf -- "$@"; }
"#;

/// A folder of its own, removed on drop. Its path is short: a Unix socket's may have 107 bytes.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    /// Makes a folder that the server's account can reach, open to everybody for reading.
    ///
    /// It lies in `$TMPDIR`, or in `/tmp` when a server could not get to it there. With `PG_SSE_KEEP` it
    /// stays.
    pub fn create(account: &Account) -> Result<Self> {
        let base = base(account)?;
        let mut folder = tempfile::Builder::new()
            .prefix("pg_sse-")
            .rand_bytes(6)
            .tempdir_in(&base)
            .with_context(|| format!("cannot make a folder in {}", base.display()))?;
        if env::var_os("PG_SSE_KEEP").is_some() {
            folder.disable_cleanup(true);
        } else {
            tell_janitor(folder.path())?;
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        Ok(Self { folder })
    }

    /// Gives the folder to `account` and closes it to everybody else, because a server trusts everybody who
    /// can reach its socket.
    pub fn close_to_others(&self, account: &Account) -> Result<()> {
        fs::set_permissions(self.path(), Permissions::from_mode(0o700))?;
        account.give(self.path())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn base(account: &Account) -> Result<PathBuf> {
    let candidates = [env::temp_dir(), PathBuf::from("/tmp")];
    match candidates.iter().find(|folder| folder.is_dir() && account.can_search(folder)) {
        Some(folder) => Ok(folder.clone()),
        None => bail!("neither {} nor /tmp can be reached by the server's account", candidates[0].display()),
    }
}

fn tell_janitor(folder: &Path) -> Result<()> {
    static RUNNING: Mutex<Option<Child>> = Mutex::new(None);
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let janitor = match &mut *running {
        Some(janitor) => janitor,
        none => none.insert(start_janitor()?),
    };
    let inbox = janitor.stdin.as_mut().context("the janitor has no input")?;
    writeln!(inbox, "{}", folder.display()).context("the janitor is gone")
}

/// In a process group of its own, so that Ctrl-C at a terminal does not end it with us.
fn start_janitor() -> Result<Child> {
    let mut janitor = Command::new("/bin/sh");
    janitor.args(["-c", JANITOR]).current_dir("/").process_group(0);
    janitor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    janitor.spawn().context("cannot run /bin/sh")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use test_http::PATIENCE;

    use super::*;
    use crate::wait::wait_until;

    #[test]
    fn a_folder_goes_when_it_is_dropped() {
        let scratch = Scratch::create(&Account::for_servers().unwrap()).unwrap();
        let path = scratch.path().to_owned();
        assert!(path.is_dir());
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_goes_when_its_process_is_gone() {
        let folder = tempfile::tempdir().unwrap().keep();
        fs::write(folder.join("left behind"), "").unwrap();
        let mut janitor = start_janitor().unwrap();
        writeln!(janitor.stdin.as_mut().unwrap(), "{}", folder.display()).unwrap();
        drop(janitor.stdin.take());
        wait_until(PATIENCE, "the janitor removes the folder", || !folder.exists()).unwrap();
        janitor.wait().unwrap();
    }
}
