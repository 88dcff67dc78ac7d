//! The documentation as a book: which pages there are, and in which order; `docs/SUMMARY.md` says it.
//!
//! Not for what is on the pages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::page::Page;

/// The table of contents, from the root of the checkout.
pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";

/// A page in the book.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The part that it is in; empty before the first.
    pub(crate) part: String,
    pub(crate) title: String,
    /// From the root of the checkout.
    pub(crate) path: String,
}

/// All pages below `docs/` and those of the root that the book has, by their path from the root.
pub(crate) struct Book {
    pub(crate) entries: Vec<Entry>,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) pages: BTreeMap<String, Page>,
}

impl Book {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let summary = fs::read_to_string(root.join(SUMMARY)).context(SUMMARY)?;
        let entries = entries(&summary);
        let mut paths = pages_below(root, "docs")?;
        paths.extend(entries.iter().map(|entry| entry.path.clone()));
        let mut texts = BTreeMap::new();
        for path in paths {
            if root.join(&path).is_file() && path != SUMMARY {
                let text = fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
                texts.insert(path, text);
            }
        }
        let pages = texts.iter().map(|(path, text)| (path.clone(), Page::read(text))).collect();
        Ok(Self { entries, texts, pages })
    }

    /// The text of an entry; empty if there is no such file, which is a violation.
    pub(crate) fn text(&self, entry: &Entry) -> &str {
        self.texts.get(&entry.path).map_or("", String::as_str)
    }
}

fn entries(summary: &str) -> Vec<Entry> {
    let mut part = String::new();
    let mut found = Vec::new();
    // The first heading is the title of the table itself.
    for line in summary.lines().skip_while(|line| line.starts_with('#')) {
        if let Some(heading) = line.strip_prefix("# ") {
            heading.trim().clone_into(&mut part);
        }
        let Some((title, rest)) = line.split_once("](") else { continue };
        let Some((target, _)) = rest.split_once(')') else { continue };
        let title = title.trim_start().trim_start_matches("- ").trim_start_matches('[').to_owned();
        found.push(Entry { part: part.clone(), title, path: resolve(SUMMARY, target) });
    }
    found
}

/// Where a link leads that stands on a page, from the root; the anchor is left out.
pub(crate) fn resolve(from: &str, target: &str) -> String {
    let path = target.split('#').next().unwrap_or(target);
    if path.is_empty() {
        return from.to_owned();
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The Markdown files below a folder, from the root.
fn pages_below(root: &Path, folder: &str) -> Result<Vec<String>> {
    let files = files_below(&root.join(folder))?;
    let from_root = |file: &PathBuf| file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned();
    Ok(files.iter().map(from_root).filter(|path| path.ends_with(".md")).collect())
}

/// All files below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_from_the_page_that_they_stand_on() {
        for (from, target, wanted) in [
            ("docs/recipes/a.md", "b.md#x", "docs/recipes/b.md"),
            ("docs/recipes/a.md", "../c.md", "docs/c.md"),
            ("docs/recipes/a.md", "../../README.md", "README.md"),
            ("docs/a.md", "#here", "docs/a.md"),
            ("README.md", "docs/a.md", "docs/a.md"),
            ("README.md", "../outside.md", "../outside.md"),
        ] {
            assert_eq!(resolve(from, target), wanted, "{from} {target}");
        }
    }

    #[test]
    fn the_summary_has_parts_and_pages() {
        let found =
            entries("# Summary\n\n[First](../README.md)\n\n# Start\n\n- [A](a.md)\n  - [B](b/c.md)\n");
        let found: Vec<_> =
            found.iter().map(|e| (e.part.as_str(), e.title.as_str(), e.path.as_str())).collect();
        assert_eq!(
            found,
            [("", "First", "README.md"), ("Start", "A", "docs/a.md"), ("Start", "B", "docs/b/c.md")]
        );
    }
}
