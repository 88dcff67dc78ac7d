//! What a caller is told of an argument that its type does not take. Only Postgres finds that out, when the
//! call has a worker; by then nothing but this is left of the arguments.
//!
//! Not for mistakes that are found before anything runs ([`ArgumentError`](super::ArgumentError)).

use super::overload::{Argument, shown_name};
use super::signature::Parameter;
use crate::annotation::problem::write_escaped;
use std::fmt;

/// A parameter of a [`Statement`](super::Statement), for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterLabel {
    /// Its name in a request.
    pub name: String,
    /// Its type, as SQL writes it.
    type_name: String,
    /// Its value comes from who calls, and not from the request.
    is_filled: bool,
}

impl ParameterLabel {
    pub(super) fn of(parameters: &[Parameter], parameter: &Parameter, argument: &Argument<'_, '_>) -> Self {
        Self {
            name: shown_name(parameters, parameter),
            type_name: parameter.type_name.clone(),
            is_filled: matches!(argument, Argument::Filled(_) | Argument::Nobody),
        }
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.capacity() + self.type_name.capacity()
    }

    /// A clause that says what was wrong with its value when it met this error. Never has the value.
    pub fn misread(&self, sqlstate: &[u8; 5]) -> String {
        Misread { label: self, lacks_character: matches!(sqlstate, b"22021" | b"22P05") }.to_string()
    }
}

struct Misread<'a> {
    label: &'a ParameterLabel,
    lacks_character: bool,
}

impl fmt::Display for Misread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParameterLabel { name, type_name, is_filled } = self.label;
        f.write_str("\"")?;
        write_escaped(f, name, MAX_NAME_CHARS)?;
        f.write_str("\" ")?;
        if *is_filled {
            f.write_str("is filled from the caller's identity, which ")?;
        }
        if self.lacks_character {
            return f.write_str("has a character that the database cannot store");
        }
        f.write_str(if *is_filled { "is no value of type " } else { "takes a value of type " })?;
        write_escaped(f, type_name, MAX_TYPE_CHARS)
    }
}

/// Characters of a name that are shown; Postgres' have at most 63 bytes.
const MAX_NAME_CHARS: usize = 64;

/// Characters of a type that are shown: two such names, in quotes.
const MAX_TYPE_CHARS: usize = 160;
