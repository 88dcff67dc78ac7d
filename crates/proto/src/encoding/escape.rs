//! Characters that the database's encoding lacks, in the settings of a call: written in ASCII, so that a
//! routine that does not look at them can be called.
//!
//! Not for the data of events, where they are replaced ([`super::to_utf8`]), nor for arguments, which are
//! refused.

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// As JSON: JSON has escapes.
    Json,
    /// As it is.
    Plain,
}

/// Encloses the hexadecimal number that replaces a character of a plain text. It is a control character that
/// every encoding has and no name uses; if a text has it, it is replaced in the same way. So two users never
/// get the same name, which row security would take for one user: with `?` as the replacement `a€` and `a₤`
/// would both be `a?`.
const MARK: char = '\u{1a}';

/// The text with its unfit characters replaced; `None` when all of them fit.
pub fn escaped(text: &str, notation: Notation, mut fits: impl FnMut(char) -> bool) -> Option<String> {
    let mut is_same = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let is_kept = (c.is_ascii() || fits(c)) && (notation == Notation::Json || c != MARK);
        is_same &= is_kept;
        match notation {
            _ if is_kept => out.push(c),
            Notation::Plain => out.push_str(&format!("{MARK}{:x}{MARK}", u32::from(c))),
            Notation::Json => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    (!is_same).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latin1(text: &str, notation: Notation) -> Option<String> {
        escaped(text, notation, |c| u32::from(c) < 256)
    }

    #[test]
    fn what_fits_is_left_alone() {
        for text in ["", "plain ?", "J\u{fc}rgen"] {
            assert_eq!((latin1(text, Notation::Plain), latin1(text, Notation::Json)), (None, None), "{text}");
        }
    }

    /// Attack: a name whose written form is another user's name.
    #[test]
    fn no_two_names_are_written_alike() {
        let names =
            ["a\u{20ac}", "a\u{20a4}", "a?", "a\u{1a}20ac\u{1a}", "a\u{1a}", "a\u{1a}1a\u{1a}", "a\u{1f418}"];
        let written = names.map(|name| latin1(name, Notation::Plain).unwrap_or_else(|| name.to_owned()));
        for (at, one) in written.iter().enumerate() {
            assert!(written.iter().skip(at + 1).all(|other| other != one), "{one:?}");
        }
        assert_eq!(written[0], "a\u{1a}20ac\u{1a}");
    }

    #[test]
    fn json_means_what_it_meant() {
        let json = "{\"n\u{fc}\u{20ac}\":[\"\u{1f418}\",\"\\u001a\"]}";
        let written = latin1(json, Notation::Json).unwrap_or_default();
        assert_eq!(written, "{\"n\u{fc}\\u20ac\":[\"\\ud83d\\udc18\",\"\\u001a\"]}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        assert_eq!(read(&written), read(json));
    }
}
