//! The npm package against a real gateway: runs `clients/js/test/gateway`, and does to the server what its
//! tests ask for.
//!
//! Not for what needs no gateway: the package's own `npm test`.

mod common;

use std::fs;

use anyhow::{Result, ensure};
use cluster::{has_node, lasting_port, node_package, skip};
use common::{calls, control, node};

#[test]
fn the_package_loses_and_doubles_nothing_on_a_real_gateway() -> Result<()> {
    if !has_node() {
        return skip(env!("CARGO_CRATE_NAME"), "Node with npm");
    }
    let port = lasting_port()?;
    let builder = calls::builder()
        .setting("sse.port", port.to_string())
        .setting("sse.retry", "100ms")
        .setting("sse.window_size", "1MB")
        .setting("sse.ring_size", "1MB")
        .setting("sse.max_event_size", "64kB");
    let cluster = calls::start(builder)?;
    let folder = node_package("clients/js")?;
    // For the pages, which load it as it is published.
    node::run(&folder, &["node_modules/typescript/bin/tsc", "-p", "."])?;
    let mut tests = cluster::node()?;
    tests
        .args(["node_modules/vitest/vitest.mjs", "run", "--config", "test/gateway/vitest.config.ts"])
        .current_dir(&folder)
        .env("PG_SSE_GATEWAY", format!("http://127.0.0.1:{port}"))
        .env("PG_SSE_ROOT", cluster::workspace_root());
    control::run(&cluster, tests, &folder.with_extension("gateway.log"), || calls::ready(&cluster))
}

/// The linter does not know the compiler that the package is built with, so it has one of its own, in
/// `pg_test/node`.
#[test]
fn the_package_pleases_the_recommended_linter() -> Result<()> {
    if !has_node() {
        return skip(env!("CARGO_CRATE_NAME"), "Node with npm");
    }
    let folder = node::folder("pg_test/node", "clients-js")?;
    let mut count = 0;
    for part in ["src", "src/testing"] {
        fs::create_dir_all(folder.join(part))?;
        for file in fs::read_dir(cluster::workspace_root().join("clients/js").join(part))? {
            let file = file?;
            if file.file_type()?.is_file() {
                fs::copy(file.path(), folder.join(part).join(file.file_name()))?;
                count += 1;
            }
        }
    }
    ensure!(count > 20, "{count} files");
    node::run_beside(
        &folder,
        &["node_modules/eslint/bin/eslint.js", "--max-warnings", "0", "dist/clients-js"],
    )
}
