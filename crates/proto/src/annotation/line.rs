//! Takes a comment apart: its lines, and each line's word and value (C2.1).
//!
//! Not for what a word means.

use super::http::{self, Likeness};
use super::keyword::{self, Keyword};
use crate::scope::{BLANKS, is_separator, leading_name};

/// One line of a comment, blanks around it taken off.
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) text: &'a str,
    pub(super) content: Content<'a>,
}

pub(super) enum Content<'a> {
    /// An annotation of ours, well formed up to its value.
    Annotation(Keyword, &'a str, Value<'a>),
    /// A word that begins with `@` and is not ours, or is followed by something other than a separator or
    /// `=`.
    Other(&'a str),
    /// A line that begins with `HTTP` and is one of ours, surely or perhaps.
    Http(Likeness),
    Prose,
}

/// What follows a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Nothing (`@key`, `@key = true`), or a text that begins with a word and does not end with a blank. A
    /// comma at its end is kept: `@sse_scope authorize,` is not `@sse_scope authorize`.
    Given(&'a str),
    /// `@key = false`: the line counts as absent.
    Absent,
    /// `@key =`, `@key,`, `@key == x`, `@key = true x`.
    Malformed,
}

impl Line<'_> {
    /// Whether this line makes the comment one in which near misses are looked for (C2.5).
    pub(super) fn is_ours(&self) -> bool {
        match self.content {
            Content::Annotation(_, _, Value::Absent) | Content::Prose => false,
            Content::Annotation(_, word, _) | Content::Other(word) => keyword::begins_with_sse(word),
            Content::Http(likeness) => likeness == Likeness::Certain,
        }
    }
}

/// The lines that are not empty. CR, LF and CRLF end a line.
pub(super) fn lines(comment: &str) -> impl Iterator<Item = Line<'_>> {
    let mut number = 0;
    let mut rest = Some(comment);
    let numbered = std::iter::from_fn(move || {
        let text = rest?;
        number += 1;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some((number, text));
        };
        let length = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + length..]);
        Some((number, &text[..end]))
    });
    numbered
        .map(|(number, text)| (number, text.trim_matches(BLANKS)))
        .filter(|(_, text)| !text.is_empty())
        .map(|(number, text)| Line { number, text, content: content(text) })
}

/// The lines of a comment that are for people, and empty ones between them: without ours, and without words
/// of other tools. Each is looked for when it is asked for: a comment may have tens of thousands.
pub fn prose(comment: &str) -> impl Iterator<Item = &str> {
    let mut last = None;
    let lines = lines(comment).filter(|line| matches!(line.content, Content::Prose));
    lines.flat_map(move |line| {
        let is_apart = last.is_some_and(|last| line.number > last + 1);
        last = Some(line.number);
        is_apart.then_some("").into_iter().chain([line.text])
    })
}

fn content(text: &str) -> Content<'_> {
    let Some(behind_at) = text.strip_prefix('@') else {
        return match http::likeness(text) {
            Likeness::Prose => Content::Prose,
            likeness => Content::Http(likeness),
        };
    };
    let (word, rest) = text.split_at(1 + leading_name(behind_at).len());
    let ends_well = rest.is_empty() || rest.starts_with(|c| c == '=' || is_separator(c));
    match Keyword::parse(word) {
        Some(keyword) if ends_well => Content::Annotation(keyword, word, value(rest)),
        _ => Content::Other(word),
    }
}

fn value(rest: &str) -> Value<'_> {
    let rest = rest.trim_matches(BLANKS);
    let Some(assigned) = rest.strip_prefix('=') else {
        let value = rest.trim_start_matches(is_separator);
        // A lone comma announces a value that is missing; taking `@authorize,` for `@authorize` would let in
        // more people.
        return if value.is_empty() && !rest.is_empty() { Value::Malformed } else { Value::Given(value) };
    };
    let assigned = assigned.trim_start_matches(is_separator);
    let first = &assigned[..assigned.find(is_separator).unwrap_or(assigned.len())];
    let (is_true, is_false) = (first.eq_ignore_ascii_case("true"), first.eq_ignore_ascii_case("false"));
    match () {
        () if assigned.is_empty() || assigned.starts_with('=') => Value::Malformed,
        () if (is_true || is_false) && first.len() < assigned.len() => Value::Malformed,
        () if is_true => Value::Given(""),
        () if is_false => Value::Absent,
        () => Value::Given(assigned),
    }
}
