//! Which paths and segments may be given in a comment (C2.3).
//!
//! Not for paths that are made from a routine's name: those are percent-encoded, see `route`.

use std::fmt;

/// Why a given path or segment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    Empty,
    Character,
    Dots,
    Reserved,
}

/// Paths that the gateway answers itself, on every host and whatever the prefix.
pub(crate) fn is_reserved(path: &str) -> bool {
    path == "/healthz"
}

/// A path as it is kept: one leading slash (`@path chat/send` may leave it out, as in NpgsqlRest), none at
/// the end.
pub(super) fn parse_path(text: &str) -> Result<String, PathError> {
    if text == "/" {
        return Ok("/".to_owned());
    }
    let path = format!("/{}", check(text)?);
    if is_reserved(&path) { Err(PathError::Reserved) } else { Ok(path) }
}

/// A segment as it is kept: as it was written, without a slash at the end. A leading slash stays: it is how a
/// segment that repeats the whole base path is known (see `route::subscribe_path`).
pub(super) fn parse_segment(text: &str) -> Result<String, PathError> {
    let segment = check(text)?;
    let slash = if text.starts_with('/') { "/" } else { "" };
    Ok(format!("{slash}{segment}"))
}

fn check(text: &str) -> Result<&str, PathError> {
    let text = text.strip_prefix('/').unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    for part in text.split('/') {
        if part.is_empty() {
            return Err(PathError::Empty);
        }
        if !part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')) {
            return Err(PathError::Character);
        }
        if part == "." || part == ".." {
            return Err(PathError::Dots);
        }
    }
    Ok(text)
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty segment is not allowed in a path",
            Self::Character => "not a path: only a-z, 0-9, \"-\", \".\", \"_\", \"~\" and \"/\" are allowed",
            Self::Dots => "\".\" and \"..\" are not allowed in a path",
            Self::Reserved => "this path is reserved",
        })
    }
}
