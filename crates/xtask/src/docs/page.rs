//! A page of Markdown: its headings, its links and its blocks of code.
//!
//! Not a parser of all of Markdown: it knows what the pages of this house use, and reads line by line.

use std::collections::HashMap;

/// A block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its fence, from 1.
    pub(crate) line: usize,
    /// What stands after the fence: the language, and perhaps more.
    pub(crate) info: String,
    /// The anchor of the heading that it stands under.
    pub(crate) under: String,
    pub(crate) text: String,
}

/// A link to another place of the checkout or of the page, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) line: usize,
    pub(crate) target: String,
}

/// What is read of a page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) title: Option<String>,
    /// The first paragraph below the title, on one line and without marks.
    pub(crate) lead: String,
    pub(crate) anchors: Vec<String>,
    pub(crate) links: Vec<Link>,
    pub(crate) blocks: Vec<Block>,
}

impl Page {
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut block: Option<Block> = None;
        let mut is_past_lead = false;
        for (line, number) in text.lines().zip(1..) {
            let trimmed = line.trim_start();
            if let Some(info) = trimmed.strip_prefix("```") {
                if let Some(done) = block.take() {
                    page.blocks.push(done);
                } else {
                    let info = info.trim().to_owned();
                    let under = page.anchors.last().cloned().unwrap_or_default();
                    block = Some(Block { line: number, info, under, text: String::new() });
                }
                continue;
            }
            if let Some(open) = &mut block {
                open.text.push_str(line);
                open.text.push('\n');
                continue;
            }
            page.links.extend(links(line).map(|target| Link { line: number, target: target.to_owned() }));
            if let Some(heading) = heading(line) {
                let name = plain(heading);
                let anchor = anchor(&name);
                let count = seen.entry(anchor.clone()).or_default();
                page.anchors.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
                *count += 1;
                if page.title.is_none() {
                    page.title = Some(name);
                }
                is_past_lead |= !page.lead.is_empty();
            } else if trimmed.is_empty() {
                is_past_lead |= !page.lead.is_empty();
            } else if !is_past_lead && page.title.is_some() {
                if !page.lead.is_empty() {
                    page.lead.push(' ');
                }
                page.lead.push_str(&plain(trimmed));
            }
        }
        page
    }
}

/// The text of a heading.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level) && text.starts_with(' ')).then(|| text.trim())
}

/// The anchor of a heading, as mdBook and code hosts make it.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_ascii_lowercase()),
            c if c.is_whitespace() => Some('-'),
            _ => None,
        })
        .collect()
}

/// Text without the marks of code, emphasis and links.
fn plain(text: &str) -> String {
    let mut left = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("](") {
        left.push_str(&before.replacen('[', "", 1));
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    left.push_str(rest);
    left.replace(['`', '*'], "")
}

/// The targets of the links in a line, those in code left out.
pub(crate) fn links(line: &str) -> impl Iterator<Item = &str> {
    let outside_code = line.split('`').step_by(2);
    let of_piece = |piece| {
        let mut rest: &str = piece;
        std::iter::from_fn(move || {
            let (_, link) = rest.split_once("](")?;
            let (target, after) = link.split_once(')')?;
            rest = after;
            Some(target)
        })
    };
    // A link whose text is code begins in the piece after it: `[`, then `](target)`.
    outside_code.flat_map(of_piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_headings_links_blocks_and_a_lead() {
        let text = "# A `page`\n\nIt says [what](b.md#c)\nit is.\n\nMore.\n\n## Two words, here\n\n   ```sql excerpt\n   # no\n   ```\n\
                    ## Two words, here\n[`code`](d.md) and `[no](link)` [x](http://y)\n";
        let page = Page::read(text);
        assert_eq!(page.title.as_deref(), Some("A page"));
        assert_eq!(page.lead, "It says what it is.");
        assert_eq!(page.anchors, ["a-page", "two-words-here", "two-words-here-1"]);
        let targets: Vec<&str> = page.links.iter().map(|link| link.target.as_str()).collect();
        assert_eq!(targets, ["b.md#c", "d.md", "http://y"]);
        assert_eq!(page.blocks.len(), 1);
        assert_eq!((page.blocks[0].line, page.blocks[0].info.as_str()), (10, "sql excerpt"));
        assert_eq!(
            (page.blocks[0].under.as_str(), page.blocks[0].text.as_str()),
            ("two-words-here", "   # no\n")
        );
    }
}
