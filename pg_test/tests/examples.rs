//! The pages of `examples/` in Chromium and Firefox: runs `pg_test/browsers/NAME.test.mjs`, and does to the
//! server what it asks for. Each is used by keyboard, in a second tab, on a narrow phone, by several people,
//! while the server is restarted.
//!
//! Not for what needs no browser: `cargo xtask demo --check`.

mod common;

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use cluster::{Cluster, has_node, lasting_port, node_package, skip};
use common::{control, has_extension};
use example::Example;

const FILE: &str = env!("CARGO_CRATE_NAME");

/// One at a time: a few browsers side by side, on two cores, are slower than one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Runs the tests of one example.
fn in_browsers(name: &str) -> Result<()> {
    if !has_node() {
        return skip(FILE, "Node with npm");
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Pages know one port: the gateway comes back to it.
    let builder = Cluster::builder().setting("sse.port", lasting_port()?);
    let running = Example::named(name)?.start(builder)?;
    let folder = node_package("pg_test/browsers")?;
    let mut tests = cluster::node()?;
    tests
        .arg("--test")
        .arg(format!("{name}.test.mjs"))
        .current_dir(&folder)
        .env("PG_SSE_URL", running.url()?);
    let log = folder.with_extension(format!("{name}.log"));
    control::run(&running.cluster, tests, &log, || running.wait_for_calls()).with_context(|| running.log())
}

#[test]
fn the_chat_is_for_those_who_are_in_it_and_survives_what_happens_to_it() -> Result<()> {
    if !has_extension(FILE, "pgcrypto")? {
        return Ok(());
    }
    in_browsers("chat")
}

#[test]
fn the_counter_is_right_on_every_page() -> Result<()> {
    in_browsers("counter")
}

#[test]
fn the_feed_shows_every_row_that_is_inserted() -> Result<()> {
    in_browsers("feed")
}

#[test]
fn the_newsletter_follows_every_change_of_its_table() -> Result<()> {
    in_browsers("newsletter")
}

#[test]
fn the_import_is_shown_in_every_tab_whatever_happens_to_it() -> Result<()> {
    in_browsers("progress")
}
