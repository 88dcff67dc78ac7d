//! What documents for tools have in common: parts that are the same in all of them (document/), and how they
//! are written down: JSON with one line for each thing that a routine has, so that the difference between two
//! documents can be read.
//!
//! Not for what is in one (openapi.rs, asyncapi.rs).

use serde_json::{Map, Value, json};

use crate::model::Options;
use crate::text::seen;
use crate::typescript::{MAX_CLIENT_BYTES, TooLarge};

/// The schemas of the data of what every stream may bring, and of errors.
pub(crate) const DATA: &str = include_str!("document/data.json");

/// The members of a part, which is one of our own files: what a test reads once can always be read.
pub(crate) fn part(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// One line of an object.
pub(crate) fn line(name: &str, value: &Value) -> String {
    seen(&format!("{}: {value}", Value::from(name)))
}

/// An object of such lines.
pub(crate) fn object(lines: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<String> = lines.into_iter().collect();
    if lines.is_empty() { "{}".to_owned() } else { format!("{{\n{}\n}}", lines.join(",\n")) }
}

/// `function`: the one that makes such a document.
pub(crate) fn info(options: &Options, function: &str) -> Value {
    let (of, argument) = match &options.schema {
        Some(schema) => {
            (format!("Schema {schema} of a database"), format!("'{}'", schema.replace('\'', "''")))
        }
        None => ("A database".to_owned(), String::new()),
    };
    let made = format!(
        "Made by pg_sse from the comments of routines. Make it anew instead of changing it: `SELECT sse.{function}({argument})`."
    );
    json!({ "title": of, "version": options.version, "description": made })
}

/// The whole, if it is not too large.
pub(crate) fn whole(members: &[(&str, String)]) -> Result<String, TooLarge> {
    let lines = members.iter().map(|(name, written)| format!("{}: {written}", Value::from(*name)));
    let whole = format!("{}\n", object(lines));
    if whole.len() > MAX_CLIENT_BYTES { Err(TooLarge) } else { Ok(whole) }
}
