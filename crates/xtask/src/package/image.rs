//! The folder for CloudNativePG's image volumes: `lib/pg_sse.so`, `share/extension/…`, `licenses/…`, as its
//! documentation lays it out ("Image Volume Extensions", image specifications), with the three lines of a
//! Dockerfile that make it an image.
//!
//! PostgreSQL 18 alone: older servers do not look for extensions in folders of our choice.
//!
//! Not for the image itself: that needs a registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};
use cluster::{Cluster, Install, PgConfig, Scratch};

use super::hears::hears;
use super::payload::{self, Payload};
use super::{VERSION, pack, succeed};

const DOCKERFILE: &str =
    "FROM scratch\nCOPY licenses /licenses/\nCOPY lib /lib/\nCOPY share /share/\nUSER 65532:65532\n";

/// Makes the packed folder and returns where it is.
pub(super) fn make(payload: &Payload, folder: &Path) -> Result<PathBuf> {
    let tree = folder.join("image.tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    payload.put_extension(&tree, "lib/pg_sse.so", "share/extension")?;
    payload.put_licenses(&tree.join("licenses/pg_sse"))?;
    payload::write(&tree.join("Dockerfile"), DOCKERFILE)?;
    let packed =
        folder.join(format!("pg_sse-{VERSION}-image-pg{}-{}.tar.gz", payload.major, std::env::consts::ARCH));
    pack(&tree, &packed)?;
    fs::remove_dir_all(&tree)?;
    Ok(packed)
}

/// A server without pg_sse among its files, which gets the folder as CloudNativePG mounts it: settings name
/// `lib` and `share`, nothing is copied.
pub(super) fn check(packed: &Path, pg: &PgConfig) -> Result<()> {
    let install = Arc::new(Install::of(pg)?);
    let scratch = Scratch::create(install.account())?;
    let mount = scratch.path().join("extensions/pg_sse");
    fs::create_dir_all(&mount)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(packed).arg("-C").arg(&mount);
    succeed(unpack)?;
    let place = |name: &str| mount.join(name).display().to_string();
    let cluster = Cluster::builder()
        .install(install)
        .stock()
        .setting("extension_control_path", format!("$system:{}", place("share")))
        .setting("dynamic_library_path", format!("$libdir:{}", place("lib")))
        .setting("shared_preload_libraries", "pg_sse")
        .setting("sse.port", "0")
        .start()?;
    cluster.sql("create extension pg_sse")?;
    ensure!(!cluster.install().pg_config().pkglibdir.join("pg_sse.so").exists(), "it was found elsewhere");
    hears(&cluster)?;
    println!("  a server that mounts it creates the extension, and an event arrives");
    Ok(())
}
