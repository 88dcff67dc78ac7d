//! Building the site: mdBook over a copy of the pages, laid out as in the checkout, so that their links mean
//! the same in both.
//!
//! mdBook, because it is one program that needs nothing else, has search, and is kept by the Rust project;
//! MkDocs with its Material theme was rejected, because both are no longer developed further.
//!
//! Not for which pages there are (`docs/SUMMARY.md`), nor for how the site looks (`docs/book.toml`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::book::{Book, Entry, files_below, resolve};
use crate::build::target_folder;
use crate::{progress, tools};

/// How the site looks, from the root of the checkout.
const SETTINGS: &str = "docs/book.toml";

/// The first page of a folder, here and on the site.
const README: &str = "README.md";
const INDEX: &str = "index.md";

/// Builds the site anew, and returns its folder.
pub(super) fn build(root: &Path, book: &Book) -> Result<PathBuf> {
    let source = target_folder().join("site-source");
    let site = target_folder().join("site");
    for folder in [&source, &site] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
    }
    lay_out(root, book, &source.join("pages"))?;
    fs::copy(root.join(SETTINGS), source.join("book.toml")).context(SETTINGS)?;
    // Built without optimisation: it runs for a second, and is built in half the time.
    let mdbook = tools::installed("mdbook", &["--no-default-features", "--features", "search", "--debug"])?;
    let mut build = Command::new(mdbook);
    build.arg("build").arg("--dest-dir").arg(&site).arg(&source);
    progress::run("building the site", build)?.ok("mdbook build")?;
    // For those who read the text itself: llms.txt leads to it.
    for (path, text) in &book.texts {
        put(&site.join(path), text)?;
    }
    Ok(site)
}

/// The pages with what they show and link to, and the table of contents.
fn lay_out(root: &Path, book: &Book, to: &Path) -> Result<()> {
    for (path, text) in &book.texts {
        put(&to.join(on_site(path)), &with_index(text))?;
    }
    put(&to.join("SUMMARY.md"), &summary(&book.entries))?;
    for file in files_below(&root.join("docs"))? {
        let path = file.strip_prefix(root)?;
        if !path.extension().is_some_and(|end| end == "md" || end == "toml") {
            copy(&file, &to.join(path))?;
        }
    }
    for (path, page) in &book.pages {
        for link in &page.links {
            let target = resolve(path, &link.target);
            let file = root.join(&target);
            if !book.texts.contains_key(&target) && file.is_file() {
                copy(&file, &to.join(target))?;
            }
        }
    }
    Ok(())
}

/// The table of contents for the layout of the checkout: `docs/SUMMARY.md` is one folder further down.
fn summary(entries: &[Entry]) -> String {
    let mut text = String::from("# Summary\n");
    let mut part = "";
    for entry in entries {
        if entry.part != part {
            part = &entry.part;
            text.push_str(&format!("\n# {part}\n\n"));
        }
        let mark = if part.is_empty() { "\n" } else { "- " };
        text.push_str(&format!("{mark}[{}]({})\n", entry.title, on_site(&entry.path)));
    }
    text
}

/// Where a page is in the copy.
fn on_site(path: &str) -> String {
    path.strip_suffix(README).map_or_else(|| path.to_owned(), |folder| format!("{folder}{INDEX}"))
}

/// Links to a folder's first page by the name that it has on the site.
fn with_index(text: &str) -> String {
    let mut is_code = false;
    let mut all = String::with_capacity(text.len());
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if !is_code && line.contains(&format!("{README})")) || line.contains(&format!("{README}#")) {
            let line = line.replace(&format!("{README})"), &format!("{INDEX})"));
            all.push_str(&line.replace(&format!("{README}#"), &format!("{INDEX}#")));
        } else {
            all.push_str(line);
        }
        all.push('\n');
    }
    all
}

fn put(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).map(drop).with_context(|| from.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_of_a_folder_is_called_index_on_the_site() {
        assert_eq!(on_site("README.md"), "index.md");
        assert_eq!(on_site("docs/recipes/README.md"), "docs/recipes/index.md");
        assert_eq!(on_site("docs/a.md"), "docs/a.md");
        assert_eq!(with_index("[a](../README.md#b) [c](README.md)\n"), "[a](../index.md#b) [c](index.md)\n");
    }
}
