//! The PostgreSQL versions that this machine does not come with: servers to test on, and headers to compile
//! against.
//!
//! | version | from |
//! |---|---|
//! | 15 | the archive of this system |
//! | 16 | a Python package that holds it and 18, with headers: seconds, where building it takes minutes |
//! | 17 | a Python package with contrib, and Debian's package of the headers |
//! | 18 | Debian's source, built with assertions; headers alone: the package that holds 16, too |
//!
//! All but what the archive installs stays below `target/postgres/`, and is had once.
//!
//! 19 needs a newer pgrx than this toolchain can build.
//!
//! Not for choosing among those that are here: `PgConfig::find`.

mod archive;
mod source;
mod wheel;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cluster::{PgConfig, workspace_root};

use crate::{build, packages};

pub(crate) use source::folder_of as source_of;

/// The version that is tested with assertions, and whose own regression suite is run: built from source.
pub(crate) const ASSERTING: u32 = 18;

/// A server of this version with its headers; had now, unless it is here.
///
/// # Errors
/// It cannot be had here: no network, no archive that has it, no tools to build it with.
pub(crate) fn server(major: u32) -> Result<PgConfig> {
    if major == ASSERTING { whole(major, source::server(major)?) } else { headers(major) }
}

/// The headers of this version, with whatever server comes with them soonest.
pub(crate) fn headers(major: u32) -> Result<PgConfig> {
    let installed = PgConfig::read(&packages::path_of(major)).ok().filter(PgConfig::has_headers);
    let found = match installed {
        Some(found) if found.has_server() => found,
        _ if major == 15 => packages::ensure_major(major)?,
        _ => wheel::server(major)?,
    };
    whole(major, found)
}

/// The files of `pg_test/tests` and `pg_test/cluster/tests` of which tests may be skipped on one of our own,
/// because it comes without procedural languages but PL/pgSQL, and 16 without contrib and libxml.
pub(crate) fn may_skip(pg: &PgConfig) -> &'static [&'static str] {
    if pg.path.starts_with(folder("")) { without(pg.major) } else { &[] }
}

fn without(major: u32) -> &'static [&'static str] {
    match major {
        16 => &[
            "call_changes",
            "call_traces",
            "capture_hooks",
            "capture_languages",
            "chat",
            "examples",
            "pages",
            "row_changes",
            "row_changes_tables",
            "scope_caller",
            "stock_cluster",
            "wal_written",
        ],
        _ => &["capture_languages"],
    }
}

fn whole(major: u32, found: PgConfig) -> Result<PgConfig> {
    if found.major != major || !found.has_server() || !found.has_headers() {
        bail!("{} is no whole PostgreSQL {major}", found.path.display());
    }
    Ok(found)
}

/// A folder of ours, absolute.
fn folder(name: &str) -> PathBuf {
    workspace_root().join(build::target_folder()).join("postgres").join(name)
}

/// Where the `pg_config` of an installation is.
fn pg_config_in(installation: &Path) -> PathBuf {
    installation.join("bin/pg_config")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_skipped_are_files_of_tests() {
        let is_file = |name: &str| {
            ["pg_test/tests", "pg_test/cluster/tests"]
                .iter()
                .any(|folder| workspace_root().join(folder).join(format!("{name}.rs")).is_file())
        };
        for name in [16, 17, 18].into_iter().flat_map(without) {
            assert!(is_file(name), "{name}");
        }
    }
}
