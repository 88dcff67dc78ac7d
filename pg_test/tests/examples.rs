//! The pages of `examples/` in Chromium and Firefox: runs `pg_test/browsers/NAME.test.mjs`, and does to the
//! server what it asks for. Each is used by keyboard, in a second tab, on a narrow phone, by several people,
//! while the server is restarted.
//!
//! Not for what needs no browser: `cargo xtask demo --check`.

mod common;

use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, lasting_port};
use common::{control, has_extension};
use example::Example;

const FILE: &str = env!("CARGO_CRATE_NAME");

/// One at a time: a few browsers side by side, on two cores, are slower than one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Runs the tests of one example.
fn in_browsers(name: &str) -> Result<()> {
    let Some((mut tests, folder)) = control::with_browsers(FILE)? else { return Ok(()) };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Pages know one port: the gateway comes back to it.
    let builder = Cluster::builder().setting("sse.port", lasting_port()?);
    let running = Example::named(name)?.start(builder)?;
    tests.arg("--test").arg(format!("{name}.test.mjs")).env("PG_SSE_URL", running.url()?);
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

#[test]
fn the_dashboard_shows_what_is_in_the_table_and_who_looks_on() -> Result<()> {
    in_browsers("dashboard")
}

/// `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_dashboard_is_compiled_against_what_the_server_says_of_its_sql() -> Result<()> {
    let folder = Example::named("dashboard")?.folder().to_owned();
    let cluster = Cluster::builder().setting("sse.call_role", "app").start()?;
    let mut psql = cluster.psql();
    let output = psql.args(["-X", "-q", "-f"]).arg(folder.join("setup.sql")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = format!("{}\n", cluster.sql("select sse.typescript_client('depot')")?.trim_end());
    let file = folder.join("src/client.ts");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &made)?;
    }
    ensure!(fs::read_to_string(&file)? == made, "{} is old: set UPDATE_GOLDEN=1", file.display());
    Ok(())
}
