//! `cargo xtask demo --check`: each example is served whole, and its streams begin.
//!
//! Not for what a page does with it: `pg_test/tests/examples.rs`, in browsers; nor for the calls of the chat:
//! `pg_test/tests/chat.rs`.

use anyhow::{Context, Result, ensure};
use cluster::PATIENCE;
use cluster::http::Client;
use example::{Example, Running};

/// Goes through what every example has.
pub(super) fn check(example: &Example, running: &Running) -> Result<()> {
    let client = running.cluster.http()?;
    check_page(client).and_then(|()| check_streams(running, client)).with_context(|| running.log())?;
    println!("the {} works", example.name());
    Ok(())
}

/// Everything that the page names is there, with a type that browsers take.
fn check_page(client: Client) -> Result<()> {
    let page = client.get("/")?.text();
    let names = named(&page);
    ensure!(names.len() > 1, "the page names neither a script nor a style sheet");
    for (path, wanted) in names.iter().map(|name| (format!("/{name}"), kind(name))) {
        let answer = client.get(&path)?;
        let found = answer.header("content-type").unwrap_or("");
        ensure!(answer.status() == 200, "{path} answers {}: {}", answer.status(), answer.text());
        ensure!(found.starts_with(wanted), "{path} is sent as {found:?}");
    }
    println!("  the page is served, with {}", names.join(", "));
    Ok(())
}

/// The files beside the page that it names: in `href`, `src`, and in an import map.
fn named(page: &str) -> Vec<String> {
    let quoted = page.split('"').skip(1).step_by(2).map(|text| text.trim_start_matches("./"));
    let is_file = |text: &&str| {
        let (name, extension) = text.rsplit_once('.').unwrap_or_default();
        let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '/' | '.');
        !name.is_empty() && matches!(extension, "css" | "js" | "svg" | "png") && name.chars().all(is_plain)
    };
    quoted.filter(is_file).map(str::to_owned).collect()
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').unwrap_or_default().1 {
        "css" => "text/css",
        "js" => "text/javascript",
        _ => "image/",
    }
}

/// Each begins, or is for authenticated subscribers alone.
fn check_streams(running: &Running, client: Client) -> Result<()> {
    let urls =
        running.cluster.sql("select url from sse.endpoints where kind like '%stream%' order by url")?;
    ensure!(!urls.is_empty(), "it has no stream");
    for url in urls.lines() {
        if client.request(&cluster::http::Request::new("HEAD", url))?.status() == 401 {
            continue;
        }
        let ready = client.events(url)?.next(PATIENCE)?;
        ensure!(ready.event == "sse.ready", "{url} begins with {ready:?}");
    }
    println!("  its streams begin");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_page_names_are_found() {
        let page = r#"<link rel="icon" href="data:,"><link href="a.css"><p class="b"></p>
            <script type="importmap">{ "imports": { "pg-sse": "./pg-sse/index.js" } }</script>
            <script src="https://other.test/x.js"></script> <script type="module" src="c.js">"#;
        assert_eq!(named(page), ["a.css", "pg-sse/index.js", "c.js"]);
    }
}
