//! The recipes of `docs/recipes/` that are about long calls, run as they stand there.

mod common;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use common::SOON;
use common::calls::{builder, start};
use serde_json::json;

/// The first block of this language in a recipe.
fn block(recipe: &str, language: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes").join(recipe);
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (_, rest) = page.split_once(&format!("```{language}\n")).context("no such block")?;
    Ok(rest.split_once("\n```").context("the block has no end")?.0.to_owned())
}

#[test]
fn the_recipes_of_long_calls_do_what_they_say() -> Result<()> {
    let cluster = start(builder())?;
    for recipe in ["job.md", "tokens.md"] {
        let reply = cluster.session()?.run(&block(recipe, "sql")?)?.ok()?;
        ensure!(reply.texts("WARNING").is_empty(), "{recipe}: {:?}", reply.texts("WARNING"));
    }
    let http = cluster.http()?;
    let post = |path: &str, header: (&str, &str)| {
        Request::new("POST", path).header("Sec-Fetch-Site", "same-origin").header(header.0, header.1)
    };
    // The job, and a reload in the middle.
    let page = block("job.md", "html")?;
    ensure!(page.contains("\"Prefer\": \"respond-async\"") && page.contains("fetch(\"/api/make-report\""));
    let job = post("/api/make-report", ("Prefer", "respond-async")).json(&json!({ "pages": 50 }));
    let answer = http.request(&job)?;
    let location = answer.header("location").context("no Location")?.to_owned();
    http.events(&location)?.next_data(3, SOON)?;
    let mut reloaded = http.events(&location)?;
    let wanted: Vec<String> = (1..=50).map(|page| (2 * page).to_string()).collect();
    ensure!(reloaded.next_data(50, 2 * SOON)? == wanted, "its progress");
    ensure!(reloaded.next(SOON)?.event == "sse.result", "its end");
    // The answer.
    let page = block("tokens.md", "html")?;
    ensure!(page.contains("\"Accept\": \"text/event-stream\"") && page.contains("fetch(\"/api/ask\""));
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
