//! A PostgreSQL built from Debian's source package with assertions on: what the extension calls is checked on
//! the way.
//!
//! Not for speed: neither building it (minutes, once) nor running it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use cluster::{PgConfig, find_program};

use super::archive::{self, Kind};
use super::{folder, pg_config_in};
use crate::{packages, progress};

/// What building PostgreSQL needs beyond what building the extension does.
const TOOLS: [&str; 3] = ["bison", "flex", "make"];

/// And the library of its type `xml`, as pkg-config and as Debian name it.
const LIBXML: (&str, &str) = ("libxml-2.0", "libxml2-dev");

/// Builds server, `pg_regress`, the libraries that its tests load, and of contrib what our tests want.
/// OpenSSL's headers are there where those of the server are: Debian's package of libpq's wants them. `$1` is
/// the folder to install into.
const MAKE: &str = r#"
    set -e
    rm -rf source
    mkdir source
    tar -xf *.orig.tar.* -C source --strip-components=1
    cd source
    ./configure --prefix="$1" --enable-cassert --enable-debug --without-icu --without-readline --without-zlib \
        --with-ssl=openssl --with-libxml CFLAGS='-O1 -g'
    make -s -j"$(nproc)"
    make -s install
    make -s -C src/test/regress
    for module in spi citext hstore pgcrypto pg_stat_statements auto_explain test_decoding dblink postgres_fdw; do
        make -s -C "contrib/$module"
        make -s -C "contrib/$module" install
    done
"#;

/// The server of this version with assertions; built now, unless it is here.
pub(super) fn server(major: u32) -> Result<PgConfig> {
    let installed = folder(&format!("{major}-assertions"));
    // Written when everything is in its place.
    let whole = installed.join("whole");
    if !whole.is_file() {
        let mut missing: Vec<&str> = TOOLS.into_iter().filter(|name| find_program(name).is_none()).collect();
        if !has_libxml() {
            missing.push(LIBXML.1);
        }
        if !missing.is_empty() {
            packages::install(&missing)?;
        }
        archive::fetch(Kind::Source, major, &format!("postgresql-{major}"), &downloads(major))?;
        let mut make = Command::new("/bin/sh");
        make.args(["-c", MAKE, "sh"]).arg(&installed).current_dir(downloads(major));
        progress::run(&format!("building PostgreSQL {major} with assertions"), make)?.ok("make")?;
        fs::write(whole, "")?;
    }
    PgConfig::read(&pg_config_in(&installed))
}

fn has_libxml() -> bool {
    let asked = Command::new("pkg-config").args(["--exists", LIBXML.0]).status();
    asked.is_ok_and(|status| status.success())
}

/// The built source of [`server`].
pub(crate) fn folder_of(major: u32) -> PathBuf {
    downloads(major).join("source")
}

fn downloads(major: u32) -> PathBuf {
    folder(&format!("{major}-assertions-source"))
}
