//! The recipes of `docs/recipes/`, run as they stand there.

mod common;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use common::SOON;
use common::calls::{builder, start};

/// The first block of this language in a recipe.
fn block(recipe: &str, language: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes").join(recipe);
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (_, rest) = page.split_once(&format!("```{language}\n")).context("no such block")?;
    Ok(rest.split_once("\n```").context("the block has no end")?.0.to_owned())
}

#[test]
fn a_counter_shows_the_value_and_then_every_change() -> Result<()> {
    let cluster = start(builder())?;
    let reply = cluster.session()?.run(&block("counter.md", "sql")?)?.ok()?;
    ensure!(reply.texts("WARNING").is_empty(), "{:?}", reply.texts("WARNING"));
    let page = block("counter.md", "html")?;
    let stream =
        page.split_once("EventSource(\"").context("no stream")?.1.split_once('"').context("no end")?.0;
    ensure!(page.contains("stream.onmessage") && page.contains("'/api/count-up'"), "{page}");
    let http = cluster.http()?;
    common::wait_for_status(http, stream, 200, SOON)?;
    let mut open = http.events(stream)?;
    open.next(SOON)?;
    let mut shown = vec![open.next(SOON)?];
    for _ in 0..2 {
        let click =
            cluster::http::Request::new("POST", "/api/count-up").header("Sec-Fetch-Site", "same-origin");
        let answer = http.request(&click.json(&serde_json::json!({})))?;
        ensure!(answer.status() == 204, "{}", answer.text());
        shown.push(open.next(SOON)?);
    }
    let found: Vec<_> = shown.iter().map(|event| (event.event.as_str(), event.data.as_str())).collect();
    ensure!(found == [("message", "0"), ("message", "1"), ("message", "2")], "{found:?}");
    // A page that opens now.
    let mut later = http.events(stream)?;
    later.next(SOON)?;
    ensure!(later.next(SOON)?.data == "2");
    Ok(())
}
