//! The arguments of a request as they came, and what can be wrong with them (C7.3).
//!
//! Not for choosing a routine by them.

use super::json::{self, Json, JsonError};
use crate::annotation::problem::write_escaped;
use crate::query::form_decode;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The arguments of a request.
#[derive(Clone, Debug)]
pub enum Given<'a> {
    /// Of GET and DELETE: the decoded pairs of the query string, in order. See [`Given::parse_query`].
    Query(Vec<(String, String)>),
    /// Of the other methods: a JSON object; an empty body is an empty object.
    Body(&'a [u8]),
}

impl Given<'_> {
    /// Reads the part of a URL after `?`; an empty one, and empty parts between `&`, give no pairs. A name
    /// without `=` has the empty text for a value.
    ///
    /// # Errors
    /// [`ArgumentError::Encoding`], [`ArgumentError::Utf8`]
    pub fn parse_query(query: &str) -> Result<Self, ArgumentError> {
        if query.split('%').skip(1).any(|escape| !begins_with_hex(escape)) {
            return Err(ArgumentError::Encoding);
        }
        let text = |part| String::from_utf8(form_decode(part)).map_err(|_| ArgumentError::Utf8);
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((text(name)?, text(value)?));
        }
        Ok(Self::Query(pairs))
    }

    /// Every name with what was given for it, in the order of the request; no name twice.
    pub(super) fn read(&self) -> Result<Vec<(Cow<'_, str>, Value<'_>)>, ArgumentError> {
        match self {
            Self::Query(pairs) => gather(pairs),
            Self::Body(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| ArgumentError::Utf8)?;
                let members = json::members(text).map_err(ArgumentError::from)?;
                Ok(members.into_iter().map(|(name, value)| (name.into(), Value::Json(value))).collect())
            }
        }
    }
}

fn begins_with_hex(escape: &str) -> bool {
    matches!(escape.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// What was given for one name.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// The values of a query string, one or more.
    Texts(Vec<&'a str>),
    Json(Json<'a>),
}

fn gather(pairs: &[(String, String)]) -> Result<Vec<(Cow<'_, str>, Value<'_>)>, ArgumentError> {
    let mut gathered: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for (name, value) in pairs {
        if name.contains('\0') || value.contains('\0') {
            return Err(ArgumentError::ZeroByte);
        }
        let at = *positions.entry(name).or_insert(gathered.len());
        match gathered.get_mut(at) {
            Some((_, values)) => values.push(value),
            None => gathered.push((name, vec![value])),
        }
    }
    Ok(gathered.into_iter().map(|(name, values)| (Cow::Borrowed(name), Value::Texts(values))).collect())
}

/// Who calls, in the form for parameters and settings (C7.2, C7.3). Empty texts are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserParameters {
    /// `_user_id`
    pub user_id: Option<String>,
    /// `_user_name`
    pub user_name: Option<String>,
    /// `_user_roles`; `None` for the anonymous.
    pub user_roles: Option<Vec<String>>,
    /// `_user_claims`: the verified claims, a JSON object.
    pub user_claims: Option<String>,
    /// `_ip_address`, of the anonymous too.
    pub ip_address: Option<String>,
}

/// Why a request's arguments call nothing. `Display` is for the one who sent them; it names parameters, and
/// never has one of their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentError {
    /// A `%` in a query string that is not followed by two hexadecimal digits.
    Encoding,
    /// Bytes that are not UTF-8.
    Utf8,
    /// The body, or the value of a query parameter that is JSON, is no JSON.
    Json,
    /// The body is JSON, and no object.
    NotObject,
    /// More than 100 levels of arrays and objects within each other.
    Depth,
    /// A name twice in one object, at whatever depth.
    DuplicateKey(String),
    /// The character NUL, which Postgres cannot hold.
    ZeroByte,
    /// No parameter has this name.
    Unknown(String),
    /// The row type of a parameter has no member of this name.
    UnknownMember(String),
    /// Two parameters, or members, are called so in camelCase: only their SQL names tell them apart.
    AmbiguousName(String),
    /// A parameter without a default has no value.
    Missing(String),
    /// A parameter is given by both its names, or more than once in a query string, and is no array.
    Twice(String),
    /// The parameter is filled with who calls; a request cannot say it.
    Filled(String),
    /// The value of a parameter is not what its type takes.
    WrongType(String, Expected),
    /// A parameter needs a value although it has a default, because a later one can only be given by
    /// position, or is VARIADIC.
    Gap(String),
    /// The value nests arrays and objects so deeply that its literal for Postgres would be too large.
    TooLarge(String),
    /// None of several overloads takes these names.
    NoOverload,
    /// More than one overload takes them, and nothing says which is meant.
    Ambiguous,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A text, number or boolean.
    One,
    /// A JSON array.
    Array,
    /// A JSON object.
    Object,
    /// A text of `\x` and hexadecimal digits.
    Bytes,
    /// A JSON array of at most six dimensions.
    FewerDimensions,
}

impl ArgumentError {
    /// The status of the answer.
    pub const fn status(&self) -> u16 {
        400
    }

    /// The parameter, or the member in it, that it is about, as the request calls it.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Unknown(name)
            | Self::UnknownMember(name)
            | Self::AmbiguousName(name)
            | Self::Missing(name)
            | Self::Twice(name)
            | Self::Filled(name)
            | Self::WrongType(name, _)
            | Self::Gap(name)
            | Self::TooLarge(name) => Some(name),
            Self::Encoding
            | Self::Utf8
            | Self::Json
            | Self::NotObject
            | Self::Depth
            | Self::DuplicateKey(_)
            | Self::ZeroByte
            | Self::NoOverload
            | Self::Ambiguous => None,
        }
    }
}

