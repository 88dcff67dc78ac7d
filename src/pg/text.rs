//! Text on its way between Postgres (encoding of the database) and Rust (UTF-8).
//!
//! SQL functions take and give `text` as bytes, because pgrx' own conversion expects UTF-8 databases.

use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;
use sse_proto::encoding::{self, OutOfMemory};

use super::backend;

/// Text of the database as UTF-8. What cannot be converted is replaced; without memory for it, nothing.
pub(crate) fn from_server(bytes: &[u8]) -> String {
    try_from_server(bytes).unwrap_or_default()
}

/// The same for a text that somebody may make as long as they like. If there is no memory for a gigabyte,
/// that is an error, and not the end of this process and with it of all sessions.
///
/// # Errors
/// There is no memory for it.
pub(crate) fn try_from_server(bytes: &[u8]) -> Result<String, OutOfMemory> {
    let mut scratch = String::new();
    let (text, _) = encoding::to_utf8(bytes, backend::database_encoding(), &mut scratch)?;
    let mut owned = String::new();
    owned.try_reserve_exact(text.len()).map_err(|_| OutOfMemory)?;
    owned.push_str(text);
    Ok(owned)
}

/// A result as `text` of the database's encoding.
///
/// Raises Postgres' own error when a character does not exist in that encoding.
pub(crate) fn to_server(text: &str) -> Vec<u8> {
    let Ok(c_text) = CString::new(text) else { return text.replace('\0', "").into_bytes() };
    let Ok(length) = c_int::try_from(text.len()) else { return Vec::new() };
    let utf8 = pg_sys::pg_enc::PG_UTF8 as c_int;
    // SAFETY: a NUL-terminated text of that length; the answer is NUL-terminated, too.
    let converted = unsafe { pg_sys::pg_any_to_server(c_text.as_ptr(), length, utf8) };
    // SAFETY: either `c_text` itself or a palloc'd copy, both alive here.
    unsafe { CStr::from_ptr(converted) }.to_bytes().to_vec()
}

/// For a message: text that any database can show. In a database that is not UTF-8, characters beyond ASCII
/// are escaped.
pub(crate) fn for_message(text: &str) -> String {
    if is_utf8() {
        return text.to_owned();
    }
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() }).collect()
}

/// For text in which nothing may be escaped (JSON). In a database that is not UTF-8, characters beyond ASCII
/// become `?`.
pub(crate) fn for_json(text: String) -> String {
    if is_utf8() { text } else { text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect() }
}

fn is_utf8() -> bool {
    // SAFETY: reads a variable of mbutils.c.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    encoding == pg_sys::pg_enc::PG_UTF8 as c_int
}
