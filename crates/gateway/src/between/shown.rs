//! Texts of others, cut for people to look at.
//!
//! Not for the log, where characters are escaped besides: `outbox`.

use std::fmt::{Display, Write};

/// The beginning of a text, at most this many bytes, cut between two characters and then marked by `…`, which
/// is three bytes more.
pub(crate) fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes)])
}

/// The same of what is written only as far as it is shown.
pub(crate) fn cut_display(what: &impl Display, bytes: usize) -> String {
    struct Beginning(String, usize);
    impl Write for Beginning {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = self.1 - self.0.len();
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            self.0.push_str(&text[..text.floor_char_boundary(room)]);
            Err(std::fmt::Error)
        }
    }
    let mut beginning = Beginning(String::new(), bytes);
    if write!(beginning, "{what}").is_err() {
        beginning.0.push('…');
    }
    beginning.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_marked_only_when_it_is_longer() {
        for (text, shown) in
            [("", ""), ("ab", "ab"), ("abc", "abc"), ("abcd", "abc…"), ("abé", "ab…"), ("éé", "é…")]
        {
            assert_eq!(cut(text, 3), shown);
            assert_eq!(cut_display(&text, 3), shown);
        }
    }
}
