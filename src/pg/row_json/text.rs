//! Texts and integers as JSON, straight from what is stored: byte for byte what `escape_json` makes of their
//! output, without the copy that the output is.
//!
//! Not for: values whose text the type's own output function makes (`row_json.rs`).

use pgrx::pg_sys;
use pgrx::varlena::{vardata_any, varsize_any_exhdr};

use crate::pg::raw;

/// A function that appends bytes in some way, with the condition of [`append`].
pub(super) type Append = unsafe fn(pg_sys::StringInfo, &[u8]);

/// Digits and sign of the longest integer.
const INTEGER_BYTES: usize = 20;

/// What a text has so far.
///
/// # Safety
/// - `text` is valid, and nothing is appended to it while the result is used.
pub(crate) unsafe fn bytes_of<'a>(text: pg_sys::StringInfo) -> &'a [u8] {
    // SAFETY: the caller's promise.
    let text = unsafe { &*text };
    let length = usize::try_from(text.len).unwrap_or(0);
    // SAFETY: as many bytes are there (stringinfo.h).
    unsafe { std::slice::from_raw_parts(text.data.cast(), length) }
}

/// Appends bytes. May raise for want of memory.
///
/// # Safety
/// - `text` is valid; the caller owns nothing with a destructor.
pub(crate) unsafe fn append(text: pg_sys::StringInfo, bytes: &[u8]) {
    // A value has less than a gigabyte.
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    // SAFETY: as many bytes are there.
    unsafe { raw::appendBinaryStringInfo(text, bytes.as_ptr().cast(), length) };
}

/// # Safety
/// - As [`append`].
pub(super) unsafe fn append_integer(text: pg_sys::StringInfo, integer: i64) {
    let mut buffer = [b'0'; INTEGER_BYTES];
    let mut at = INTEGER_BYTES;
    let mut rest = integer.unsigned_abs();
    for place in buffer.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        at -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if integer < 0
        && let Some(place) = at.checked_sub(1).and_then(|before| buffer.get_mut(before))
    {
        *place = b'-';
        at -= 1;
    }
    // SAFETY: the caller's promise.
    unsafe { append(text, buffer.get(at..).unwrap_or_default()) };
}

/// Appends what is stored of a value, in some way. May raise.
///
/// # Safety
/// - As [`append`]; `value` is of varying length.
pub(super) unsafe fn append_stored(text: pg_sys::StringInfo, value: pg_sys::Datum, append: Append) {
    let stored = value.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the caller's promise.
    let whole = unsafe { raw::pg_detoast_datum_packed(stored) };
    // SAFETY: neither compressed nor elsewhere.
    let length = unsafe { varsize_any_exhdr(whole) };
    // SAFETY: as above.
    let start = unsafe { vardata_any(whole) };
    // SAFETY: this many bytes are there.
    let bytes = unsafe { std::slice::from_raw_parts(start.cast(), length) };
    // SAFETY: the caller's promise.
    unsafe { append(text, bytes) };
    if whole != stored {
        // SAFETY: a copy, used by nobody any more.
        unsafe { raw::pfree(whole.cast()) };
    }
}

/// Appends bytes as a string, with its quotes.
///
/// # Safety
/// - As [`append`].
pub(super) unsafe fn append_escaped(text: pg_sys::StringInfo, bytes: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { append(text, b"\"") };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')) {
        let (plain, from) = rest.split_at(at);
        // SAFETY: as above.
        unsafe { append(text, plain) };
        let Some((byte, behind)) = from.split_first() else { break };
        // SAFETY: as above.
        unsafe { append_escape(text, *byte) };
        rest = behind;
    }
    // SAFETY: as above.
    unsafe { append(text, rest) };
    // SAFETY: as above.
    unsafe { append(text, b"\"") };
}

/// A byte that does not stand for itself in a string.
///
/// # Safety
/// - As [`append`].
unsafe fn append_escape(text: pg_sys::StringInfo, byte: u8) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let letter = match byte {
        8 => b'b',
        12 => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        b'"' | b'\\' => byte,
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            // SAFETY: the caller's promise.
            return unsafe { append(text, &[b'\\', b'u', b'0', b'0', high, low]) };
        }
    };
    // SAFETY: as above.
    unsafe { append(text, &[b'\\', letter]) };
}
