//! The system packages that building and running pg_sse needs.
//!
//! It looks for what each package provides and not for the package, so a PostgreSQL from elsewhere counts. On
//! Debian and Ubuntu the missing packages are installed; on other systems they are named.
//!
//! Not for servers that people use: installing PostgreSQL from Debian would create and start one, so that is
//! switched off while we install, and clusters that exist are neither started, stopped nor restarted.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cluster::{MAJORS, PgConfig, find_program};

use crate::{privilege, progress};

/// Runs as root with the packages as arguments, and leaves nothing of its own behind.
const INSTALL: &str = r#"
    set -eu
    export DEBIAN_FRONTEND=noninteractive
    policy=/usr/sbin/policy-rc.d
    folder=/etc/postgresql-common/createcluster.d
    file=$folder/pg_sse-xtask.conf
    made_policy= made_folder=
    clean_up() {
        [ -z "$made_policy" ] || rm -f "$policy"
        rm -f "$file"
        [ -z "$made_folder" ] || rmdir "$folder" 2>/dev/null || true
    }
    trap clean_up EXIT
    trap 'exit 130' HUP INT TERM
    # Packages ask this program before they start or restart a service.
    if [ ! -e "$policy" ]; then
        made_policy=1
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
    fi
    # Read by the server package before it creates its cluster "main".
    if [ ! -d "$folder" ]; then
        made_folder=1
        mkdir -p "$folder"
    fi
    echo "create_main_cluster = false" > "$file"
    apt-get update
    apt-get install -y --no-install-recommends "$@"
"#;

/// What the caller needs packages for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Build the extension and run a server.
    BuildAndRun,
    /// Node on top, which packs the client that some examples' pages import.
    Pages,
    /// A proxy on top, which stands in front of several servers.
    Servers,
    /// The procedural languages on top, whose messages are captured, too, the proxies that the documentation
    /// configures, a browser for its pages, what runs the clients of others (Node, Python, curl), what checks
    /// metrics, and what counts instructions.
    Test,
    /// The fuzzers on top of that: libFuzzer is C++.
    Fuzz,
}

impl Purpose {
    fn is_test(self) -> bool {
        matches!(self, Self::Test | Self::Fuzz)
    }

    /// Whether it takes this one of [`PROGRAMS`].
    fn takes(self, program: &str) -> bool {
        match self {
            Self::BuildAndRun => false,
            Self::Pages => matches!(program, "node" | "npm"),
            Self::Servers => program == "haproxy",
            Self::Test | Self::Fuzz => true,
        }
    }
}

/// Makes sure that everything is there, and returns the PostgreSQL to use. Names what it installs before it
/// does.
///
/// # Errors
/// Something is missing and cannot be installed; the message says what to install.
pub(crate) fn ensure(pg_config: Option<&Path>, purpose: Purpose) -> Result<PgConfig> {
    if let Some(path) = pg_config {
        PgConfig::find(Some(path))?;
    }
    let missing = missing(pg_config, purpose)?;
    if missing.is_empty() {
        return PgConfig::find(pg_config);
    }
    install(&missing)?;
    let still = self::missing(pg_config, purpose)?;
    if !still.is_empty() {
        bail!("apt-get succeeded, but this is still missing: {}", still.join(" "));
    }
    PgConfig::find(pg_config)
}

/// That version from this system's archive, with what building for it needs.
///
/// # Errors
/// As [`ensure`], or the archive does not have it.
pub(crate) fn ensure_major(major: u32) -> Result<PgConfig> {
    let path = path_of(major);
    if PgConfig::read(&path).is_err() {
        if !is_offered(major) {
            bail!("this system's archive has no PostgreSQL {major}");
        }
        install(&[format!("postgresql-{major}"), format!("postgresql-server-dev-{major}")])?;
    }
    ensure(Some(&path), Purpose::Test)
}

/// Where Debian's packages have the `pg_config` of a version.
pub(crate) fn path_of(major: u32) -> PathBuf {
    format!("/usr/lib/postgresql/{major}/bin/pg_config").into()
}

/// Installs packages by Debian's names. Says which before it does.
///
/// # Errors
/// This system has no `apt-get`, we may not, or it fails; the message says what to install.
pub(crate) fn install<T: AsRef<str>>(packages: &[T]) -> Result<()> {
    let packages: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    let names = packages.join(" ");
    println!("missing system packages: {names}");
    if find_program("apt-get").is_none() {
        bail!("install them; {}", advice());
    }
    let mut install = privilege::command("/bin/sh")
        .with_context(|| format!("run this as root: apt-get install --no-install-recommends {names}"))?;
    install.args(["-c", INSTALL, "sh"]).args(&packages);
    progress::run("installing packages", install)?.ok("apt-get")?;
    Ok(())
}

