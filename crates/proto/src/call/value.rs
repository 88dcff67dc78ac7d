//! What was given for a parameter, in the form in which it goes into a statement.
//!
//! Not for whether the text is one of the type: that is Postgres' to say.

use super::argument::{ArgumentError, Expected, Value};
use super::json::{self, Json};
use super::signature::TypeKind;

/// How a value travels.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the text that the type's input function reads.
    Text(Option<String>),
    /// As the member `v` of a JSON object, for `json_to_record`.
    Record(String),
}

impl Form {
    /// `name` is the parameter's, for the message.
    pub(super) fn of(value: &Value<'_>, kind: TypeKind, name: &str) -> Result<Self, ArgumentError> {
        match value {
            Value::Json(json) => Self::of_json(json, kind, name),
            Value::Texts(texts) => Self::of_texts(texts, kind, name),
        }
    }

    fn of_json(value: &Json<'_>, kind: TypeKind, name: &str) -> Result<Self, ArgumentError> {
        let wrong = |expected| Err(ArgumentError::WrongType(name.to_owned(), expected));
        let text = match (kind, value) {
            (_, Json::Null) => return Ok(Self::Text(None)),
            (TypeKind::Json, value) => value.raw(),
            (TypeKind::Array { .. }, Json::Array(raw)) => return Ok(Self::record(raw)),
            (TypeKind::Array { .. }, _) => return wrong(Expected::Array),
            (TypeKind::Composite, Json::Object(raw)) => return Ok(Self::record(raw)),
            (TypeKind::Composite, _) => return wrong(Expected::Object),
            (TypeKind::Scalar | TypeKind::Pseudo, Json::String(text, _)) => text,
            (TypeKind::Scalar | TypeKind::Pseudo, Json::Bool(_) | Json::Number(_)) => value.raw(),
            (TypeKind::Scalar | TypeKind::Pseudo, _) => return wrong(Expected::One),
        };
        Ok(Self::Text(Some(text.to_owned())))
    }

    fn of_texts(texts: &[&str], kind: TypeKind, name: &str) -> Result<Self, ArgumentError> {
        if let TypeKind::Array { delimiter } = kind {
            return Ok(Self::Text(Some(array_literal(texts.iter(), delimiter))));
        }
        let [text] = texts else { return Err(ArgumentError::Twice(name.to_owned())) };
        match kind {
            TypeKind::Json => Ok(Self::Text(Some(json::value(text)?.raw().to_owned()))),
            // The literal of a row begins with a parenthesis.
            TypeKind::Composite if text.trim_start().starts_with('{') => {
                Ok(Self::record(json::value(text)?.raw()))
            }
            _ => Ok(Self::Text(Some((*text).to_owned()))),
        }
    }

    fn record(raw: &str) -> Self {
        Self::Record(format!("{{\"v\":{raw}}}"))
    }
}

/// The literal of a one-dimensional array. Every element is quoted, so none is taken for NULL or for two.
pub(super) fn array_literal(elements: impl Iterator<Item = impl AsRef<str>>, delimiter: char) -> String {
    let mut literal = String::from("{");
    for (position, element) in elements.enumerate() {
        if position > 0 {
            literal.push(delimiter);
        }
        literal.push('"');
        for c in element.as_ref().chars() {
            if matches!(c, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(c);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}
