//! `@sse_snapshot routine [as name]` (C7.6): a routine's name as SQL writes it, and the name of the event.
//!
//! Not for whether there is such a routine: that is `route`.

use crate::scope::{is_separator, next_word};
use crate::word::EventName;
use std::fmt;

/// What `@sse_snapshot` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSource {
    /// The schema given; `None` is that of the annotated routine.
    pub schema: Option<String>,
    /// The function's name, without arguments.
    pub name: String,
    /// What `as` says; `None`: named like the stream's events.
    pub event: Option<EventName>,
}

impl SnapshotSource {
    /// The function that is meant, for a routine of this schema: its schema and its name.
    pub fn function<'a>(&'a self, schema: &'a str) -> (&'a str, &'a str) {
        (self.schema.as_deref().unwrap_or(schema), &self.name)
    }
}

/// Why a text names no snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotASource {
    /// Nothing, too much, or something else than `as` after the name: this word.
    Usage(Option<String>),
    /// This is no name of a routine.
    Name(String),
    /// This is no name of an event, because.
    Event(String, String),
}

/// Reads what follows the word.
pub(super) fn parse(text: &str) -> Result<SnapshotSource, NotASource> {
    let end = |rest: &str| rest.find(is_separator).unwrap_or(rest.len());
    let no_name = || NotASource::Name(text[..end(text)].to_owned());
    if text.is_empty() {
        return Err(NotASource::Usage(None));
    }
    let (first, mut rest) = identifier(text).ok_or_else(no_name)?;
    let mut second = None;
    if let Some(behind_dot) = rest.strip_prefix('.') {
        let (name, behind) = identifier(behind_dot).ok_or_else(no_name)?;
        (second, rest) = (Some(name), behind);
    }
    if !rest.is_empty() && !rest.starts_with(is_separator) {
        return Err(no_name());
    }
    let (schema, name) = match second {
        Some(second) => (Some(first), second),
        None => (None, first),
    };
    let mut words = Vec::new();
    while let Some(word) = next_word(&mut rest).map_err(|_| NotASource::Usage(Some(rest.to_owned())))? {
        words.push(word);
    }
    let event = match words.as_slice() {
        [] => None,
        [word, event] if !word.quoted && word.text.eq_ignore_ascii_case("as") => {
            let parsed = EventName::parse(&event.text);
            Some(parsed.map_err(|error| NotASource::Event(event.text.clone(), error.to_string()))?)
        }
        [first, ..] => return Err(NotASource::Usage(Some(first.text.clone()))),
    };
    Ok(SnapshotSource { schema, name, event })
}

/// An identifier at the beginning of a text, as SQL reads it, and what follows it: in double quotes as it
/// stands, else in lower case (of ASCII: what becomes of other letters depends on the server's locale).
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let is_name = |c: char| c == '_' || c == '$' || c.is_ascii_alphanumeric() || !c.is_ascii();
        let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let begins_well = !name.is_empty() && !name.starts_with(|c: char| c == '$' || c.is_ascii_digit());
        return begins_well.then(|| (name.to_ascii_lowercase(), rest));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(behind) = rest.strip_prefix('"') else {
            return (!name.is_empty()).then_some((name, rest));
        };
        name.push('"');
        rest = behind;
    }
}

/// The name as SQL would have it, as far as it was given.
impl fmt::Display for SnapshotSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn source(text: &str) -> (Option<String>, String, Option<String>) {
        let source = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        (source.schema, source.name, source.event.map(|event| event.as_str().to_owned()))
    }

    #[test]
    fn a_routine_is_named_as_in_sql() {
        let owned = |text: &str| Some(text.to_owned());
        for (text, schema, name) in [
            ("f", None, "f"),
            ("Get_All", None, "get_all"),
            ("app.f", owned("app"), "f"),
            ("\"My Schema\".\"a \"\"b\"\"\"", owned("My Schema"), "a \"b\""),
            ("\"app.f\"", None, "app.f"),
            ("größe.f$1", owned("größe"), "f$1"),
        ] {
            assert_eq!(source(text), (schema.clone(), name.to_owned(), None), "{text}");
            let named = format!("{text} AS state");
            assert_eq!(source(&named), (schema, name.to_owned(), owned("state")), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_name_or_too_much() {
        for text in ["f()", "1f", "app.", ".f", "\"\"", "\"open", "a.b.c", "app. f", "f;", "$f", "a-b"] {
            assert!(matches!(parse(text), Err(NotASource::Name(_))), "{text}: {:?}", parse(text));
        }
        for text in ["", "f as", "f as a b", "f g", "f, g", "f \"as\" x", "f as \"x"] {
            assert!(matches!(parse(text), Err(NotASource::Usage(_))), "{text}: {:?}", parse(text));
        }
        for text in ["f as error", "f as sse.ready", "f as \"a b\""] {
            assert!(matches!(parse(text), Err(NotASource::Event(..))), "{text}");
        }
    }
}
