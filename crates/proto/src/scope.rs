//! Who receives an event: the scope of an annotation, of `sse.publish`, and of a `RAISE`'s hint (C3.3, C4.2).
//!
//! A list is written as words separated by blank, tab or comma. A value with a blank, comma or double quote
//! stands in double quotes, in which a double quote is doubled as in SQL: `authorize alice, "role:sales
//! team", "the ""boss"""`; `role:"sales team"` is the same as `"role:sales team"`. An unquoted line break or
//! other control character is an error.
//!
//! Not for comparing a scope with a subscriber, nor for hints that are no scopes (`scope/hint.rs`). A hint is
//! parsed inside Postgres' `emit_log_hook`: memory is asked for with `try_reserve` and, where there is none,
//! nobody receives the event.

use std::fmt;

mod hint;

pub use hint::{Hint, authorize_hint};

/// Values of one list: as many as an identity may have roles. An event for more receivers should be for a
/// role that they share, because every value is copied with its event and looked up among the streams. Beyond
/// it the list is refused, and nobody receives the event.
pub const MAX_VALUES: usize = 1000;

/// Who receives an event (C4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every subscriber.
    All,
    /// Every authenticated subscriber when the list is empty, else those that one value names.
    /// [`Scope::authorize`] makes one from a list that was written down, where "empty" must not come to mean
    /// "every".
    Authorize(Vec<ScopeValue>),
    /// Those whose security context matches the emitting one.
    Matching,
    /// The HTTP call that raised it, and nobody else.
    Caller,
    /// No one: a list of which no value is left (C3.3), written `authorize ""`.
    Nobody,
}

/// One value of a list. `Any` never begins with `id:`, `name:` or `role:`; [`ScopeValue::new`] sees to that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeValue {
    /// Compares with the user id, the user name and every role.
    Any(String),
    /// `id:42`
    Id(String),
    /// `name:alice`
    Name(String),
    /// `role:admin`
    Role(String),
}

/// Why a text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeError {
    /// No word at all.
    Empty,
    /// The first word is not one of [`Scope::WORDS`].
    Unknown,
    /// Something follows `all`, `matching` or `caller`.
    Surplus,
    /// A separator follows, but no value: what `format('authorize %s', NULL)` makes.
    NoValue,
    /// A double quote that is not closed, or one in the middle of a word.
    Quote,
    /// A line break, control character or foreign blank outside of double quotes.
    Blank,
    /// `role: admin`, which would compare `admin` with ids and names too.
    DetachedKind,
    /// More than [`MAX_VALUES`] values.
    TooMany,
    /// No memory for a copy of the values.
    OutOfMemory,
}

impl Scope {
    /// The words a scope begins with.
    pub const WORDS: [&'static str; 4] = ["all", "authorize", "matching", "caller"];

    /// Parses all of `text` as one scope; keywords without regard to ASCII case, blanks around it are
    /// ignored.
    ///
    /// # Errors
    /// [`ScopeError`]: every text that is not wholly a scope, including `authorize` followed by a separator
    /// and no value.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let text = text.trim_start_matches(BLANKS);
        let (word, rest) = text.split_at(text.find(is_separator).unwrap_or(text.len()));
        let rest_is_blank = rest.trim_matches(BLANKS).is_empty();
        match () {
            () if text.is_empty() => Err(ScopeError::Empty),
            () if word.eq_ignore_ascii_case("authorize") && rest.is_empty() => {
                Ok(Self::Authorize(Vec::new()))
            }
            () if word.eq_ignore_ascii_case("authorize") => match values(rest)? {
                list if list.is_empty() => Err(ScopeError::NoValue),
                list => Ok(Self::authorize(list)),
            },
            () => match ALONE.iter().find(|(alone, _)| word.eq_ignore_ascii_case(alone)) {
                Some((_, scope)) if rest_is_blank => Ok(scope.clone()),
                Some(_) => Err(ScopeError::Surplus),
                None => Err(ScopeError::Unknown),
            },
        }
    }

    /// The scope of a list that somebody wrote: empty values match nobody (C4.2) and are left out, and a list
    /// of which nothing is left is [`Scope::Nobody`], never "every authenticated one".
    pub fn authorize(mut values: Vec<ScopeValue>) -> Self {
        values.retain(|value| !value.text().is_empty());
        if values.is_empty() { Self::Nobody } else { Self::Authorize(values) }
    }
}

/// Writes the scope so that [`Scope::parse`] gives it back.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Matching => f.write_str("matching"),
            Self::Caller => f.write_str("caller"),
            Self::Nobody => f.write_str("authorize \"\""),
            Self::Authorize(values) => {
                f.write_str("authorize")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{} {value}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

impl ScopeValue {
    /// A value as it is meant, without quotes: `role:sales team` is a role. The kind is read without regard
    /// to case.
    pub fn new(text: &str) -> Self {
        Self::from_owned(text.to_owned())
    }

    fn from_owned(mut text: String) -> Self {
        for (kind, make) in KINDS {
            if text.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)) {
                text.drain(..kind.len());
                return make(text);
            }
        }
        Self::Any(text)
    }

    /// What is compared, without the kind. An empty text matches nobody.
    pub fn text(&self) -> &str {
        match self {
            Self::Any(text) | Self::Id(text) | Self::Name(text) | Self::Role(text) => text,
        }
    }

    /// `id:`, `name:`, `role:`, or nothing for [`ScopeValue::Any`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Any(_) => "",
            Self::Id(_) => KINDS[0].0,
            Self::Name(_) => KINDS[1].0,
            Self::Role(_) => KINDS[2].0,
        }
    }
}

