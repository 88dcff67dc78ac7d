//! The recipes of `docs/recipes/` that are about long calls, run as they stand there.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use common::SOON;
use common::calls::{builder, start};
use common::recipe::set_up;
use serde_json::json;

#[test]
fn the_recipes_of_long_calls_do_what_they_say() -> Result<()> {
    let cluster = start(builder())?;
    for recipe in ["job.md", "tokens.md"] {
        set_up(&cluster, recipe)?;
    }
    let http = cluster.http()?;
    let post = |path: &str, header: (&str, &str)| {
        Request::new("POST", path).header("Sec-Fetch-Site", "same-origin").header(header.0, header.1)
    };
    // The job, and a reload in the middle.
    let job = post("/api/make-report", ("Prefer", "respond-async")).json(&json!({ "pages": 50 }));
    let answer = http.request(&job)?;
    let location = answer.header("location").context("no Location")?.to_owned();
    http.events(&location)?.next_data(3, SOON)?;
    let mut reloaded = http.events(&location)?;
    let wanted: Vec<String> = (1..=50).map(|page| (2 * page).to_string()).collect();
    ensure!(reloaded.next_data(50, 2 * SOON)? == wanted, "its progress");
    ensure!(reloaded.next(SOON)?.event == "sse.result", "its end");
    // The answer.
    let ask = post("/api/ask", ("Accept", "text/event-stream")).json(&json!({ "question": "and why?" }));
    let mut stream = http.events_with(&ask)?;
    let events = stream.wait_for_end(SOON)?;
    let tokens: Vec<&str> =
        events.iter().filter(|event| event.event == "token").map(|event| event.data.as_str()).collect();
    ensure!(tokens == ["You ", "asked: ", "and ", "why?"], "{tokens:?}");
    let last = events.last().context("no event")?;
    ensure!(last.event == "sse.result" && last.data == "You asked: and why?", "{last:?}");
    Ok(())
}
