//! Reads the JSON object of a request's body into its members, each value checked and kept as it was written.
//!
//! `serde_json` reads. Added are checks for what it lets pass: no name twice in one object, at any depth (of
//! two, one program takes the first and another the last); no `\u0000`, which Postgres' texts cannot hold;
//! nesting is bounded. A number that is a member is never turned into a machine number, so those beyond 64
//! bits arrive in SQL digit by digit; within arrays and objects they are kept as well, up to what a double
//! can be (1e308).
//!
//! Not for what a value means.

mod parts;

pub(super) use parts::each_part;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Levels of arrays and objects within each other. Reading recurses, here and in Postgres. Beyond it:
/// [`JsonError::Depth`]. Below `serde_json`'s own limit of 128.
pub(super) const MAX_DEPTH: usize = 100;

/// What JSON takes for blank (RFC 8259 §2).
pub(super) const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// A value; what is not plain is its text, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    /// Without quotes and escapes, and as it was written.
    String(Cow<'a, str>, &'a str),
    Array(&'a str),
    Object(&'a str),
}

impl<'a> Json<'a> {
    /// As it was written.
    pub(super) fn raw(&self) -> &'a str {
        match self {
            Self::Null => "null",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Number(raw) | Self::String(_, raw) | Self::Array(raw) | Self::Object(raw) => raw,
        }
    }

    /// `depth`: how many arrays and objects the value is in.
    fn read(raw: &'a RawValue, depth: usize) -> Result<Self, JsonError> {
        if raw.get().starts_with(['{', '[']) {
            look(raw.get(), depth)?;
        }
        Self::of(raw.get())
    }

    /// A part of a value that was checked.
    fn of(raw: &'a str) -> Result<Self, JsonError> {
        Ok(match raw.as_bytes().first() {
            Some(b'{') => Self::Object(raw),
            Some(b'[') => Self::Array(raw),
            Some(b'"') => Self::String(string(raw)?, raw),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => Self::Number(raw),
        })
    }
}

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    Syntax,
    NotObject,
    Depth,
    Duplicate(String),
    ZeroByte,
}

/// The members of a JSON object, in order. A text of nothing but blanks is an empty object.
pub(super) fn members(text: &str) -> Result<Vec<(String, Json<'_>)>, JsonError> {
    let begin = text.trim_start_matches(BLANKS);
    if begin.is_empty() {
        return Ok(Vec::new());
    }
    if !begin.starts_with('{') {
        return value(text).and(Err(JsonError::NotObject));
    }
    let members: Members<'_> = serde_json::from_str(text).map_err(|_| JsonError::Syntax)?;
    let mut names = HashSet::new();
    for (name, _) in &members.0 {
        check_text(name)?;
        if !names.insert(name) {
            return Err(JsonError::Duplicate(name.clone()));
        }
    }
    members.0.into_iter().map(|(name, raw)| Ok((name, Json::read(raw, 1)?))).collect()
}

/// One JSON value.
pub(super) fn value(text: &str) -> Result<Json<'_>, JsonError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| JsonError::Syntax)?;
    Json::read(raw, 0)
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn string(raw: &str) -> Result<Cow<'_, str>, JsonError> {
    // Refuses halves of surrogate pairs, which `RawValue` lets pass.
    let text: String = serde_json::from_str(raw).map_err(|_| JsonError::Syntax)?;
    check_text(&text)?;
    Ok(Cow::Owned(text))
}

fn check_text(text: &str) -> Result<(), JsonError> {
    if text.contains('\0') { Err(JsonError::ZeroByte) } else { Ok(()) }
}

/// The members of an object, unchecked.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Gather;
        impl<'de> Visitor<'de> for Gather {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Gather)
    }
}

/// Checks an array or object in one pass over all of its texts and levels: the cost of a body depends on its
/// length, however it is nested.
fn look(raw: &str, depth: usize) -> Result<(), JsonError> {
    let found = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let looked = Look { found: &found, depth }.deserialize(&mut deserializer);
    looked.map_err(|_| found.take().unwrap_or(JsonError::Syntax))
}

#[derive(Clone, Copy)]
struct Look<'f> {
    /// Why it was refused, if not for its syntax.
    found: &'f RefCell<Option<JsonError>>,
    depth: usize,
}

impl<'f> Look<'f> {
    fn refuse<E: Error>(&self, why: JsonError) -> E {
        self.found.replace(Some(why));
        E::custom("refused")
    }

    fn deeper<E: Error>(&self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(JsonError::Depth));
        }
        Ok(Self { found: self.found, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        check_text(text).map_err(|why| self.refuse(why))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.deeper::<A::Error>()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.deeper::<A::Error>()?;
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            check_text(&name).map_err(|why| self.refuse::<A::Error>(why))?;
            map.next_value_seed(inside)?;
            if let Some(name) = names.replace(name) {
                return Err(self.refuse(JsonError::Duplicate(name)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
