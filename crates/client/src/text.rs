//! Texts of others inside a program: in a string, as a key, in a comment. None of them can end what it stands
//! in.
//!
//! Not for identifiers (name.rs).

use std::fmt::Write;

/// A string literal. What could be invisible, or turn the direction of what follows, is escaped.
pub(crate) fn literal(text: &str) -> String {
    seen(&serde_json::Value::from(text).to_string())
}

/// JSON of one line, in which only strings can have such characters: there they are escaped.
pub(crate) fn seen(json: &str) -> String {
    let mut seen = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unseen(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(seen, "\\u{unit:04x}");
            }
        } else {
            seen.push(c);
        }
    }
    seen
}

/// The key of an object's type: bare where that is allowed without looking at tables of Unicode.
pub(crate) fn key(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty();
    if is_plain { name.to_owned() } else { literal(name) }
}

/// A comment in front of a declaration, with `indent` in front of each line.
pub(crate) fn comment<'l>(lines: impl Iterator<Item = &'l str>, indent: &str) -> String {
    let mut comment = format!("{indent}/**\n");
    for line in lines {
        let line = harmless(line);
        let _ = writeln!(comment, "{indent} * {line}");
    }
    // A line of nothing but blanks after the star is untidy.
    let comment = comment.replace(" * \n", " *\n");
    format!("{comment}{indent} */\n")
}

/// Without what would end a comment, or make it look as if it had ended.
fn harmless(line: &str) -> String {
    let line: String = line.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    line.trim_end().replace("*/", "*\\/")
}

/// Controls, line ends of JavaScript, and what turns the direction of a text or is not seen in it.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    // Attack: whoever may comment a routine writes code into everybody's client.
    #[test]
    fn a_text_cannot_end_the_comment_or_the_string_that_it_stands_in() {
        for text in ["*/ evil() /*", "**/", "*\u{0}/", "*\u{200b}/", "a\u{2028}*/", "*//"] {
            let comment = comment(std::iter::once(text), "");
            assert_eq!(comment.matches("*/").count(), 1, "{comment:?}");
            assert!(comment.ends_with(" */\n") && comment.lines().count() == 3, "{comment:?}");
        }
        assert_eq!(
            literal("a\"b\\\n\u{2028}\u{202e}\u{e0041}`${x}"),
            r#""a\"b\\\n\u2028\u202e\udb40\udc41`${x}""#
        );
    }

    #[test]
    fn a_key_is_quoted_unless_it_is_plain() {
        for (name, wanted) in [
            ("a", "a"),
            ("$1", "$1"),
            ("__proto__", "__proto__"),
            ("new", "new"),
            ("1a", "\"1a\""),
            ("", "\"\""),
            ("größe", "\"größe\""),
            ("a b", "\"a b\""),
        ] {
            assert_eq!(key(name), wanted);
        }
    }
}
