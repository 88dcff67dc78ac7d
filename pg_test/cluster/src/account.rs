//! The account under which a server runs: Postgres refuses to run as root.
//!
//! Not for the clients: `psql` runs under the account of the tests.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The accounts to change to from root, in this order. `postgres` comes with distribution packages.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// Options of `setpriv`: the capability to raise priorities stays when the account is changed.
const PRIORITY: [&str; 2] = ["--inh-caps=+sys_nice", "--ambient-caps=+sys_nice"];

/// The account that servers run as.
#[derive(Clone, Debug)]
pub struct Account {
    /// Numeric user and group to become, or `None` to stay who we are.
    switch_to: Option<(u32, u32)>,
    setpriv: Option<PathBuf>,
}

impl Account {
    /// The account for servers of this process: itself, or, when it is root, `postgres`, else `nobody`.
    ///
    /// # Errors
    /// Root, and there is neither such an account nor `setpriv` (util-linux).
    pub fn for_servers() -> Result<Self> {
        static FOUND: OnceLock<Account> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let setpriv = find_program("setpriv");
        let is_root = rustix::process::geteuid().is_root();
        if is_root && setpriv.is_none() {
            bail!("PostgreSQL does not run as root and there is no setpriv (util-linux) to step down with");
        }
        let switch_to = if is_root { Some(first_account()?) } else { None };
        Ok(FOUND.get_or_init(|| Self { switch_to, setpriv }).clone())
    }

    /// A command that runs `program` as this account and is killed (SIGQUIT) when the thread that spawns it
    /// ends, where the system can do that (Linux).
    ///
    /// The environment is cleared of what would change the server's behaviour: `PG…` and locale variables,
    /// and `RUST_BACKTRACE`, which makes pgrx attach a backtrace to every error as a DETAIL that no test
    /// expects.
    pub fn command(&self, program: &Path) -> Command {
        self.command_with(program, &[])
    }

    /// The same; what it runs may give itself priority, as far as [`Account::may_permit_priority`].
    pub(crate) fn command_with_priority(&self, program: &Path) -> Command {
        self.command_with(program, if self.may_permit_priority() { &PRIORITY } else { &[] })
    }

    /// Whether we may permit a server to put itself before other work: that takes root, and `CAP_SYS_NICE`.
    pub fn may_permit_priority(&self) -> bool {
        static MAY: OnceLock<bool> = OnceLock::new();
        *MAY.get_or_init(|| {
            // It warns and goes on when it cannot raise the priority of what it runs: that tells its own.
            let mut nice = self.command_with(Path::new("nice"), &PRIORITY);
            let told = nice.args(["-n", "-10", "nice"]).output();
            self.switch_to.is_some() && told.is_ok_and(|told| told.stdout.starts_with(b"-"))
        })
    }

    fn command_with(&self, program: &Path, options: &[&str]) -> Command {
        let mut command = self.unclean_command(program, options);
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PG") || name.starts_with("LC_") || name == "LANG" || name == "LANGUAGE" {
                command.env_remove(name.as_ref());
            }
        }
        command.env_remove("RUST_BACKTRACE");
        command
    }

    /// Gives one file or folder to this account.
    pub fn give(&self, path: &Path) -> Result<()> {
        if let Some((uid, gid)) = self.switch_to {
            chown(path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} to the server's account", path.display()))?;
        }
        Ok(())
    }

    /// Can this account reach what lies in `folder`? A server below `/root` (mode 0700) cannot.
    pub(crate) fn can_search(&self, folder: &Path) -> bool {
        if self.switch_to.is_none() {
            return true;
        }
        let Ok(folder) = folder.canonicalize() else { return false };
        folder
            .ancestors()
            .all(|part| fs::metadata(part).is_ok_and(|found| found.permissions().mode() & 0o001 != 0))
    }

    fn unclean_command(&self, program: &Path, options: &[&str]) -> Command {
        let Some(setpriv) = &self.setpriv else { return Command::new(program) };
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "QUIT"]);
        if let Some((uid, gid)) = self.switch_to {
            command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--init-groups");
        }
        command.args(options).arg("--").arg(program);
        command
    }
}

/// The first program of that name on the `PATH`, or in the places for administrators that an ordinary `PATH`
/// lacks.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let everywhere =
        env::split_paths(&path).chain(["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from));
    everywhere.map(|folder| folder.join(name)).find(|program| program.is_file())
}

fn first_account() -> Result<(u32, u32)> {
    ACCOUNTS.iter().find_map(|name| Some((id(name, "-u")?, id(name, "-g")?))).with_context(|| {
        format!("PostgreSQL does not run as root, and none of {ACCOUNTS:?} is an account here")
    })
}

/// `id -u postgres`. The program asks every source of accounts, /etc/passwd alone would miss some.
fn id(account: &str, option: &str) -> Option<u32> {
    let output = Command::new("id").args([option, account]).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
