//! A package in an empty Debian: installed by apt with nothing else, the extension created, an event
//! received, the package removed again; everything as the operations page says.
//!
//! Root alone, and Debian's archive must be reachable. Minutes, so it is no part of `cargo xtask test`.
//!
//! Not for what is in the package: deb.rs looks at that whenever it makes one.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cluster::{Account, Scratch, find_program};

use crate::{packages, progress};

/// The release of Debian that has this PostgreSQL; none has 16.
const RELEASES: [(u32, &str); 3] = [(15, "bookworm"), (17, "trixie"), (18, "forky")];

/// Runs with processes and mounts of its own: what it starts and mounts ends with it. The system is in
/// memory, because installing packages waits for the disk all the time. `$1` is the folder for the system,
/// `$2` the package, `$3` the release, `$4` the major version, `$5` what is run in it, without a network but
/// its own.
const INSTALL: &str = r#"
    root=$1 deb=$2 release=$3 major=$4 attempt=$5
    mount -t tmpfs -o mode=755 tmpfs "$root"
    site=$(apt-get indextargets --format '$(REPO_URI)' "Release: stable" | head -n 1)
    [ -n "$site" ] || site=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | grep debian | sort -u | head -n 1)
    mmdebstrap --variant=minbase "$release" "$root/system" "$site"
    root=$root/system
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp "$deb" "$root/pg_sse.deb"
    mount -t proc proc "$root/proc"
    mkdir -p "$root/dev/shm"
    mount -t tmpfs tmpfs "$root/dev/shm"
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
    chroot "$root" apt-get update
    chroot "$root" apt-get install -y --no-install-recommends /pg_sse.deb
    chroot "$root" apt-get install -y --no-install-recommends curl
    exec unshare --net /bin/sh -ec 'ip link set lo up; exec chroot "$1" /bin/sh -ec "$2" sh "$3"' sh "$root" "$attempt" "$major"
"#;

/// Runs in the new system, where the default port is free. `$1` is the major version.
const TRY: &str = r#"
    major=$1 conf=/etc/postgresql/$1/main/conf.d/pg_sse.conf
    query() { runuser -u postgres -- psql -XAtqc "$1"; }
    eventually() {
        tries=0
        until eval "$1"; do
            tries=$((tries + 1))
            [ $tries -lt 240 ] || { echo "in vain: $1"; cat /tmp/events /var/log/postgresql/*.log; exit 1; }
            sleep 0.5
        done
    }
    : > /tmp/events
    echo "shared_preload_libraries = 'pg_sse'" > $conf
    pg_ctlcluster $major main start
    query "CREATE EXTENSION pg_sse"
    query "CREATE FUNCTION hello() RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE INFO ''hello''; END'"
    query "COMMENT ON FUNCTION hello() IS '@sse'"
    eventually '[ "$(query "SELECT state FROM sse.stat_gateway")" = serving ]'
    curl -sN --max-time 300 http://localhost:8080/api/hello/info > /tmp/events &
    eventually 'grep -q sse.ready /tmp/events'
    query "SELECT hello()"
    eventually 'grep -q "^data: hello" /tmp/events'
    query "SELECT extversion, version() FROM pg_extension WHERE extname = 'pg_sse'"
    query "DROP EXTENSION pg_sse"
    pg_ctlcluster $major main stop
    rm $conf
    apt-get remove -y postgresql-$major-pg-sse
    if [ -e /usr/lib/postgresql/$major/lib/pg_sse.so ]; then echo "the library is still there"; exit 1; fi
    pg_ctlcluster $major main start
    query "SELECT 1"
    pg_ctlcluster $major main stop
"#;

/// Installs the package into an empty system of the release that has its server, and uses it.
///
/// # Errors
/// Anything does not work: what was printed is in the message.
pub(super) fn check(deb: &Path, major: u32) -> Result<()> {
    let Some((_, release)) = RELEASES.iter().find(|(has, _)| *has == major) else {
        println!("  no release of Debian has PostgreSQL {major}: only the contents were looked at");
        return Ok(());
    };
    ensure!(rustix::process::geteuid().is_root(), "only root can make an empty system");
    if find_program("mmdebstrap").is_none() {
        packages::install(&["mmdebstrap"])?;
    }
    let scratch = Scratch::create(&Account::for_servers()?)?;
    let root = scratch.path().join("root");
    fs::create_dir(&root)?;
    let mut whole = Command::new("unshare");
    whole.args(["--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-ec", INSTALL, "sh"]);
    whole.arg(&root).arg(deb).arg(release).arg(major.to_string()).arg(TRY);
    let done =
        progress::run(&format!("installing and using it in an empty {release}"), whole)?.ok("the check")?;
    for wanted in ["CREATE EXTENSION pg_sse;", "does not start without it"] {
        ensure!(done.text().contains(wanted), "the package does not say {wanted:?}");
    }
    let version = done.lines.iter().find(|line| line.contains("|PostgreSQL ")).context("no version")?;
    println!("  {release}: installed, an event received, removed: {version}");
    Ok(())
}