impl From<JsonError> for ArgumentError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax => Self::Json,
            JsonError::NotObject => Self::NotObject,
            JsonError::Depth => Self::Depth,
            JsonError::Duplicate(name) => Self::DuplicateKey(name),
            JsonError::ZeroByte => Self::ZeroByte,
        }
    }
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = match self {
            Self::Encoding => return f.write_str("the query string has a \"%\" that encodes nothing"),
            Self::Utf8 => return f.write_str("the arguments are not UTF-8"),
            Self::Json => return f.write_str("the arguments are not valid JSON"),
            Self::NotObject => return f.write_str("the body is not a JSON object"),
            Self::Depth => {
                return write!(f, "the JSON is nested more than {} levels deep", json::MAX_DEPTH);
            }
            Self::ZeroByte => return f.write_str("the arguments have the character NUL"),
            Self::NoOverload => return f.write_str("no overload of this routine takes these parameters"),
            Self::Ambiguous => {
                return f.write_str("more than one overload of this routine takes these parameters");
            }
            Self::DuplicateKey(name) => (name, "is given twice in one object"),
            Self::Unknown(name) => (name, "is not a parameter"),
            Self::UnknownMember(name) => (name, "is not a member of this row"),
            Self::AmbiguousName(name) => (name, "may be one of two: use the SQL name"),
            Self::Missing(name) => (name, "is missing"),
            Self::Twice(name) => (name, "is given more than once"),
            Self::Filled(name) => (name, "is filled from the caller's identity, and cannot be given"),
            Self::WrongType(name, Expected::One) => (name, "takes one text, number or boolean"),
            Self::WrongType(name, Expected::Array) => (name, "takes an array"),
            Self::WrongType(name, Expected::Object) => (name, "takes an object"),
            Self::WrongType(name, Expected::Bytes) => (name, "takes \"\\x\" and hexadecimal digits"),
            Self::WrongType(name, Expected::FewerDimensions) => {
                (name, "takes an array of at most six dimensions")
            }
            Self::TooLarge(name) => (name, "is too large with what is nested in it"),
            Self::Gap(name) => (name, "is needed: with these arguments, Postgres cannot use its default"),
        };
        f.write_str("\"")?;
        write_escaped(f, name, MAX_NAME_CHARS)?;
        write!(f, "\" {text}")
    }
}

/// Characters of a name that are shown; Postgres' have at most 63 bytes.
const MAX_NAME_CHARS: usize = 64;

impl std::error::Error for ArgumentError {}
