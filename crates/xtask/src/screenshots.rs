//! `cargo xtask screenshots`: the pictures of the examples that README and docs show. What is on a page when
//! it is taken is in `pg_test/browsers/scenes/`.
//!
//! Not for comparing pages with pictures: fonts differ from machine to machine.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Profile, node_package, workspace_root};
use example::Example;

use crate::packages::{self, Purpose};
use crate::{build, progress};

/// In bytes. Pictures are in every clone for good, and pages with them are to be there at once.
const LARGEST: u64 = 150_000;

/// Of all examples, or of those that are named.
///
/// # Errors
/// One cannot be run, has no scene, or its picture is too large.
pub(crate) fn run(names: &[String], pg_config: Option<&Path>) -> Result<()> {
    let examples = match names {
        [] => Example::all()?,
        names => names.iter().map(|name| Example::named(name)).collect::<Result<_>>()?,
    };
    let pg = packages::ensure(pg_config, Purpose::Test)?;
    let install = build::installed(&pg, Profile::Test)?;
    let folder = node_package("pg_test/browsers")?;
    let images = workspace_root().join("docs/images");
    fs::create_dir_all(&images)?;
    for example in examples {
        let running = example.start(Cluster::builder().install(Arc::clone(&install)))?;
        let file = images.join(example.name()).with_extension("png");
        let mut node = cluster::node()?;
        node.arg("screenshot.mjs").arg(example.name()).arg(&file).current_dir(&folder);
        node.env("PG_SSE_URL", running.url()?);
        progress::run(example.name(), node)?.ok("screenshot.mjs")?;
        let size = fs::metadata(&file).with_context(|| file.display().to_string())?.len();
        ensure!(size <= LARGEST, "{} has {size} bytes, more than {LARGEST}", file.display());
        println!("{}, {size} bytes", file.display());
    }
    Ok(())
}
