//! `llms.txt` and `llms-full.txt` (llmstxt.org): the documentation for programs that read text, as a list of
//! its pages and as one file.
//!
//! Not for people: they have the site.

use std::fmt::Write as _;

use super::book::{Book, Entry};

/// The pages with a sentence of each.
pub(super) fn list(book: &Book) -> String {
    let lead = |entry: &Entry| book.pages.get(&entry.path).map_or("", |page| page.lead.as_str());
    let mut text = String::from("# pg_sse\n\n");
    let mut part = "";
    for entry in &book.entries {
        if part.is_empty() && entry.part.is_empty() {
            // What stands before the first part says what all of it is.
            let _ = write!(text, "> {}\n\n", lead(entry));
            let _ = writeln!(text, "All pages in one file: [llms-full.txt](llms-full.txt)");
        }
        if entry.part != part {
            part = &entry.part;
            let _ = write!(text, "\n## {part}\n\n");
        }
        let _ = writeln!(text, "- [{}]({}): {}", entry.title, entry.path, first_sentence(lead(entry)));
    }
    text
}

/// All pages, in the order of the table of contents.
pub(super) fn full(book: &Book) -> String {
    let mut text = String::new();
    for entry in &book.entries {
        let _ = write!(text, "<!-- {} -->\n\n{}\n", entry.path, book.text(entry));
    }
    text
}

fn first_sentence(lead: &str) -> &str {
    let end = lead.match_indices(['.', ':']).find(|(at, _)| lead[at + 1..].starts_with(' '));
    end.map_or(lead, |(at, _)| &lead[..at]).trim_end_matches(['.', ':'])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_page_is_listed_with_a_sentence_and_is_whole_in_the_full_text() {
        let book = Book::read(cluster::workspace_root()).unwrap();
        let (list, full) = (list(&book), full(&book));
        assert!(list.starts_with("# pg_sse\n\n> "), "{list}");
        for (path, text) in &book.texts {
            let entry = list.lines().find(|line| line.contains(&format!("]({path}): ")));
            let entry = entry.unwrap_or_else(|| panic!("{path} is not listed"));
            assert!(entry.split_once("): ").unwrap().1.len() > 10, "{path} has no sentence: {entry}");
            assert!(full.contains(text.as_str()), "{path} is not whole");
        }
    }

    #[test]
    fn a_sentence_ends_with_its_full_stop() {
        assert_eq!(first_sentence("`sse.x` is 1.5 long. More."), "`sse.x` is 1.5 long");
        assert_eq!(first_sentence("One."), "One");
        assert_eq!(first_sentence("Either: this"), "Either");
        assert_eq!(first_sentence(""), "");
    }
}
