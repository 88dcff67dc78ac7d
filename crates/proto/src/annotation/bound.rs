//! How much of a comment is read, and what is found out about a longer one (C2.5).
//!
//! A comment may have a gigabyte, and the owner of the routine writes it. Reading a comment costs more than
//! its length suggests, because each misspelt word is compared with every word of ours; and it is read in the
//! session that sets it, in every session that calls the routine, and in the gateway. So a comment that is
//! ours and longer than [`MAX_COMMENT_BYTES`] is one mistake, and is not read. How its lines begin tells
//! whether it is ours.
//!
//! Not for reading: `parse`.

use super::http;
use super::keyword::begins_with_sse;
use super::problem::Problem;

/// Longest comment that is read, in bytes: of the text as it is stored, and of its UTF-8. An annotation has
/// some hundred bytes; a longer comment is documentation. Beyond it: [`too_long`].
pub const MAX_COMMENT_BYTES: usize = 64 * 1024;

/// Mistakes that are found in one comment; beyond it reading ends with [`and_more`]. Nobody mends more at a
/// time, and each is kept, sent and shown.
pub const MAX_PROBLEMS: usize = 50;

/// Bytes of a line that are looked at to find out whether it is ours. An annotation after more blanks than
/// this is not found; the comment is too long to be read anyway.
const MAX_HEAD_BYTES: usize = 256;

/// What is wrong with a comment that is ours and longer than [`MAX_COMMENT_BYTES`].
pub fn too_long() -> Problem {
    let message = format!(
        "the comment is longer than {} kB and was not read: expected a shorter one, with the same annotations",
        MAX_COMMENT_BYTES >> 10
    );
    Problem::new(0, "", message)
}

/// The last problem of a comment with more than [`MAX_PROBLEMS`].
pub(super) fn and_more(line: usize) -> Problem {
    Problem::new(line, "", "and more: nothing was read from here on")
}

/// Looks for a line of ours in a comment of any length and encoding, a piece at a time so that the caller can
/// look at interrupts in between. In every encoding of a server what looks like ASCII is ASCII.
///
/// A line is ours when it begins with `@sse`, or is `HTTP`, alone or followed by a method or path: as much as
/// can be seen without reading further. `@sse = false` counts too.
pub struct Skim<'a> {
    rest: &'a [u8],
    in_line: bool,
}

impl<'a> Skim<'a> {
    /// Begins at the beginning.
    pub fn new(comment: &'a [u8]) -> Self {
        Self { rest: comment, in_line: false }
    }

    /// Looks at about `bytes` more. `None`: there is more to look at; else whether the comment is ours.
    pub fn look(&mut self, mut bytes: usize) -> Option<bool> {
        while bytes > 0 && !self.rest.is_empty() {
            if !self.in_line && begins_ours(head(self.rest)) {
                return Some(true);
            }
            let window = &self.rest[..self.rest.len().min(bytes)];
            let line_end = window.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.in_line = line_end.is_none();
            let passed = line_end.map_or(window.len(), |end| end + 1);
            self.rest = &self.rest[passed..];
            bytes -= passed;
        }
        self.rest.is_empty().then_some(false)
    }

    /// Looks at all of it.
    pub fn look_at_all(mut self) -> bool {
        self.look(usize::MAX).unwrap_or(false)
    }
}

fn head(rest: &[u8]) -> &[u8] {
    let head = &rest[..rest.len().min(MAX_HEAD_BYTES)];
    let end = head.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    &head[..end.unwrap_or(head.len())]
}

fn begins_ours(line: &[u8]) -> bool {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let text = &line[blanks..];
    if !matches!(text.first(), Some(b'@' | b'H' | b'h')) {
        return false;
    }
    let ascii = &text[..text.iter().position(|byte| !byte.is_ascii()).unwrap_or(text.len())];
    let text = std::str::from_utf8(ascii).unwrap_or_default();
    begins_with_sse(text) || http::is_plainly_one(text)
}
