//! What every page of the documentation keeps to: it is in the table of contents, its links lead somewhere,
//! and each block of code is either run by a test or says that it is an excerpt.
//!
//! The words after a fence say which: "```sql" is run, "```sql excerpt" is not. A block in no language is
//! none of it, and therefore refused: `text` is what something prints.
//!
//! Not for running blocks: `pg_test/tests/pages.rs` does that, and the files of [`RUN_BY`].

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::book::{Book, SUMMARY, resolve};
use super::page::{Block, Page};

/// What is run on every page.
const RUN: [&str; 3] = ["sql", "console", "conf"];

/// What prints, is printed, or stands in a file, and cannot be run.
const SHOWN: [&str; 2] = ["text", "json"];

/// What is run on some pages: language, page or folder, and the test that runs it, which names the page or
/// all pages of its folder.
const RUN_BY: [(&str, &str, &str); 13] = [
    ("sh", "docs/debian.md", "crates/xtask/src/package/administrator.rs"),
    ("html", "docs/start.md", "pg_test/tests/recipes_pages.rs"),
    ("html", "docs/recipes/", "pg_test/tests/recipes_pages.rs"),
    ("ts", "docs/javascript.md", "clients/js/test/units/snippets.test.ts"),
    ("ts", "docs/typescript.md", "pg_test/tests/pages_typescript.rs"),
    ("tsx", "docs/javascript.md", "clients/js/test/units/snippets.test.ts"),
    ("nginx", "docs/operations.md", "pg_test/tests/proxies.rs"),
    ("caddy", "docs/operations.md", "pg_test/tests/proxies.rs"),
    ("haproxy", "docs/operations.md", "pg_test/tests/proxies.rs"),
    ("haproxy", "docs/servers.md", "pg_test/tests/standby.rs"),
    ("html", "docs/interoperability.md", "pg_test/tests/interoperability.rs"),
    ("js", "docs/interoperability.md", "pg_test/tests/interoperability.rs"),
    ("python", "docs/interoperability.md", "pg_test/tests/interoperability.rs"),
];

/// The word that says that a block is not run.
const EXCERPT: &str = "excerpt";

/// Every violation, one line each.
pub(crate) fn violations(root: &Path) -> Result<Vec<String>> {
    let book = Book::read(root)?;
    let mut found = unlisted(&book);
    for (path, page) in &book.pages {
        found.extend(dead_links(root, &book, path, page));
        if path.starts_with("docs/") {
            found.extend(page.blocks.iter().filter_map(|block| unmarked(root, path, block)));
        }
    }
    Ok(found)
}

/// A page that nobody finds, and an entry without a page.
fn unlisted(book: &Book) -> Vec<String> {
    let is_listed = |path: &str| book.entries.iter().any(|entry| entry.path == path);
    let pages = book.pages.keys().filter(|path| !is_listed(path));
    let mut found: Vec<String> = pages
        .map(|path| format!("{path}: not in {SUMMARY}; CONTRIBUTING.md says how a page is added"))
        .collect();
    let missing = book.entries.iter().filter(|entry| !book.pages.contains_key(&entry.path));
    found.extend(missing.map(|entry| format!("{SUMMARY}: there is no {}", entry.path)));
    found
}

fn dead_links(root: &Path, book: &Book, path: &str, page: &Page) -> Vec<String> {
    let mut found = Vec::new();
    for link in &page.links {
        let target = link.target.as_str();
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let to = resolve(path, target);
        let place = format!("{path}:{}", link.line);
        if !root.join(&to).exists() {
            found.push(format!("{place}: {target} leads nowhere"));
            continue;
        }
        if to.ends_with(".md") && !book.pages.contains_key(&to) {
            found.push(format!("{place}: the site has no {to}, because it is not in {SUMMARY}"));
        }
        let Some((_, anchor)) = target.split_once('#') else { continue };
        if book.pages.get(&to).is_some_and(|page| !page.anchors.iter().any(|known| known == anchor)) {
            found.push(format!("{place}: {to} has no heading #{anchor}"));
        }
    }
    found
}

