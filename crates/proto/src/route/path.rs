//! The path of a routine, and the path of a request in the same form (C2.3, RFC 3986 §6.2.2).
//!
//! Not for who has which path: that is the table's.

use std::collections::HashMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

use crate::annotation::{Annotation, Segment};
use crate::word::Level;

/// The path that calls and streams of a routine begin with (C2.3): the one its comment gives, else
/// `url_prefix/schema/name` without `public`. `url_prefix` may be empty; slashes at its ends do not count.
pub fn base_path(schema: &str, name: &str, annotation: &Annotation, url_prefix: &str) -> String {
    if let Some(given) = annotation.given_path() {
        return given.to_owned();
    }
    let prefix = url_prefix.trim_matches('/');
    let schema = if schema == "public" { String::new() } else { format!("/{}", slug(schema)) };
    format!("{}{prefix}{schema}/{}", if prefix.is_empty() { "" } else { "/" }, slug(name))
}

/// The path of a routine's stream: base path, slash, segment. `None` when it has no subscribe URL.
pub fn subscribe_path(
    schema: &str,
    name: &str,
    annotation: &Annotation,
    url_prefix: &str,
    default_level: Level,
) -> Option<String> {
    let segment = match annotation.subscribe.as_ref()? {
        Segment::Level => annotation.level_or(default_level).as_str(),
        Segment::Given(segment) => segment,
    };
    let mut path = base_path(schema, name, annotation, url_prefix);
    if !path.ends_with('/') {
        path.push('/');
    }
    if segment.starts_with(&path) {
        return Some(segment.to_owned());
    }
    path.push_str(segment.trim_start_matches('/'));
    Some(path)
}

/// A name as part of a path: lower case, `_` and space become `-`, double quotes are dropped, the rest that
/// is not unreserved in RFC 3986 is percent-encoded.
pub(super) fn slug(name: &str) -> String {
    let dashed: String = name
        .to_lowercase()
        .chars()
        .filter(|c| *c != '"')
        .map(|c| if c == '_' || c == ' ' { '-' } else { c })
        .collect();
    utf8_percent_encode(&dashed, RESERVED).to_string()
}

/// Looks up the path of a request.
pub(super) fn position(index: &HashMap<String, usize>, path: &str) -> Option<usize> {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let mut position = index.get(path);
    if position.is_none() && path.bytes().any(|b| b == b'%' || !b.is_ascii()) {
        position = index.get(&canonical(path));
    }
    position.copied()
}

/// RFC 3986 §6.2.2: encoded unreserved characters are decoded, the digits of the others in upper case.
pub(super) fn canonical(path: &str) -> String {
    let mut canonical = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |of: u8| char::from(of).to_digit(16).unwrap_or(0) as u8;
                let byte = digit(*high) << 4 | digit(*low);
                canonical.extend(percent_encode(&[byte], RESERVED));
                rest = behind;
            }
            (byte, _) if byte.is_ascii() => canonical.push(char::from(*byte)),
            (byte, _) => canonical.extend(percent_encode(&[*byte], RESERVED)),
        }
    }
    canonical
}

/// Everything but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
