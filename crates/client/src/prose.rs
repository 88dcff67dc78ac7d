//! The prose of comments: how much of it is kept, and what descriptions are made of it, which are Markdown
//! for whoever shows a document.
//!
//! Of a comment nothing is looked at beyond what there is room for: whoever has routines may give each of
//! them 64 kB of lines of one letter, and thousands of overloads one path.
//!
//! Not for a client's comments (text.rs).

use serde_json::{Map, Value};
use sse_proto::annotation;

use crate::text::is_unseen;

/// Bytes of a routine's prose that are kept, with the ends of its lines, and of a description, which may be
/// that of many overloads. A comment may have 64 kB, of which a hundred would fill the client or the document
/// for all: a longer one is cut, with `…` at its end.
const MAX_PROSE_BYTES: usize = 4 << 10;

/// Bytes of a summary, which tools show as a title.
const MAX_SUMMARY_BYTES: usize = 120;

/// What is at the end of what was cut.
const MARK: char = '…';

/// The lines of a comment that are for people, as far as they are shown.
pub(crate) fn kept(comment: &str) -> String {
    let mut kept = String::new();
    for (place, line) in annotation::prose(comment).enumerate() {
        let has_room = place == 0 || add(&mut kept, "\n", MAX_PROSE_BYTES);
        if !(has_room && add(&mut kept, line, MAX_PROSE_BYTES)) {
            break;
        }
    }
    kept.shrink_to_fit();
    kept
}

/// Puts summary and description of the prose of overloads into an object: the first line and, if there is
/// more, all of it, with empty lines between the overloads.
pub(crate) fn describe<'p>(prose: impl IntoIterator<Item = &'p str>, into: &mut Map<String, Value>) {
    let texts = prose.into_iter().filter(|text| !text.is_empty()).enumerate();
    let mut lines =
        texts.flat_map(|(place, text)| (place > 0).then_some("").into_iter().chain(text.split('\n')));
    let Some(first) = lines.next().map(harmless) else { return };
    let (mut summary, mut description) = (String::new(), String::new());
    let mut has_more = !add(&mut summary, &first, MAX_SUMMARY_BYTES);
    into.insert("summary".to_owned(), summary.into());
    let mut has_room = add(&mut description, &first, MAX_PROSE_BYTES);
    while has_room && let Some(line) = lines.next() {
        has_more = true;
        has_room = add(&mut description, "\n", MAX_PROSE_BYTES)
            && add(&mut description, &harmless(line), MAX_PROSE_BYTES);
    }
    if has_more {
        into.insert("description".to_owned(), description.into());
    }
}

/// Adds what there is room for. `false`: that was not all, and the text is marked.
fn add(text: &mut String, more: &str, most: usize) -> bool {
    if text.len() + more.len() <= most {
        text.push_str(more);
        return true;
    }
    // Not within a character.
    let room = most - MARK.len_utf8();
    match room.checked_sub(text.len()) {
        Some(room) => text.push_str(&more[..more.floor_char_boundary(room)]),
        None => text.truncate(text.floor_char_boundary(room)),
    }
    text.push(MARK);
    false
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
        describe([lines.join("\n").as_str()], &mut described);
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

    #[test]
    fn of_a_comment_4_kb_are_kept_with_the_ends_of_its_lines() {
        for (comment, wanted) in [
            ("", ""),
            ("HTTP GET\n@sse", ""),
            ("a\r\n\n\n  b \nHTTP GET\nc\n\nd\n\n@sse\n\n", "a\n\nb\n\nc\n\nd"),
        ] {
            assert_eq!(kept(comment), wanted, "{comment}");
        }
        for bytes in [4095, 4096, 4097, 4098, 60_000] {
            let lines = ["x\n".repeat(1000), "y".repeat(bytes - 2000)].concat();
            for comment in [lines, "x".repeat(bytes)] {
                let kept = kept(&comment);
                assert_eq!((kept.len(), kept.ends_with('…')), (bytes.min(4096), bytes > 4096), "{bytes}");
                assert!(bytes > 4096 || kept == comment, "{bytes}");
                assert!(kept.capacity() <= 4096, "{}", kept.capacity());
            }
        }
        // What is beyond the bound begins at the end of a line, and is an empty line and another one.
        for bytes in [4094, 4095, 4096] {
            let kept = kept(&["x".repeat(bytes).as_str(), "", "y"].join("\n"));
            assert!(kept.len() <= 4096 && kept.ends_with("x…"), "{bytes}");
        }
        let kept = kept(&"ü".repeat(3000));
        assert!((4094..=4096).contains(&kept.len()) && kept.ends_with("ü…"), "{}", kept.len());
    }

    // Attack: whoever has routines gives thousands of overloads one path and long comments.
    #[test]
    fn of_overloads_nothing_is_looked_at_behind_what_a_description_has_room_for() {
        let text = kept(&"a\n".repeat(30_000));
        let mut looked_at = 0;
        let mut described = Map::new();
        describe((0..1_000).inspect(|_| looked_at += 1).map(|_| text.as_str()), &mut described);
        // The first has the bound, and the second tells that there is more.
        assert_eq!((described["summary"].as_str(), looked_at), (Some("a"), 2));
        assert_eq!(described["description"].as_str().map(str::len), Some(4096));
        // Empty lines are between them.
        let bytes = |overloads: usize, last: &str| {
            let mut described = Map::new();
            let texts = std::iter::repeat_n("1234567", overloads).chain([last, ""]);
            describe(texts, &mut described);
            let text = described["description"].as_str().unwrap_or_default().to_owned();
            assert!(text.starts_with("1234567\n\n1234567\n\n"), "{text}");
            (text.len(), text.ends_with('…'))
        };
        // 454 times nine.
        assert_eq!(bytes(454, "123456789"), (4095, false));
        assert_eq!(bytes(454, "1234567890"), (4096, false));
        assert_eq!(bytes(454, "12345678901"), (4096, true));
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
