//! What is wrong in a comment, said to the person who wrote it (C2.5).
//!
//! Not for deciding what is wrong, and not an error of pg_sse: a problem is a value that a session warns with
//! and `sse.endpoints` shows.

use std::fmt::{self, Write};

/// One mistake of one annotation. `Display` writes one line of printable characters (C8.3), in lower case,
/// which names the line, the word, what was expected, and the nearest valid word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the comment, counted from 1; 0 when the comment as a whole, or the routine, is meant.
    pub line: usize,
    /// The word in question, as it was written.
    pub word: String,
    /// What is wrong with it and what was expected.
    pub message: String,
    /// The valid word that the author probably meant.
    pub nearest: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(line: usize, word: &str, message: impl Into<String>) -> Self {
        Self { line, word: word.to_owned(), message: message.into(), nearest: None }
    }

    pub(crate) fn with_nearest(self, nearest: Option<&'static str>) -> Self {
        Self { nearest, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.word.is_empty() {
            f.write_char('"')?;
            write_escaped(f, &self.word, MAX_WORD_CHARS)?;
            f.write_str("\": ")?;
        }
        write_escaped(f, &self.message, MAX_MESSAGE_CHARS)?;
        match self.nearest {
            Some(nearest) => write!(f, "; the nearest valid word is \"{nearest}\""),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// Characters of the word that are shown: enough to find it. A comment may be one word of a megabyte.
const MAX_WORD_CHARS: usize = 80;
/// Characters of the message that are shown; only names of other routines make one this long.
const MAX_MESSAGE_CHARS: usize = 500;

/// Control characters, and those that are invisible or turn the direction of the text, would let a comment
/// forge log lines or show a word that is not there.
pub(crate) fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str, max_chars: usize) -> fmt::Result {
    for (index, c) in text.chars().enumerate() {
        if index == max_chars {
            return f.write_str("...");
        }
        let is_hidden = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        if c.is_control() || is_hidden || (c.is_whitespace() && c != ' ') {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_one_line() {
        let problem = Problem::new(2, "@authorise", "unknown annotation").with_nearest(Some("@authorize"));
        let text = "line 2: \"@authorise\": unknown annotation; the nearest valid word is \"@authorize\"";
        assert_eq!(problem.to_string(), text);
        assert_eq!(Problem::new(0, "", "too much").to_string(), "too much");
    }

    /// Attack: a comment forges lines of the server log, or hides a word by turning the text's direction.
    #[test]
    fn control_and_hidden_characters_are_escaped() {
        let problem = Problem::new(1, "@sse\u{1b}[2J\u{202e}\u{a0}\n", "grün\0");
        assert_eq!(problem.to_string(), r#"line 1: "@sse\u{1b}[2J\u{202e}\u{a0}\n": grün\u{0}"#);
    }

    #[test]
    fn a_word_is_shown_up_to_its_limit() {
        for (length, shown, dots) in [(79, 79, ""), (80, 80, ""), (81, 80, "...")] {
            let problem = Problem::new(0, &"x".repeat(length), "m");
            assert_eq!(problem.to_string(), format!("\"{}{dots}\": m", "x".repeat(shown)));
        }
    }
}
