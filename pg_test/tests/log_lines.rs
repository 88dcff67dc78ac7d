//! docs/log-lines.md has every line that the code writes into the server's log, and every WARNING.
//!
//! It reads the source: no run brings all of them about.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cluster::workspace_root;

/// Where lines for the log are written, and WARNINGs.
const WAYS: [&str; 9] = [
    "PgLogLevel::WARNING",
    "PgLogLevel::LOG",
    "warning_in_log(",
    "report::warning(",
    "log!(",
    "Severity::Log,",
    "Severity::Warning,",
    ".warn(format!(",
    ".log(format!(",
];

/// After a way, its text begins within this many bytes; it is the first that has several words.
const NEAR: usize = 700;

/// A text as short as this is a label.
const SHORTEST: usize = 20;

/// As much of a text's chosen part as the page must have.
const ENOUGH: usize = 40;

/// Texts that are no line by themselves: what they are put into is on the page. The last one is for tests.
const PARTS: [&str; 4] =
    ["pg_sse gateway: {message}", "pg_sse: {warning}", "pg_sse: {why}", "an event of transaction {xid}"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !["tests", "fuzzing"].contains(&name.as_str()) {
            sources(&path, found)?;
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
    Ok(())
}

/// The string literals of a piece of source, without their escapes.
fn literals(source: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(begin) = rest.find('"') {
        let (mut text, mut characters) = (String::new(), rest[begin + 1..].char_indices());
        let mut end = None;
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    end = Some(begin + 1 + at + 1);
                    break;
                }
                '\\' => match characters.next() {
                    // A literal that goes on in the next line.
                    Some((_, '\n')) => {
                        let next = characters.as_str().trim_start();
                        let skipped = characters.as_str().len() - next.len();
                        characters.by_ref().take(skipped).for_each(|_| {});
                    }
                    Some((_, escaped)) => text.push(escaped),
                    None => {}
                },
                other => text.push(other),
            }
        }
        let Some(end) = end else { break };
        found.push(text);
        rest = &rest[end..];
    }
    found
}

/// A part between placeholders, as far as it has to be on the page: the first that says something.
fn essence(text: &str) -> String {
    let text = text.replace("%s", "{}");
    let parts = text.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    let parts: Vec<&str> = parts.map(without_sender).collect();
    let longest = parts.iter().max_by_key(|part| part.len());
    let chosen = parts.iter().find(|part| part.len() > SHORTEST).or(longest).copied().unwrap_or_default();
    chosen.chars().take(ENOUGH).collect::<String>().trim().to_owned()
}

/// Who says it stands in front of most.
fn without_sender(part: &str) -> &str {
    let senders = ["pg_sse gateway: ", "pg_sse call worker: ", "pg_sse: "];
    senders.iter().find_map(|sender| part.strip_prefix(sender)).unwrap_or(part).trim()
}

/// Text and file of each line.
fn lines() -> Result<Vec<(String, String)>> {
    let (root, mut files, mut found) = (workspace_root(), Vec::new(), Vec::new());
    for folder in ["src", "crates/gateway/src"] {
        sources(&root.join(folder), &mut files)?;
    }
    for file in files {
        let source = fs::read_to_string(&file)?;
        let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for way in WAYS {
            for (at, _) in source.match_indices(way) {
                let mut end = (at + NEAR).min(source.len());
                while !source.is_char_boundary(end) {
                    end -= 1;
                }
                let text = literals(&source[at..end])
                    .into_iter()
                    .find(|text| text.len() > SHORTEST && text.contains(' '));
                found.extend(text.map(|text| (text, file.display().to_string())));
            }
        }
    }
    Ok(found)
}

#[test]
fn every_line_of_the_log_is_on_its_page_with_what_to_do() -> Result<()> {
    let page = fs::read_to_string(workspace_root().join("docs/log-lines.md"))?;
    let lines = lines()?;
    ensure!(lines.len() > 50, "only {} lines were found in the source", lines.len());
    let is_told = |text: &str| {
        let essence = essence(text);
        essence.is_empty() || page.contains(&essence) || PARTS.iter().any(|part| text.contains(part))
    };
    let missing: Vec<String> = lines
        .iter()
        .filter(|(text, _)| !is_told(text))
        .map(|(text, file)| format!("{file}: {text}\n    searched: {}", essence(text)))
        .collect();
    ensure!(missing.is_empty(), "not in docs/log-lines.md:\n{}", missing.join("\n"));
    Ok(())
}

#[test]
fn a_line_is_found_by_what_is_the_same_in_each() {
    assert_eq!(literals(r#"f("a \"b\"", "c")"#), ["a \"b\"", "c"]);
    assert_eq!(literals("(\"one \\\n     two\")"), ["one two"]);
    assert_eq!(essence("pg_sse: the value of \"{}\" in {} was refused"), "the value of \"");
    assert_eq!(essence("{address} is not a name that we know"), "is not a name that we know");
}
