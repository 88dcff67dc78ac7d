//! What a run leaves: `bench.json` with every figure, a table in Markdown for each chapter, and pictures.
//!
//! Not for the page: `cargo xtask bench --write` takes these files into it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use cluster::{PgConfig, workspace_root};
use serde_json::{Map, Value, json};

use crate::report::Chapter;
use crate::{calls, commits, fanout, growth, plot};

/// Where and when, for whoever reads the figures.
pub(crate) fn conditions() -> Result<Value> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let library = std::env::var("PG_SSE_LIBRARY").unwrap_or_default();
    Ok(json!({
        "postgres": PgConfig::find(None)?.version,
        "commit": said(Command::new("git").args(["rev-parse", "--short", "HEAD"])),
        "date": said(Command::new("date").args(["-u", "+%Y-%m-%d"])),
        "kernel": said(Command::new("uname").arg("-r")).split('-').next(),
        "processor": processor.map(|(_, name)| name),
        "processors": std::thread::available_parallelism()?.get(),
        // Of others, before anything was started.
        "load_before": fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next(),
        "build": if library.contains("release") { "release" } else { "debug" },
    }))
}

fn said(command: &mut Command) -> String {
    let output = command.current_dir(workspace_root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Writes all of it. Files of chapters that were not measured stay as they are.
pub(crate) fn write(folder: &Path, conditions: &Value, chapters: &[Chapter]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join("bench.json");
    let mut all: Map<String, Value> =
        fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    for chapter in chapters {
        let mut figures = chapter.json();
        figures["conditions"] = conditions.clone();
        all.insert(chapter.name.to_owned(), figures);
        let mut text = format!("{}\n{}\n", chapter.markdown(), sentence(conditions));
        for (name, picture) in pictures(chapter) {
            fs::write(folder.join(format!("{name}.svg")), picture)?;
            // Where the page has them.
            text += &format!("\n![{}](images/performance/{name}.svg)\n", chapter.title);
        }
        fs::write(folder.join(format!("{}.md", chapter.name)), text)?;
    }
    fs::write(&file, serde_json::to_string_pretty(&all)? + "\n").context("bench.json")?;
    println!("{}", file.display());
    Ok(())
}

/// The conditions in words.
fn sentence(conditions: &Value) -> String {
    let text = |name: &str| conditions[name].as_str().unwrap_or("unknown").to_owned();
    format!(
        "Measured on {}: commit {}, {} build, {}, {} processors ({}), Linux {}; load of the machine before: {}.",
        text("date"),
        text("commit"),
        text("build"),
        text("postgres"),
        conditions["processors"],
        text("processor"),
        text("kernel"),
        text("load_before")
    )
}

fn pictures(chapter: &Chapter) -> Vec<(String, String)> {
    match chapter.name {
        "fanout" => vec![
            (
                "fanout-lock-step".to_owned(),
                plot::bars(chapter, fanout::SERVER, "Server's CPU per delivery, lock-step", |row| {
                    row.starts_with("lock")
                }),
            ),
            (
                "fanout-backlog".to_owned(),
                plot::bars(chapter, fanout::SERVER, "Server's CPU per delivery, backlog of 32", |row| {
                    row.starts_with("back")
                }),
            ),
        ],
        "latency" => {
            vec![("latency".to_owned(), plot::bars(chapter, fanout::MEDIAN, chapter.title, |_| true))]
        }
        "memory" => vec![("memory".to_owned(), plot::bars(chapter, fanout::MEMORY, chapter.title, |_| true))],
        "publish" => {
            vec![("publish".to_owned(), plot::bars(chapter, commits::RATE, chapter.title, |_| true))]
        }
        "calls" => vec![("calls".to_owned(), plot::bars(chapter, calls::RATE, chapter.title, |_| true))],
        "growth" => growth::DIMENSIONS
            .iter()
            .map(|(name, what)| (*name, *what, growth::curve(chapter, what)))
            .filter(|(.., places)| places.len() > 2)
            .map(|(name, what, places)| {
                let points = [("pg_sse".to_owned(), places)];
                (format!("growth-{name}"), plot::curves("Gateway's CPU per event", "µs", what, &points))
            })
            .collect(),
        _ => Vec::new(),
    }
}
