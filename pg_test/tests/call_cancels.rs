//! Calls that end before they are done: whose time is over, and those that somebody has cancelled (C7.4).
//!
//! Not for callers that go away: `call_lives.rs` has those.

mod common;

use std::thread;

use anyhow::{Result, ensure};
use cluster::http::Request;
use cluster::{PATIENCE, wait_for};
use common::calls::{Api, builder, start};

/// Runs longer than any test.
const SLOW: &str = "create function slow() returns void language sql as 'select pg_sleep(600)';
    comment on function slow() is 'HTTP POST'";

#[test]
fn a_call_whose_time_is_over_is_told_so_and_the_log_names_the_setting() -> Result<()> {
    let cluster = start(builder().setting("sse.call_timeout", "500ms"))?;
    let api = Api::of(&cluster, "late")?;
    api.sql(SLOW)?;
    let answer = api.http.within(PATIENCE).request(&Request::new("POST", &api.path("slow")))?;
    ensure!(answer.status() == 504 && answer.json()?["detail"] == "The call took too long.", "{answer:?}");
    ensure!(answer.json()?["sqlstate"] == "57014", "{answer:?}");
    let line = "LOG:  pg_sse: late.slow has run longer than sse.call_timeout";
    ensure!(cluster.log()?.matches(line).count() == 1, "{}", cluster.log()?);
    // The role's own limit is another setting.
    cluster.sql("alter role app set statement_timeout = '100ms'")?;
    cluster.sql("select pg_reload_conf()")?;
    wait_for(PATIENCE, "the role's limit", || {
        let answer = api.http.within(PATIENCE).request(&Request::new("POST", &api.path("slow")))?;
        ensure!(answer.json()?["detail"] == "The call took too long.", "{answer:?}");
        let log = cluster.log()?;
        let own = log.matches("canceling statement due to statement timeout").count();
        Ok((own > log.matches(line).count()).then_some(()))
    })
}

#[test]
fn a_call_that_somebody_has_cancelled_is_told_so() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "cancelled")?;
    api.sql(SLOW)?;
    let (http, path) = (api.http, api.path("slow"));
    let call = thread::spawn(move || http.within(PATIENCE).request(&Request::new("POST", &path)));
    let cancels = "select coalesce(bool_or(pg_cancel_backend(pid)), false) from pg_stat_activity
                   where query like '%cancelled.slow%' and pid <> pg_backend_pid()";
    cluster.comes_to(PATIENCE, "the call is cancelled", cancels, "t")?;
    let answer = call.join().map_err(|_| anyhow::anyhow!("the caller has panicked"))??;
    ensure!(answer.status() == 504 && answer.json()?["detail"] == "The call was cancelled.", "{answer:?}");
    ensure!(answer.json()?["sqlstate"] == "57014", "{answer:?}");
    ensure!(!cluster.log()?.contains("longer than sse.call_timeout"));
    Ok(())
}
