//! Debian packages: `postgresql-NN-pg-sse`, one for each version of the server.
//!
//! Their scripts only say what is left to do: none touches a configuration, and none restarts a server, which
//! may serve others, too.
//!
//! Not for a repository of packages.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Extension, Install, PgConfig, Scratch, find_program, workspace_root};

use super::hears::hears;
use super::payload::{self, Payload};
use super::{epoch, succeed};

/// Counts the packages of one version.
pub(super) const REVISION: &str = "1";

/// After installation and after an upgrade. `$2` is the version that was configured before.
const POSTINST: &str = r#"#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if [ -z "$2" ]; then
        cat <<'NEXT'
pg_sse for PostgreSQL @MAJOR@ is installed. What is left to do:

1. /etc/postgresql/@MAJOR@/main/conf.d/pg_sse.conf (or postgresql.conf):
     shared_preload_libraries = 'pg_sse'   # if there are others already: last in that list
     sse.database = 'postgres'             # the database whose routines are served
     sse.port = 8080
2. restart the server (a reload is not enough):
     pg_ctlcluster @MAJOR@ main restart
3. in that database, as a superuser:
     CREATE EXTENSION pg_sse;
     SELECT state, port FROM sse.stat_gateway;

/usr/share/doc/@PACKAGE@/docs/operations.md has the rest.
NEXT
    else
        cat <<'NEXT'
pg_sse for PostgreSQL @MAJOR@ was replaced. The server runs the old library until it is restarted:
     pg_ctlcluster @MAJOR@ main restart
Then, in the database that sse.database names:
     ALTER EXTENSION pg_sse UPDATE;
NEXT
    fi
fi
"#;

/// Before removal: what is still preloaded and not there keeps a server from starting.
const PRERM: &str = r#"#!/bin/sh
set -e
if [ "$1" = remove ]; then
    cat <<'NEXT'
pg_sse for PostgreSQL @MAJOR@ goes. A server that has pg_sse in shared_preload_libraries does not start without it:
take it out of there (postgresql.conf, conf.d, and ALTER SYSTEM), with the sse. settings, before the next restart.
In the databases: DROP EXTENSION pg_sse; and in the data directory: pg_sse.revocations.
NEXT
fi
"#;

/// Makes the package of this revision and returns where it is.
pub(super) fn make(payload: &Payload, revision: &str, folder: &Path) -> Result<PathBuf> {
    ensure!(find_program("dpkg-deb").is_some(), "Debian packages are made with dpkg-deb, which is not here");
    let (major, package) = (payload.major, name(payload.major));
    let tree = folder.join(format!("{package}.tree"));
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let documentation = tree.join("usr/share/doc").join(&package);
    payload.put_extension(
        &tree,
        &format!("usr/lib/postgresql/{major}/lib/pg_sse.so"),
        &format!("usr/share/postgresql/{major}/extension"),
    )?;
    payload.put_documentation(&documentation)?;
    payload.put_licenses(&documentation)?;
    compress_changes(&documentation)?;
    let sums = sums(&tree)?;
    let control = tree.join("DEBIAN");
    fs::create_dir(&control)?;
    payload::write(&control.join("md5sums"), &sums)?;
    for (name, script) in [("postinst", POSTINST), ("prerm", PRERM)] {
        let script = script.replace("@MAJOR@", &major.to_string()).replace("@PACKAGE@", &package);
        fs::write(control.join(name), script)?;
        fs::set_permissions(control.join(name), Permissions::from_mode(0o755))?;
    }
    let architecture = succeed(dpkg(&["--print-architecture"]))?.trim().to_owned();
    let version = format!("{}-{revision}", payload.version);
    let needs = libraries(payload.library(), folder)?;
    let text = control_file(major, &version, &architecture, size(&tree)?, &needs);
    payload::write(&control.join("control"), &text)?;
    let deb = folder.join(format!("{package}_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    // The times of all files are made those of SOURCE_DATE_EPOCH. Not xz, which is smaller: its encoder has
    // threads, whose number changes the bytes, and with one of them dpkg-deb 1.21 once waited for ever.
    build.args(["--root-owner-group", "-Zgzip", "--build"]).arg(&tree).arg(&deb);
    touch(&tree)?;
    build.env("SOURCE_DATE_EPOCH", epoch()?);
    succeed(build)?;
    fs::remove_dir_all(&tree)?;
    has_what_it_should(&deb, payload)?;
    Ok(deb)
}

/// A server from elsewhere gets the files that the package has, and an event arrives.
pub(super) fn check(deb: &Path, pg: &PgConfig) -> Result<()> {
    let install = Arc::new(Install::of(pg)?);
    let scratch = Scratch::create(install.account())?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--extract").arg(deb).arg(scratch.path());
    succeed(unpack)?;
    let major = pg.major;
    let share = scratch.path().join(format!("usr/share/postgresql/{major}/extension"));
    let mut scripts = Vec::new();
    for entry in fs::read_dir(&share)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "sql") {
            scripts.push(path);
        }
    }
    let library = scratch.path().join(format!("usr/lib/postgresql/{major}/lib/pg_sse.so"));
    install.put(&Extension { library, control: share.join("pg_sse.control"), scripts })?;
    let cluster = Cluster::builder().install(install).start()?;
    hears(&cluster)?;
    println!("  {} with its files creates the extension, and an event arrives", pg.version);
    Ok(())
}

pub(super) fn name(major: u32) -> String {
    format!("postgresql-{major}-pg-sse")
}

