//! The prose of a comment as descriptions, which are Markdown for whoever shows a document.
//!
//! Not for a client's comments (text.rs).

use serde_json::{Map, Value};

use crate::text::is_unseen;

/// Bytes of a description. A comment may have 64 kB, of which a thousand would fill the document for all: a
/// longer one is cut, with `…` at its end.
const MAX_DESCRIPTION_BYTES: usize = 4 << 10;

/// Bytes of a summary, which tools show as a title.
const MAX_SUMMARY_BYTES: usize = 120;

/// Puts summary and description of a routine's prose into an object: the first line and, if there is more,
/// all of it.
pub(crate) fn describe(prose: &[String], into: &mut Map<String, Value>) {
    let Some(first) = prose.first() else { return };
    let summary = cut(harmless(first), MAX_SUMMARY_BYTES);
    let is_all = prose.len() == 1 && !summary.ends_with('…');
    into.insert("summary".to_owned(), summary.into());
    if !is_all {
        let lines: Vec<String> = prose.iter().map(|line| harmless(line)).collect();
        into.insert("description".to_owned(), cut(lines.join("\n"), MAX_DESCRIPTION_BYTES).into());
    }
}

/// Between two characters, and marked.
fn cut(mut text: String, most: usize) -> String {
    const MARK: char = '…';
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - MARK.len_utf8()));
        text.push(MARK);
    }
    text
}

/// A line of Markdown without what a page could take for HTML, or for a link to a script: whoever may comment
/// a routine must not write programs into the page that shows a document. A blank takes the meaning from all
/// of these; a backslash would not, since one may stand in front of it already.
fn harmless(line: &str) -> String {
    let line: String = line.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    let mut harmless = String::with_capacity(line.len());
    for (at, c) in line.char_indices() {
        harmless.push(c);
        let behind = &line[at + c.len_utf8()..];
        let is_active = match c {
            // A tag, a comment, a declaration, or a link.
            '<' => behind.starts_with(|next: char| next.is_ascii_alphabetic() || "/!?".contains(next)),
            // An entity, perhaps in the target of a link.
            '&' => behind
                .trim_start_matches(|next: char| next == '#' || next.is_ascii_alphanumeric())
                .starts_with(';'),
            // The target of a link, in the line or elsewhere.
            ']' => behind.strip_prefix(['(', ':']).is_some_and(|target| !is_web(target.trim_start())),
            _ => false,
        };
        harmless.extend(is_active.then_some(' '));
    }
    harmless
}

fn is_web(target: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| target.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(lines: &[&str]) -> Map<String, Value> {
        let mut described = Map::new();
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        describe(&lines, &mut described);
        described
    }

    #[test]
    fn the_first_line_is_the_summary_and_further_lines_make_a_description() {
        assert!(described(&[]).is_empty());
        let one = described(&["What was said."]);
        assert_eq!((one.get("summary"), one.get("description")), (Some(&"What was said.".into()), None));
        let two = described(&["What was said.", "", "Or `a < b`, & so on: https://x.org"]);
        assert_eq!(two["description"], "What was said.\n\nOr `a < b`, & so on: https://x.org");
    }

    #[test]
    fn prose_is_cut_at_4_kb_and_a_title_at_120_bytes() {
        for (bytes, has_more) in [(119, false), (120, false), (121, true)] {
            let described = described(&["x".repeat(bytes).as_str()]);
            assert_eq!(described["summary"].as_str().map(str::len), Some(bytes.min(120)), "{bytes}");
            assert_eq!(described.contains_key("description"), has_more, "{bytes}");
        }
        for bytes in [4095, 4096, 4097, 60_000] {
            let described = described(&["", "x".repeat(bytes - 1).as_str()]);
            let text = described["description"].as_str().unwrap_or_default();
            assert_eq!((text.len(), text.ends_with('…')), (bytes.min(4096), bytes > 4096), "{bytes}");
        }
        // Not within a character.
        assert!(
            described(&["ü".repeat(100).as_str()])["summary"].as_str().is_some_and(|text| text.len() < 120)
        );
    }

    // Attack: whoever may comment a routine writes a program into the page that shows the document.
    #[test]
    fn no_prose_is_html_or_a_link_to_a_script() {
        for (prose, wanted) in [
            ("<script>evil()</script>", "< script>evil()< /script>"),
            ("\\<script>", "\\< script>"),
            ("<!-- <?x", "< !-- < ?x"),
            ("<javascript:evil()>", "< javascript:evil()>"),
            ("[a](javascript:evil())", "[a] (javascript:evil())"),
            ("[a](https&colon;//x &#106; &;", "[a] (https& colon;//x & #106; & ;"),
            ("[a](https://x.org/?a&b)", "[a](https://x.org/?a&b)"),
            ("[a]: javascript:evil()", "[a] : javascript:evil()"),
            ("[a]:  https://x.org", "[a]:  https://x.org"),
            ("a\u{202e}b\u{0}", "a b "),
            ("1 < 2 && x <= y", "1 < 2 && x <= y"),
        ] {
            assert_eq!(harmless(prose), wanted, "{prose}");
        }
    }
}
