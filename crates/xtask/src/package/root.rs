//! A package in an empty Debian: installed by apt with nothing else, the extension created, an event
//! received, the package removed again; everything as the operations page says.
//!
//! Root alone, and Debian's archive must be reachable. Minutes, so it is no part of `cargo xtask test`.
//!
//! Not for what is in the package: deb.rs looks at that whenever it makes one.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::system::{self, Empty};

/// Runs beside the new system `$root`: `$1` is the package, `$2` the major version, `$3` what is run in the
/// system, without a network but its own.
const INSTALL: &str = r#"
    deb=$1 major=$2 attempt=$3
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp "$deb" "$root/pg_sse.deb"
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
    let release = system::release_of(major).context("no release has it")?;
    let title = format!("installing and using it in an empty {release}");
    let done = Empty::of(release)?.run(
        &title,
        INSTALL,
        &[deb.as_os_str(), major.to_string().as_ref(), TRY.as_ref()],
    )?;
    for wanted in ["CREATE EXTENSION pg_sse;", "does not start without it"] {
        ensure!(done.text().contains(wanted), "the package does not say {wanted:?}");
    }
    let version = done.lines.iter().find(|line| line.contains("|PostgreSQL ")).context("no version")?;
    println!("  {release}: installed, an event received, removed: {version}");
    Ok(())
}