/// Writes the value as it stands in a list, in double quotes where it must.
impl fmt::Display for ScopeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, text) = (self.kind(), self.text());
        let is_plain = |c: char| c != '"' && c != ',' && !c.is_whitespace() && !c.is_control();
        if !text.is_empty() && text.chars().all(is_plain) {
            return write!(f, "{kind}{text}");
        }
        write!(f, "\"{kind}")?;
        for (index, part) in text.split('"').enumerate() {
            f.write_str(if index == 0 { "" } else { "\"\"" })?;
            f.write_str(part)?;
        }
        f.write_str("\"")
    }
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => {
                "expected \"all\", \"matching\", \"caller\" or \"authorize\" with an optional list"
            }
            Self::Unknown => {
                "not a scope: expected \"all\", \"matching\", \"caller\" or \"authorize\" with an optional list"
            }
            Self::Surplus => "nothing may follow \"all\", \"matching\" or \"caller\"",
            Self::NoValue => "expected a value after the separator",
            Self::Quote => {
                "a double quote must begin and end a value; one that belongs to the value is doubled (\"\")"
            }
            Self::Blank => "a line break, control character or unusual blank must stand in double quotes",
            Self::DetachedKind => "a value must follow its \"id:\", \"name:\" or \"role:\" without a blank",
            Self::TooMany => "a list has at most 1000 values",
            Self::OutOfMemory => "out of memory",
        })
    }
}

impl std::error::Error for ScopeError {}

/// The letters, digits, `_` and `-` that a text begins with.
pub(crate) fn leading_name(text: &str) -> &str {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    &text[..text.find(|c| !is_name(c)).unwrap_or(text.len())]
}

/// Parses a list of values (also that of `@authorize`). Superfluous separators are ignored, so the list may
/// be empty.
pub(crate) fn values(text: &str) -> Result<Vec<ScopeValue>, ScopeError> {
    let mut values = Vec::new();
    let mut rest = text;
    while let Some(word) = next_word(&mut rest)? {
        let gap = &rest[..rest.find(|c| !is_separator(c)).unwrap_or(rest.len())];
        let last = gap.len() == rest.len();
        let value = ScopeValue::from_owned(word.text);
        if !value.kind().is_empty() && value.text().is_empty() && !last && !gap.contains(',') {
            return Err(ScopeError::DetachedKind);
        }
        if values.len() == MAX_VALUES {
            return Err(ScopeError::TooMany);
        }
        values.try_reserve(1).map_err(|_| ScopeError::OutOfMemory)?;
        values.push(value);
    }
    Ok(values)
}

/// One word of a line or list, its quotes taken off.
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) quoted: bool,
}

/// Takes the next word off `rest`; `None` when only separators are left.
pub(crate) fn next_word(rest: &mut &str) -> Result<Option<Word>, ScopeError> {
    let start = rest.trim_start_matches(is_separator);
    *rest = start;
    if start.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    let plain = start.find(|c| is_separator(c) || c == '"').unwrap_or(start.len());
    try_push(&mut text, &start[..plain])?;
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(ScopeError::Blank);
    }
    *rest = &start[plain..];
    let Some(mut quoted) = rest.strip_prefix('"') else {
        return Ok(Some(Word { text, quoted: false }));
    };
    if !text.is_empty() && !KINDS.iter().any(|(kind, _)| text.eq_ignore_ascii_case(kind)) {
        return Err(ScopeError::Quote);
    }
    loop {
        let (part, behind) = quoted.split_once('"').ok_or(ScopeError::Quote)?;
        try_push(&mut text, part)?;
        quoted = behind;
        let Some(behind) = behind.strip_prefix('"') else { break };
        try_push(&mut text, "\"")?;
        quoted = behind;
    }
    if !quoted.is_empty() && !quoted.starts_with(is_separator) {
        return Err(ScopeError::Quote);
    }
    *rest = quoted;
    Ok(Some(Word { text, quoted: true }))
}

fn try_push(text: &mut String, part: &str) -> Result<(), ScopeError> {
    text.try_reserve(part.len()).map_err(|_| ScopeError::OutOfMemory)?;
    text.push_str(part);
    Ok(())
}

/// C2.1: words are separated by space, tab or comma.
pub(crate) fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\t' | ',')
}

/// Scopes that are one word, and that nothing may follow.
const ALONE: [(&str, Scope); 3] =
    [("all", Scope::All), ("matching", Scope::Matching), ("caller", Scope::Caller)];

pub(crate) const BLANKS: [char; 2] = [' ', '\t'];

type MakeValue = fn(String) -> ScopeValue;
const KINDS: [(&str, MakeValue); 3] =
    [("id:", ScopeValue::Id), ("name:", ScopeValue::Name), ("role:", ScopeValue::Role)];

#[cfg(test)]
mod tests;
