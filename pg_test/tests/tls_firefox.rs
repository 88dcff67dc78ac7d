//! HTTPS by the gateway itself in Firefox (C1.6), which trusts an authority of the test's own: by enterprise
//! policy, as the administrator of a firm would have it, in a copy of Firefox that nobody else uses.
//!
//! Not for Chromium and for programs: `tls.rs`. What the page does is in `pg_test/browsers/https.test.mjs`.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::http::{Authority, Client, Transport, Trust};
use cluster::{
    Cluster, PATIENCE, Scratch, find_program, has_node, lasting_port, node_package, skip, wait_for,
};
use common::{announcer, control};

const FILE: &str = env!("CARGO_CRATE_NAME");

/// Everything of an installation by links, but its program, which looks for its policies beside itself.
fn copy_of(program: &Path, folder: &Path, authority: &Path) -> Result<PathBuf> {
    let program = program.canonicalize()?;
    let name = program.file_name().context("no name")?;
    for entry in fs::read_dir(program.parent().context("no folder")?)? {
        let entry = entry?;
        if entry.file_name() != name && entry.file_name() != "distribution" {
            symlink(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    fs::create_dir(folder.join("distribution"))?;
    let policies = serde_json::json!({ "policies": { "Certificates": { "Install": [authority] } } });
    fs::write(folder.join("distribution/policies.json"), policies.to_string())?;
    let copy = folder.join(name);
    fs::copy(&program, &copy)?;
    Ok(copy)
}

#[test]
fn a_page_in_firefox_hears_events_over_https_and_comes_back_to_another_certificate() -> Result<()> {
    if !has_node() {
        return skip(FILE, "Node with npm");
    }
    let Some(firefox) = find_program("firefox-esr").or_else(|| find_program("firefox")) else {
        return skip(FILE, "Firefox");
    };
    let port = lasting_port()?;
    let cluster = Cluster::builder().transport(Transport::Plain).setting("sse.port", port).prepare()?;
    let authority = Authority::make(cluster.home())?;
    let file = |name: &str| cluster.home().join(name);
    for name in ["site", "next"] {
        let (certificate, key) = (file(&format!("{name}.crt")), file(&format!("{name}.key")));
        authority.sign(&certificate, &key)?;
        cluster.install().account().give(&certificate)?;
        cluster.install().account().give(&key)?;
    }
    for (setting, name) in
        [("sse.tls_certificate_file", "site.crt"), ("sse.tls_private_key_file", "site.key")]
    {
        cluster.configure(setting, &file(name).to_string_lossy())?;
    }
    // Firefox shows JSON by a page of its own, which is of another origin.
    let www = Scratch::create(cluster.install().account())?;
    fs::write(www.path().join("index.html"), "<!doctype html><title>A page</title>")?;
    cluster.configure("sse.static_root", &www.path().to_string_lossy())?;
    cluster.start()?;
    cluster.sql("create extension pg_sse")?;
    cluster.sql(&announcer("f", "@sse"))?;
    let folder = tempfile::tempdir()?;
    let firefox = copy_of(&firefox, folder.path(), authority.certificate())?;
    let package = node_package("pg_test/browsers")?;
    let home = cluster.home().display();
    let renew = format!(
        "copy (select 1) to program 'mv {home}/next.crt {home}/site.crt && mv {home}/next.key {home}/site.key'; \
         select pg_reload_conf()"
    );
    let mut tests = cluster::node()?;
    tests
        .args(["--test", "https.test.mjs"])
        .current_dir(&package)
        .env("FIREFOX", firefox)
        .env("PG_SSE_RENEW", renew)
        .env("PG_SSE_URL", format!("https://localhost:{port}"));
    let http = Client::new(port).trusting(Trust::in_file(authority.certificate())?);
    let ready = || {
        wait_for(PATIENCE, "it serves", || {
            Ok(http.get("/healthz").is_ok_and(|answer| answer.status() == 200).then_some(()))
        })
    };
    ready()?;
    let log = package.with_extension("https.log");
    control::run(&cluster, tests, &log, ready).with_context(|| cluster.log().unwrap_or_default())
}
