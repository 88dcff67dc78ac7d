//! The recipes of `docs/recipes/` that are about long calls: their SQL, run as it stands there. The pages are
//! in `recipes_pages.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, EventStream, Request};
use cluster::{Cluster, PATIENCE, wait_for};
use common::SOON;
use common::calls::{builder, start};
use common::recipe::{block, run};
use serde_json::{Value, json};

fn post(path: &str) -> Request {
    Request::new("POST", path).header("Sec-Fetch-Site", "same-origin")
}

/// Starts a job, and says where it can be followed.
fn begin(http: Client, request: Request) -> Result<String> {
    let answer = http.request(&request.header("Prefer", "respond-async").json(&json!({ "pages": 50 })))?;
    ensure!(answer.status() == 202, "{} {}", answer.status(), answer.text());
    Ok(answer.header("location").context("no Location")?.to_owned())
}

/// The last event of a job: its name and its data.
fn end_of(stream: &mut EventStream) -> Result<(String, String)> {
    loop {
        let event = stream.next(2 * SOON)?;
        if event.event.starts_with("sse.") && event.event != "sse.ready" {
            return Ok((event.event, event.data));
        }
    }
}

#[test]
fn a_job_tells_its_progress_and_its_result_also_after_a_reload() -> Result<()> {
    let cluster = start(builder())?;
    run(&cluster, &block("job.md", "sql", 0)?)?;
    let http = cluster.http()?;
    let location = begin(http, post("/api/make-report"))?;
    http.events(&location)?.next_data(3, SOON)?;
    let mut reloaded = http.events(&location)?;
    let wanted: Vec<String> = (1..=50).map(|page| (2 * page).to_string()).collect();
    ensure!(reloaded.next_data(50, 2 * SOON)? == wanted, "its progress");
    let end = reloaded.next(SOON)?;
    ensure!((end.event.as_str(), end.data.as_str()) == ("sse.result", "50 pages"), "{end:?}");
    Ok(())
}

#[test]
fn a_job_runs_once_at_a_time_for_each_user_and_can_be_stopped() -> Result<()> {
    // Two jobs at once, and a worker for the others.
    let cluster = start(builder().setting("sse.call_workers", 3))?;
    run(&cluster, &block("job.md", "sql", 0)?)?;
    run(&cluster, &block("job.md", "sql", 1)?)?;
    let http = cluster.http()?;
    let job = |token: &str| post("/api/make-one-report").bearer(token);
    let follow = |token: &str, location: &str| http.events_with(&Request::get(location).bearer(token));
    let stop = |token: &str| -> Result<String> {
        let request = post("/api/stop-report").bearer(token);
        Ok(http.request(&request.json(&json!({})))?.text())
    };
    let alice = cluster.sql("select sse.issue_token('alice')")?;
    let bob = cluster.sql("select sse.issue_token('bob')")?;
    let first = begin(http, job(&alice))?;
    let mut first = follow(&alice, &first)?;
    first.next_data(1, SOON)?;
    let second = begin(http, job(&alice))?;
    let (name, data) = end_of(&mut follow(&alice, &second)?)?;
    let problem: Value = serde_json::from_str(&data)?;
    ensure!(name == "sse.error" && problem["status"] == 409, "{name} {data}");
    ensure!(problem["detail"] == "your report is being made already", "{data}");
    ensure!(stop(&bob)? == "false", "another one's job is stopped");
    ensure!(stop(&alice)? == "true", "no job is stopped");
    let (name, data) = end_of(&mut first)?;
    ensure!(name == "sse.error", "{name} {data}");
    ensure!(stop(&alice)? == "false", "there is still a job");
    // The place is free again.
    wait_for(PATIENCE, "a job begins", || {
        let location = begin(http, job(&alice))?;
        let mut stream = follow(&alice, &location)?;
        stream.next(SOON)?;
        Ok((stream.next(SOON)?.event == "message").then_some(()))
    })
}

#[test]
fn a_logout_ends_no_job_and_whoever_comes_back_can_follow_it() -> Result<()> {
    let cluster = start(builder())?;
    run(&cluster, &block("job.md", "sql", 0)?)?;
    run(&cluster, &block("badge.md", "sql", 0)?)?;
    cluster.sql(
        "create function logout() returns void language sql as '';
         comment on function logout() is E'HTTP POST\n@logout\n@anonymous'",
    )?;
    let http = cluster.http()?;
    let log_in = || -> Result<String> {
        let answer = http.request(&post("/api/log-in").json(&json!({ "name": "alice" })))?;
        Ok(format!("sse_session={}", answer.head.cookie("sse_session").context("no cookie")?))
    };
    let cookie = log_in()?;
    let location = begin(http, post("/api/make-report").header("Cookie", &cookie))?;
    let follow = |cookie: &str| http.events_with(&Request::get(&location).header("Cookie", cookie));
    let mut open = follow(&cookie)?;
    open.next_data(1, SOON)?;
    let answer = http.request(&post("/api/logout").header("Cookie", &cookie).json(&json!({})))?;
    ensure!(answer.status() < 300, "{}", answer.text());
    open.wait_for_end(SOON)?;
    let head = http.request(&Request::new("HEAD", &location).header("Cookie", &cookie))?;
    ensure!(head.status() == 401, "the old session: {}", head.status());
    ensure!(end_of(&mut follow(&log_in()?)?)? == ("sse.result".to_owned(), "50 pages".to_owned()));
    Ok(())
}

#[test]
fn an_answer_comes_word_by_word_and_then_as_a_whole() -> Result<()> {
    let cluster: Cluster = start(builder())?;
    run(&cluster, &block("tokens.md", "sql", 0)?)?;
    let ask = post("/api/ask").header("Accept", "text/event-stream").json(&json!({ "question": "and why?" }));
    let mut stream = cluster.http()?.events_with(&ask)?;
    let events = stream.wait_for_end(SOON)?;
    let tokens: Vec<&str> =
        events.iter().filter(|event| event.event == "token").map(|event| event.data.as_str()).collect();
    ensure!(tokens == ["You ", "asked: ", "and ", "why?"], "{tokens:?}");
    let last = events.last().context("no event")?;
    ensure!(last.event == "sse.result" && last.data == "You asked: and why?", "{last:?}");
    Ok(())
}
