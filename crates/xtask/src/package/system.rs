//! An empty Debian to try a package in: a folder in memory, with processes, mounts and, later, a network of
//! its own. What is started and mounted in it ends with it.
//!
//! Root alone, and Debian's archive must be reachable. Minutes, so it is no part of `cargo xtask test`.
//!
//! Not for what is tried: root.rs and administrator.rs.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use cluster::{Account, Scratch, find_program};

use crate::packages;
use crate::progress::{self, Folded};

/// The release of Debian that has this PostgreSQL; none has 16.
const RELEASES: [(u32, &str); 3] = [(15, "bookworm"), (17, "trixie"), (18, "forky")];

/// Makes the system and goes on with what is tried. It is in memory, because installing packages waits for
/// the disk all the time. `$1` is the folder for it, `$2` the release, the rest is for what follows.
const MAKE: &str = r#"
    root=$1 release=$2
    shift 2
    mount -t tmpfs -o mode=755 tmpfs "$root"
    site=$(apt-get indextargets --format '$(REPO_URI)' "Release: stable" | head -n 1)
    [ -n "$site" ] || site=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | grep debian | sort -u | head -n 1)
    # A mirror may be older than the testing release allows. Signatures count all the same.
    [ "$release" = forky ] && is_testing=yes
    mmdebstrap --variant=minbase ${is_testing:+--aptopt='Acquire::Check-Valid-Until "false"'} "$release" "$root/system" "$site"
    root=$root/system
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    mount -t proc proc "$root/proc"
    mkdir -p "$root/dev/shm"
    mount -t tmpfs tmpfs "$root/dev/shm"
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
"#;

pub(super) fn release_of(major: u32) -> Option<&'static str> {
    RELEASES.iter().find(|(has, _)| *has == major).map(|(_, release)| *release)
}

/// One that is made when it is used.
pub(super) struct Empty {
    release: &'static str,
    scratch: Scratch,
}

impl Empty {
    /// # Errors
    /// We are not root, or the program that makes it cannot be had.
    pub(super) fn of(release: &'static str) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "only root can make an empty system");
        if find_program("mmdebstrap").is_none() {
            packages::install(&["mmdebstrap"])?;
        }
        Ok(Self { release, scratch: Scratch::create(&Account::for_servers()?)? })
    }

    /// Makes it, and runs a script of /bin/sh beside it, which finds it in `$root`.
    ///
    /// # Errors
    /// Either fails: all that was printed is in the message.
    pub(super) fn run(&self, title: &str, script: &str, arguments: &[&OsStr]) -> Result<Folded> {
        let root = self.scratch.path().join("root");
        fs::create_dir(&root)?;
        let mut whole = Command::new("unshare");
        whole.args(["--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-ec"]);
        whole.arg(format!("{MAKE}{script}")).arg("sh").arg(&root).arg(self.release).args(arguments);
        progress::run(title, whole)?.ok("the check")
    }
}