fn control_file(major: u32, version: &str, architecture: &str, kilobytes: u64, libraries: &str) -> String {
    format!(
        "Package: {}\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: pg_sse contributors <pg_sse@localhost>\nInstalled-Size: {kilobytes}\n\
         Depends: postgresql-{major}, {libraries}\nSection: database\nPriority: optional\n\
         Description: Server-Sent Events out of PostgreSQL {major}\n \
         RAISE in an annotated routine becomes a Server-Sent Event in every browser that\n \
         listens, after the transaction has committed. Background workers inside the\n \
         server serve HTTP: streams, calls of routines, snapshots, row changes.\n",
        name(major)
    )
}

/// Which versions of which libraries it needs, as Debian's own tool reads it from the library. It looks for a
/// source package around it.
fn libraries(library: &Path, folder: &Path) -> Result<String> {
    let here = folder.join("shlibs");
    fs::create_dir_all(here.join("debian"))?;
    fs::write(here.join("debian/control"), "Source: pg-sse\n\nPackage: pg-sse\nArchitecture: any\n")?;
    let mut ask = Command::new("dpkg-shlibdeps");
    // The functions of the server are found when it loads the library, so the warning about them is none.
    ask.args(["-O", "--warnings=0"]).arg(format!("-e{}", library.display())).current_dir(&here);
    let printed = succeed(ask).context("dpkg-shlibdeps is in the package dpkg-dev")?;
    fs::remove_dir_all(&here)?;
    let needs = printed.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    let needs = needs.with_context(|| format!("dpkg-shlibdeps said {printed:?}"))?;
    ensure!(needs.contains("libc6 "), "a library that needs no libc: {needs}");
    Ok(needs.to_owned())
}

fn dpkg(arguments: &[&str]) -> Command {
    let mut command = Command::new("dpkg");
    command.args(arguments);
    command
}

fn compress_changes(folder: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9nc"]).arg(workspace_root().join("CHANGELOG.md"));
    let output = gzip.output().context("cannot run gzip")?;
    ensure!(output.status.success(), "gzip failed");
    let to = folder.join("changelog.gz");
    fs::write(&to, output.stdout)?;
    Ok(fs::set_permissions(&to, Permissions::from_mode(0o644))?)
}

/// `DEBIAN/md5sums`, by which `dpkg --verify` finds what was changed.
fn sums(tree: &Path) -> Result<String> {
    let mut sums = Command::new("/bin/sh");
    sums.args(["-ec", "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum"]).current_dir(tree);
    succeed(sums)
}

/// In kilobytes, each file rounded up, as Debian Policy 5.6.20 counts.
fn size(tree: &Path) -> Result<u64> {
    let mut sizes = Command::new("find");
    sizes.arg(tree.join("usr")).args(["-type", "f", "-printf", "%s\n"]);
    let bytes = succeed(sizes)?;
    Ok(bytes.lines().filter_map(|line| line.parse::<u64>().ok()).map(|bytes| bytes.div_ceil(1024)).sum())
}

/// dpkg-deb lowers times that are later than the epoch; none is earlier, because all were written now. Modes
/// of folders are those of any umask.
fn touch(tree: &Path) -> Result<()> {
    let mut modes = Command::new("find");
    modes.arg(tree).args(["-type", "d", "-exec", "chmod", "755", "{}", "+"]);
    succeed(modes).map(drop)
}

/// What is in the made package: every file that a server looks for, no debug information, and no folder of
/// the machine that built it.
fn has_what_it_should(deb: &Path, payload: &Payload) -> Result<()> {
    let mut list = Command::new("dpkg-deb");
    list.arg("--contents").arg(deb);
    let listed = succeed(list)?;
    let major = payload.major;
    let (share, doc) =
        (format!("./usr/share/postgresql/{major}/extension"), format!("./usr/share/doc/{}", name(major)));
    let scripts = payload.scripts().map(|script| format!("{share}/{script}"));
    let others = [
        format!("./usr/lib/postgresql/{major}/lib/pg_sse.so"),
        format!("{share}/pg_sse.control"),
        format!("{share}/pg_sse--{}.sql", payload.version),
        format!("{doc}/copyright"),
        format!("{doc}/third-party-licenses.txt"),
        format!("{doc}/changelog.gz"),
        format!("{doc}/docs/operations.md"),
        format!("{doc}/examples/counter/setup.sql"),
        format!("{doc}/contrib/prometheus/pg_sse.rules.yml"),
    ];
    for file in scripts.chain(others) {
        ensure!(listed.lines().any(|line| line.ends_with(&file)), "{} lacks {file}", deb.display());
    }
    for line in listed.lines() {
        ensure!(line.contains(" root/root "), "{} has a file of somebody: {line}", deb.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_scripts_are_shell_and_only_say_what_to_do() {
        for script in [POSTINST, PRERM] {
            let checked = Command::new("/bin/sh").args(["-n", "-c", script]).status().unwrap();
            assert!(checked.success());
            let mut in_text = false;
            for line in script.lines() {
                let command = line.trim();
                in_text = (in_text || command.ends_with("<<'NEXT'")) && command != "NEXT";
                let is_quiet = in_text
                    || ["#!/bin/sh", "set -e", "NEXT", "else", "fi"].contains(&command)
                    || command.starts_with("if [");
                assert!(is_quiet, "{line}");
            }
        }
    }

    #[test]
    fn a_package_depends_on_its_server_and_on_what_the_library_needs() {
        let text = control_file(17, "0.2.0-1", "amd64", 5000, "libc6 (>= 2.34), libgcc-s1 (>= 4.2)");
        assert!(text.starts_with("Package: postgresql-17-pg-sse\nVersion: 0.2.0-1\n"), "{text}");
        assert!(text.contains("\nDepends: postgresql-17, libc6 (>= 2.34), libgcc-s1 (>= 4.2)\n"), "{text}");
        assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
    }
}
