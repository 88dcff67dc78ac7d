//! Checks that every path which the documents of the house write is there, and every file of Rust that a
//! comment names.
//!
//! A document writes a path from the root, or from a folder that is clear from where it stands. So some path
//! of the checkout must be the one that is written, or end with it; a `*` in a name stands for anything. A
//! path that begins with a folder of the root must be there itself.
//!
//! Not for whether the right file is named, nor for names of modules without `.rs`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::files::everything;

/// The documents that lead through the code.
const DOCUMENTS: [&str; 4] = ["ARCHITECTURE.md", "SAFETY.md", "CONTRIBUTING.md", "README.md"];

/// How names of files end, when they are written without a folder.
const ENDS: [&str; 9] = [".rs", ".md", ".sql", ".toml", ".control", ".html", ".js", ".dict", ".yml"];

/// What is made on the way, and not in the checkout.
const MADE: [&str; 2] = ["target", "fuzz/corpus"];

/// Every violation, one line each.
pub(super) fn violations(root: &Path) -> Result<Vec<String>> {
    let mut here = Vec::new();
    for path in everything(root)? {
        here.push(path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned());
    }
    let mut found = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).with_context(|| document.to_owned())?;
        found.extend(missing(document, &text, &here));
    }
    for file in here.iter().filter(|name| name.ends_with(".rs")) {
        let text = fs::read_to_string(root.join(file)).with_context(|| file.clone())?;
        found.extend(missing_in_comments(file, &text, &here));
    }
    Ok(found)
}

fn missing_in_comments(file: &str, text: &str, here: &[String]) -> Vec<String> {
    // Capitals stand for any name.
    let is_name = |path: &&str| path.ends_with(".rs") && !path.contains(|c: char| c.is_ascii_uppercase());
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//")) {
        for path in written_in(line).filter(is_name).filter(|path| !is_here(path, here)) {
            found.push(format!("{file}:{}: there is no {path}", number + 1));
        }
    }
    found
}

fn missing(document: &str, text: &str, here: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for path in written_in(line).filter(|path| !is_made(path) && !is_here(path, here)) {
            found.push(format!("{document}:{}: there is no {path}", number + 1));
        }
    }
    found
}

/// The words of a line that are paths.
fn written_in(line: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_./*-".contains(c);
    line.split(move |c| !is_part(c)).filter_map(|word| {
        // Marks of the text, not of the path: the full stop, bold print, an option's hyphens.
        let word = word.trim_end_matches('.').trim_matches('*').trim_start_matches('-');
        let path = word.trim_end_matches('/');
        // Neither `PL/pgSQL` nor the path of a URL.
        let has_folder = word.contains('/') && path.contains(|c: char| c.is_ascii_lowercase());
        let is_path = has_folder && !path.contains(|c: char| c.is_ascii_uppercase());
        let is_file = ENDS.iter().any(|end| path.len() > end.len() && path.ends_with(end));
        (!path.starts_with('/') && (is_path || is_file)).then_some(path)
    })
}

fn is_made(path: &str) -> bool {
    MADE.iter()
        .any(|made| path.strip_prefix(made).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn is_here(path: &str, here: &[String]) -> bool {
    let first = path.split('/').next().unwrap_or(path);
    let is_from_root = path.contains('/') && here.iter().any(|found| found == first);
    here.iter().any(|found| {
        let names = found.split('/').count();
        let written = path.split('/').count();
        names >= written
            && (names == written || !is_from_root)
            && found
                .split('/')
                .skip(names - written)
                .zip(path.split('/'))
                .all(|(name, pattern)| fits(name, pattern))
    })
}

fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_in(text: &str) -> Vec<String> {
        let here =
            ["README.md", "crates", "crates/ring", "crates/ring/src", "crates/ring/src/need.rs", "src"];
        missing("D.md", text, &here.map(str::to_owned))
    }

    #[test]
    fn a_path_that_is_not_there_is_found_wherever_it_is_written() {
        for text in [
            "see `crates/ring/src/gone.rs`.",
            "  ring/src/gone.rs      takes it out",
            "| `gone.rs` `gone/` | both |",
            "**crates/gone/** has",
            "[The rest](gone.md#here)",
            "`need_*.rs`",
            "`src/need.rs`: that folder is in the root",
        ] {
            assert!(!missing_in(text).is_empty(), "{text}");
        }
        assert_eq!(missing_in("x\n`gone.rs`"), ["D.md:2: there is no gone.rs"]);
        assert_eq!(missing_in("`gone.rs` `gone/`").len(), 2);
    }

    #[test]
    fn a_file_that_is_not_there_is_found_in_comments_alone() {
        let here = ["crates/ring/src/need.rs", "src"].map(str::to_owned);
        let text = "//! Not for: need.rs, `gone.rs`, tests/FILE.rs, a/b\nlet x = \"other.rs\";\n    // ring/src/gone.rs\n";
        let found = missing_in_comments("src/a.rs", text, &here);
        assert_eq!(found, ["src/a.rs:1: there is no gone.rs", "src/a.rs:3: there is no ring/src/gone.rs"]);
    }

    #[test]
    fn what_is_there_and_what_is_no_path_is_left_alone() {
        for text in [
            "`crates/ring/src/need.rs`, `need.rs`, `src/` and `ring/src/`; [all](README.md#floors)",
            "**crates/ring/src/** is **bold**. `n*.rs`",
            "PL/pgSQL, I/O, `/api/x/info`, `// SAFETY:`, 1/2, `need`, `xact.c`",
            "`target/ledger/seed-S/` and fuzz/corpus/annotation are made",
        ] {
            assert_eq!(missing_in(text), Vec::<String>::new(), "{text}");
        }
    }
}