fn unmarked(root: &Path, path: &str, block: &Block) -> Option<String> {
    let mut words = block.info.split_whitespace();
    let language = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let at = format!("{path}:{}", block.line);
    if language.is_empty() {
        return Some(format!(
            "{at}: a block in no language: sql, console (commands and what they print), conf, text (what is printed) …"
        ));
    }
    if !rest.is_empty() && rest != [EXCERPT] {
        return Some(format!("{at}: \"{}\": the only word behind a language is \"{EXCERPT}\"", block.info));
    }
    if rest == [EXCERPT] || RUN.contains(&language) {
        return None;
    }
    if SHOWN.contains(&language) {
        let is_command =
            |line: &str| line.trim_start().starts_with("$ ") || line.trim_start().starts_with("=> ");
        return block
            .text
            .lines()
            .any(is_command)
            .then(|| format!("{at}: commands: the language is console"));
    }
    let runs = RUN_BY.iter().find(|(of, page, _)| *of == language && path.starts_with(page));
    let Some((_, _, test)) = runs else {
        return Some(format!("{at}: no test runs {language} on this page: mark it \"{language} {EXCERPT}\""));
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    let names_page = fs::read_to_string(root.join(test)).is_ok_and(|text| text.contains(name));
    (!names_page).then(|| format!("{at}: {test} should run this, but does not name {name}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A checkout with these files.
    fn checkout(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_page_that_is_not_in_the_summary_and_one_that_is_not_there_are_found() {
        let root = checkout(&[
            (SUMMARY, "# S\n\n- [A](a.md)\n- [B](b.md)\n"),
            ("docs/a.md", "# A\n"),
            ("docs/c.md", "# C\n"),
        ]);
        let found = violations(root.path()).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("docs/c.md: not in"), "{found:?}");
        assert!(found[1].ends_with("there is no docs/b.md"), "{found:?}");
    }

    #[test]
    fn a_link_that_leads_nowhere_and_an_anchor_that_is_not_there_are_found() {
        let text = "# A\n[1](b.md) [2](#a) [3](#z) [4](../LICENSE) [5](gone.md) [6](b.md#here) [7](b.md#gone) [8](http://x/y#z) [9](../X.md)\n";
        let root = checkout(&[
            (SUMMARY, "# S\n\n- [A](a.md)\n- [B](b.md)\n"),
            ("docs/a.md", text),
            ("docs/b.md", "# B\n## Here\n"),
            ("LICENSE", ""),
            ("X.md", ""),
        ]);
        assert_eq!(
            violations(root.path()).unwrap(),
            [
                "docs/a.md:2: docs/a.md has no heading #z",
                "docs/a.md:2: gone.md leads nowhere",
                "docs/a.md:2: docs/b.md has no heading #gone",
                "docs/a.md:2: the site has no X.md, because it is not in docs/SUMMARY.md"
            ]
        );
    }

    #[test]
    fn a_block_is_run_or_says_that_it_is_not() {
        let block = |info: &str, text: &str| Block {
            line: 1,
            info: info.to_owned(),
            under: String::new(),
            text: text.to_owned(),
        };
        let root = checkout(&[("pg_test/tests/proxies.rs", "operations.md")]);
        let judged =
            |path: &str, info: &str, text: &str| unmarked(root.path(), path, &block(info, text)).is_none();
        for fine in ["sql", "sql excerpt", "console", "conf", "text", "json", "js excerpt", "rust excerpt"] {
            assert!(judged("docs/a.md", fine, "x\n"), "{fine}");
        }
        for refused in ["", "js", "ts", "html", "nginx", "sql once", "excerpt", "sh"] {
            assert!(!judged("docs/a.md", refused, "x\n"), "{refused}");
        }
        assert!(judged("docs/operations.md", "nginx", "x\n"));
        // Its test is not there.
        assert!(!judged("docs/javascript.md", "ts", "x\n"));
        // Commands are no output.
        assert!(
            !judged("docs/a.md", "text", "$ curl x\n") && !judged("docs/a.md", "text", "  => SELECT 1;\n")
        );
    }
}
