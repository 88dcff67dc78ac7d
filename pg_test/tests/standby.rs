//! What a hot standby serves with `sse.durability = wal`: streams and calls of the routines that are
//! replayed, by the same tokens; and what it sends to the primary (C10.5).
//!
//! Not for the events of its streams, which come through the log.

mod common;

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, Request};
use cluster::{Cluster, PATIENCE, wait_until};
use common::calls::{ROLE, builder, start};
use common::tokens::{ALICE, get, issue, listen, status_of};
use common::{SOON, announcer, is_problem, wait_for_status};

/// Where the primary is, as browsers would have to know it.
const PRIMARY_URL: &str = "https://primary.example:8443";

struct Tree {
    primary: Cluster,
    standby: Cluster,
}

/// A primary and a standby of it, which end with the process.
fn tree() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(|| plant().unwrap_or_else(|error| panic!("no primary and standby: {error:#}")))
}

fn plant() -> Result<Tree> {
    let primary = start(builder().setting("sse.durability", "wal").setting("max_worker_processes", 16))?;
    primary.sql(&announcer("news", "@sse"))?;
    primary.sql(&announcer("closed", "@sse\n@authorize"))?;
    primary.sql(&format!(
        "create table note (body text); grant all on note to {ROLE};
         create function greet(name text) returns text language sql as 'select ''hello '' || name';
         comment on function greet(text) is 'HTTP POST';
         create function write_down(body text) returns void language sql as 'insert into note values (body)';
         comment on function write_down(text) is 'HTTP POST\n@sse';
         create function get_written() returns void language sql as 'insert into note values (''x'')';
         comment on function get_written() is 'HTTP';
         create function link() returns void language sql as 'insert into note values (''x'')';
         comment on function link() is 'HTTP GET';
         create function says_so() returns void language plpgsql as
             'begin raise sqlstate ''25006''; end';
         comment on function says_so() is 'HTTP POST';
         create function logout() returns void language sql as '';
         comment on function logout() is 'HTTP POST\n@logout'; "
    ))?;
    let standby = primary.standby()?;
    standby.configure("sse.primary_url", PRIMARY_URL)?;
    standby.start()?;
    standby.wait_for_replay(&primary)?;
    wait_for_status(standby.http()?, "/api/news/info", 200, PATIENCE)?;
    let http = standby.http()?;
    wait_until(PATIENCE, "the standby takes calls", || {
        call(http, "/api/greet", r#"{"name": "x"}"#).is_ok_and(|answer| answer.status() == 200)
    })?;
    Ok(Tree { primary, standby })
}

fn call(http: Client, path: &str, body: &str) -> Result<cluster::http::Response> {
    http.request(&post(path, body))
}

fn post(path: &str, body: &str) -> Request {
    Request::new("POST", path).header("content-type", "application/json").body(body)
}

#[test]
fn a_call_that_reads_is_answered_by_the_standby_and_one_that_writes_is_sent_to_the_primary() -> Result<()> {
    let http = tree().standby.http()?;
    let answer = call(http, "/api/greet", r#"{"name": "standby"}"#)?;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello standby"));
    for (request, to) in [
        (post("/api/write-down", r#"{"body": "x"}"#), "/api/write-down"),
        (Request::get("/api/link?"), "/api/link?"),
    ] {
        let answer = http.request(&request)?;
        is_problem(&answer, 307, to)?;
        assert_eq!(answer.header("location"), Some(format!("{PRIMARY_URL}{to}").as_str()));
    }
    // It would be an answer there, too: a GET whose comment names no method may not write anywhere (C7.4).
    let answer = http.request(&Request::get("/api/get-written"))?;
    is_problem(&answer, 500, "READ ONLY")?;
    ensure!(answer.text().contains("its GET may not"), "{}", answer.text());
    // What a routine says itself is its own business.
    is_problem(&call(http, "/api/says-so", "{}")?, 500, "its own")?;
    assert_eq!(tree().primary.sql("select count(*) from note")?, "0", "and none of it was done");
    Ok(())
}

#[test]
fn what_is_known_to_write_is_not_even_tried_on_a_standby() -> Result<()> {
    let http = tree().standby.http()?;
    let later = post("/api/write-down", r#"{"body": "x"}"#).header("prefer", "respond-async");
    let answer = http.request(&later)?;
    is_problem(&answer, 307, "respond-async")?;
    assert_eq!(answer.header("location"), Some(format!("{PRIMARY_URL}/api/write-down").as_str()));
    // Of a streamed call it shows when the stream has begun: then it is its last event.
    let streamed = post("/api/write-down", r#"{"body": "x"}"#).header("accept", "text/event-stream");
    let mut stream = http.events_with(&streamed)?;
    let last = stream.wait_for_end(SOON)?.pop().context("no last event")?;
    assert_eq!(last.event, "sse.error");
    let problem: serde_json::Value = serde_json::from_str(&last.data)?;
    assert_eq!(problem["status"], 307, "{problem}");
    assert_eq!(problem["location"], format!("{PRIMARY_URL}/api/write-down"), "{problem}");
    Ok(())
}

#[test]
fn a_token_of_one_server_opens_streams_of_the_other() -> Result<()> {
    let Tree { primary, standby } = tree();
    let of_primary = issue(primary, ALICE)?;
    let of_standby = issue(standby, ALICE)?;
    for server in [primary, standby] {
        assert_eq!(status_of(server.http()?, &get("/api/closed/info", None))?, 401);
        for token in [&of_primary, &of_standby] {
            listen(server.http()?, "/api/closed/info", Some(token))?;
        }
    }
    Ok(())
}