/// Debian's names; empty when all is there.
fn missing(pg_config: Option<&Path>, purpose: Purpose) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let major = match PgConfig::find(pg_config) {
        Ok(pg) => {
            if !pg.has_server() {
                missing.push(format!("postgresql-{}", pg.major));
            }
            if !pg.has_headers() {
                missing.push(format!("postgresql-server-dev-{}", pg.major));
            }
            if purpose.is_test() && pg.is_debians() {
                missing.extend(missing_languages(&pg));
            }
            Some(pg.major)
        }
        Err(_) => None,
    };
    if major.is_none() {
        let major = offered_major()?;
        missing.extend([format!("postgresql-{major}"), format!("postgresql-server-dev-{major}")]);
        if purpose.is_test() {
            missing.extend(LANGUAGES.iter().map(|name| format!("postgresql-{name}-{major}")));
        }
    }
    let tools = [
        ("gcc", find_program("cc").is_some()),
        ("libc6-dev", has_c_headers()),
        ("libclang-dev", has_libclang()),
    ];
    missing.extend(tools.iter().filter(|(_, found)| !found).map(|(name, _)| (*name).to_owned()));
    if find_program("pkg-config").is_none() {
        missing.push("pkg-config".to_owned());
    }
    if find_program("apt-get").is_some() {
        missing.extend(
            PROGRAMS
                .iter()
                .filter(|(_, name)| purpose.takes(name))
                .filter(|(_, name)| find_program(name).is_none())
                .map(|(package, _)| (*package).to_owned()),
        );
    }
    if purpose == Purpose::Fuzz && find_program("c++").is_none() {
        missing.push("g++".to_owned());
    }
    Ok(missing)
}

/// Package and program. Where no such packages exist, their tests fail or are skipped by name
/// (`cluster::skip`).
const PROGRAMS: [(&str, &str); 13] = [
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("python3-pip", "pip3"),
    ("nginx-light", "nginx"),
    ("caddy", "caddy"),
    ("haproxy", "haproxy"),
    ("chromium", "chromium"),
    ("firefox-esr", "firefox-esr"),
    ("nodejs", "node"),
    ("npm", "npm"),
    ("prometheus", "promtool"),
    ("nghttp2-client", "h2load"),
    ("valgrind", "valgrind"),
];

/// Languages that have a statement for messages, beside PL/pgSQL.
const LANGUAGES: [&str; 3] = ["plpython3", "plperl", "pltcl"];

fn missing_languages(pg: &PgConfig) -> impl Iterator<Item = String> {
    let is_there = |name: &&&str| pg.pkglibdir.join(format!("{name}.{}", pg.library_suffix())).is_file();
    LANGUAGES.iter().filter(move |name| !is_there(name)).map(|name| format!("postgresql-{name}-{}", pg.major))
}

/// The version to install: the first of [`MAJORS`] that the archive has.
fn offered_major() -> Result<u32> {
    if find_program("apt-cache").is_none() {
        return Ok(MAJORS[0]);
    }
    if let Some(major) = MAJORS.into_iter().find(|major| is_offered(*major)) {
        return Ok(major);
    }
    // A fresh image has no lists at all: fetch them, then look again.
    let mut update = privilege::command("apt-get")?;
    update.arg("update");
    progress::run("reading the package lists", update)?.ok("apt-get update")?;
    MAJORS.into_iter().find(|major| is_offered(*major)).context(
        "this system's archive has no PostgreSQL 15 to 18; add apt.postgresql.org (https://wiki.postgresql.org/wiki/Apt)",
    )
}

fn is_offered(major: u32) -> bool {
    let output =
        Command::new("apt-cache").args(["policy", &format!("postgresql-server-dev-{major}")]).output();
    output.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .any(|line| line.trim().strip_prefix("Candidate:").is_some_and(|found| found.trim() != "(none)"))
    })
}

fn has_c_headers() -> bool {
    cfg!(target_os = "macos") || Path::new("/usr/include/stdio.h").is_file()
}

/// bindgen loads libclang and needs the compiler's own headers beside it, which on Debian only the -dev
/// package has.
fn has_libclang() -> bool {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    if find_program("dpkg-query").is_some() {
        let query = Command::new("dpkg-query")
            .args(["-W", "-f=${db:Status-Status}\n", "libclang-dev", "libclang-*-dev"])
            .output();
        return query.is_ok_and(|output| {
            let states = String::from_utf8_lossy(&output.stdout).into_owned();
            states.lines().any(|state| state == "installed")
        });
    }
    let folders = [
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
        "/opt/homebrew/opt/llvm/lib",
        "/Library/Developer/CommandLineTools/usr/lib",
    ];
    folders.iter().any(|folder| holds_libclang(Path::new(folder)))
}

fn holds_libclang(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    let names = entries.flatten().map(|entry| PathBuf::from(entry.file_name()));
    names.into_iter().any(|name| {
        let name = name.to_string_lossy().into_owned();
        name.starts_with("libclang.so") || name.starts_with("libclang-") || name == "libclang.dylib"
    })
}

fn advice() -> &'static str {
    if cfg!(target_os = "macos") {
        return "with Homebrew: brew install postgresql@17 llvm pkg-config";
    }
    "on Fedora: dnf install postgresql-server postgresql-server-devel clang-devel gcc pkgconf; on Arch: pacman -S \
     postgresql clang gcc pkgconf; elsewhere: a PostgreSQL 15 to 18 with its server headers, libclang, a C compiler"
}
