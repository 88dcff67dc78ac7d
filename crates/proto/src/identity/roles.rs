//! The text of `request.user_roles` as a list of roles (C4.6). The three forms are told apart by the first
//! character.
//!
//! NULLs and empty roles are left out or left in place: the identity drops them.

use super::{IdentityError, MAX_SOURCE_BYTES};
use std::iter::Peekable;
use std::str::Chars;

/// # Errors
/// [`IdentityError::Roles`]; [`IdentityError::TooLong`] beyond [`MAX_SOURCE_BYTES`].
pub(super) fn parse(text: &str) -> Result<Vec<String>, IdentityError> {
    if text.len() > MAX_SOURCE_BYTES {
        return Err(IdentityError::TooLong);
    }
    let text = text.trim_matches(is_space);
    match text.chars().next() {
        Some('{') => array_literal(text).ok_or(IdentityError::Roles),
        Some('[') => {
            let roles: Vec<Option<String>> = serde_json::from_str(text).map_err(|_| IdentityError::Roles)?;
            Ok(roles.into_iter().flatten().collect())
        }
        // `"a, b"` could be one role in quotes, or two roles with a quote each.
        _ if text.contains('"') => Err(IdentityError::Roles),
        _ => Ok(text.split(',').map(|role| role.trim_matches(is_space).to_owned()).collect()),
    }
}

/// A one-dimensional array as arrayfuncs.c, array_in reads it. What that refuses is refused here, and so are
/// bounds (`[2:3]={…}`) and arrays of arrays, which are not a list.
fn array_literal(text: &str) -> Option<Vec<String>> {
    let mut chars = text.strip_prefix('{')?.strip_suffix('}')?.chars().peekable();
    let mut roles = Vec::new();
    skip_spaces(&mut chars);
    if chars.peek().is_none() {
        return Some(roles);
    }
    loop {
        skip_spaces(&mut chars);
        roles.extend(if chars.next_if_eq(&'"').is_some() {
            Some(quoted(&mut chars)?)
        } else {
            plain(&mut chars)?
        });
        skip_spaces(&mut chars);
        match chars.next() {
            None => return Some(roles),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// A quoted element, from after its first quote to its last.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut element = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(element),
            '\\' => element.push(chars.next()?),
            other => element.push(other),
        }
    }
}

/// An element without quotes. The outer `None` is a mistake, the inner one NULL.
fn plain(chars: &mut Peekable<Chars<'_>>) -> Option<Option<String>> {
    let mut element = String::new();
    // The length that is kept: blanks at the end belong to the element only if they are escaped.
    let mut kept = 0;
    let mut is_escaped = false;
    while let Some(char) = chars.next_if(|&char| char != ',') {
        match char {
            '"' | '{' | '}' => return None,
            '\\' => {
                element.push(chars.next()?);
                is_escaped = true;
                kept = element.len();
            }
            space if is_space(space) => element.push(space),
            other => {
                element.push(other);
                kept = element.len();
            }
        }
    }
    element.truncate(kept);
    match () {
        () if element.is_empty() => None,
        () if !is_escaped && element.eq_ignore_ascii_case("null") => Some(None),
        () => Some(Some(element)),
    }
}

fn skip_spaces(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|&char| is_space(char)).is_some() {}
}

/// What Postgres calls a blank in an array: scanner_isspace and the vertical tab.
fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}
