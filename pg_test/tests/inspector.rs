//! The inspector in Chromium and Firefox, on a running server (C8.2): `pg_test/browsers/inspector.test.mjs`.
//!
//! Not for how its files are served: `inspector_page.rs`.

mod common;

use anyhow::{Context, Result};
use cluster::{lasting_port, workspace_root};
use common::admin::{Admin, TOKEN, open};
use common::{announcer, calls, control};

const FILE: &str = env!("CARGO_CRATE_NAME");

/// A server with streams, calls, and a mistake in a comment.
fn furnished(port: u16) -> Result<Admin> {
    let admin = open(calls::builder().setting("sse.port", port), calls::start)?;
    let sql = |text: &str| admin.cluster.sql(text);
    sql(&announcer("heard", "@sse"))?;
    // A comment of somebody who hopes that a problem is shown as HTML.
    sql(&announcer("mistaken", "@sse\n@sse_level <img/src=x/onerror=pwned=1>"))?;
    sql(
        "create function fails(said text) returns int language plpgsql as $f$ begin raise '%', said; end $f$;
         comment on function fails(text) is 'HTTP GET
@anonymous'",
    )?;
    Ok(admin)
}

#[test]
fn the_inspector_does_in_browsers_what_its_page_says() -> Result<()> {
    let arguments = ["--test", "inspector.test.mjs"];
    in_browsers(&arguments, "inspector")
}

/// Not a test: makes the picture of docs/inspector.md. `cargo test -p pg-test --test inspector -- --ignored`
///
/// In full colour it is too large; the one in docs has a palette of 256.
#[test]
#[ignore = "writes docs/images/inspector.png"]
fn by_hand_the_picture_is_of_a_server_as_it_runs() -> Result<()> {
    let file = workspace_root().join("docs/images/inspector.png");
    let file = file.to_str().context("a path")?;
    in_browsers(&["screenshot.mjs", "inspector", file], "inspector-picture")
}

/// Runs a script of `pg_test/browsers` on such a server.
fn in_browsers(arguments: &[&str], name: &str) -> Result<()> {
    let Some((mut node, folder)) = control::with_browsers(FILE)? else { return Ok(()) };
    // What the scripts know of the server stays right when it is restarted.
    let port = lasting_port()?;
    let admin = furnished(port)?;
    node.args(arguments)
        .env("PG_SSE_URL", format!("http://127.0.0.1:{}", admin.port))
        .env("PG_SSE_TOKEN", TOKEN)
        .env("PG_SSE_PUBLIC_URL", format!("http://127.0.0.1:{port}"));
    let log = folder.with_extension(format!("{name}.log"));
    control::run(&admin.cluster, node, &log, || calls::ready(&admin.cluster))
        .with_context(|| admin.cluster.log().unwrap_or_default())
}
