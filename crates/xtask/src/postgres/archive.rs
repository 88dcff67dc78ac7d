//! Packages from a release of Debian that need not be this machine's.
//!
//! Not for installing them: what that release has compiled need not run here.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cluster::find_program;

use crate::progress;

/// Debian's releases by the PostgreSQL that they have.
pub(super) const RELEASES: [(u32, &str); 2] = [(17, "trixie"), (18, "forky")];

/// What is downloaded of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What it installs: a `.deb`.
    Compiled,
    /// What it is compiled from: among others an `.orig.tar.*`.
    Source,
}

/// Runs in the folder to download into. With apt's own checks, without touching apt's configuration. `$1` is
/// the kind of archive, `$2` the release, `$3` the package, and the rest what apt-get is told to do with it.
const FETCH: &str = r#"
    set -e
    kind=$1 release=$2 package=$3
    shift 3
    site=$(apt-get indextargets --format '$(REPO_URI)' "Release: stable" | head -n 1)
    [ -n "$site" ] || site=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)
    mkdir -p lists/partial
    echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $release main" > sources.list
    options="-o Dir::Etc::sourcelist=$PWD/sources.list -o Dir::Etc::sourceparts=/dev/null
             -o Dir::State::lists=$PWD/lists -o APT::Sandbox::User=root"
    apt-get $options update
    apt-get $options "$@" "$package"
    rm -r lists
"#;

/// Downloads a package of the release that has that PostgreSQL into `folder`, which is emptied before.
pub(super) fn fetch(kind: Kind, major: u32, package: &str, folder: &Path) -> Result<()> {
    let Some((_, release)) = RELEASES.iter().find(|(has, _)| *has == major) else {
        bail!("no release of Debian is known for PostgreSQL {major}");
    };
    if find_program("apt-get").is_none() {
        bail!("{package} comes from Debian's archive, and there is no apt-get");
    }
    clear(folder)?;
    fs::create_dir_all(folder)?;
    let (line, how) = match kind {
        Kind::Compiled => ("deb", &["download"][..]),
        Kind::Source => ("deb-src", &["source", "--download-only"][..]),
    };
    let mut fetch = Command::new("/bin/sh");
    fetch.args(["-c", FETCH, "sh", line, release, package]).args(how).current_dir(folder);
    progress::run(&format!("downloading {package}"), fetch)?.ok("apt-get")?;
    Ok(())
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}
