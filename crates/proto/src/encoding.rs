//! From the encoding of a database to UTF-8, the only encoding of an event stream (C3.2).
//!
//! Postgres has conversions of its own, but they are functions in its catalog, and they raise errors. A log
//! hook may use neither. So the conversion here takes any bytes; each character that cannot be converted
//! becomes U+FFFD, and is counted.
//!
//! U+FEFF is a character like any other here (it is no byte order mark in the middle of a text), and so would
//! a NUL be, which Postgres' texts never have.
//!
//! Not for: client encodings. A backend hands over what is in the database, so only the encodings that a
//! server can have are known.

mod escape;
mod table;

pub use escape::{Notation, escaped};

use self::table::{METHODS, Method};
use std::fmt;

/// An encoding that a Postgres database can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    method: Method,
}

impl Encoding {
    /// The encoding with this name, as `GetDatabaseEncodingName()` and `SHOW server_encoding` write it
    /// (`UTF8`, `LATIN1`, `EUC_JP`). `None`: Postgres 18 has no server encoding of this name.
    pub fn parse(name: &str) -> Option<Self> {
        METHODS.iter().find(|(known, _)| *known == name).map(|(_, method)| Self { method: *method })
    }
}

impl Default for Encoding {
    /// How an unknown encoding is treated: like `SQL_ASCII`, that is, as UTF-8 in which anything may be
    /// wrong.
    fn default() -> Self {
        Self { method: Method::Utf8 }
    }
}

/// There is no memory for the converted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no memory for the converted text")
    }
}

impl std::error::Error for OutOfMemory {}

/// Converts `bytes` to UTF-8 and says how many characters were replaced.
///
/// What is UTF-8 already (ASCII in any encoding) is answered as it is, without a copy; else `scratch` is
/// overwritten and answered. Never panics, and never aborts for want of memory.
///
/// # Errors
/// [`OutOfMemory`]: `scratch` could not grow. It needs at most three times the bytes, and three more.
pub fn to_utf8<'a>(
    bytes: &'a [u8],
    encoding: Encoding,
    scratch: &'a mut String,
) -> Result<(&'a str, usize), OutOfMemory> {
    scratch.clear();
    if (encoding.method == Method::Utf8 || bytes.is_ascii())
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Ok((text, 0));
    }
    let mut output = Output { text: scratch, replaced: 0 };
    match encoding.method {
        Method::Utf8 => output.utf8(bytes)?,
        Method::CodePoints => bytes.iter().try_for_each(|byte| output.character(char::from(*byte)))?,
        Method::Table { table, length, exception } => {
            let mut start = 0;
            let mut at = 0;
            while at < bytes.len() {
                let rest = &bytes[at..];
                let taken = character_length(rest, length);
                // The table would take the ASCII after half a character for its second byte: `gbk` has
                // letters as second bytes.
                let is_broken = taken < length(rest[0]);
                let exception = exception(&rest[..taken]);
                if is_broken || exception.is_some() {
                    output.table(&bytes[start..at], table)?;
                    match exception {
                        Some(character) => output.character(character)?,
                        None => output.replacement()?,
                    }
                    start = at + taken;
                }
                at += taken;
            }
            output.table(&bytes[start..], table)?;
        }
        Method::AsciiOnly { length } => {
            let mut rest = bytes;
            while let [first, ..] = rest {
                match first {
                    0..0x80 => output.character(char::from(*first))?,
                    _ => output.replacement()?,
                }
                rest = &rest[character_length(rest, length)..];
            }
        }
    }
    let replaced = output.replaced;
    Ok((scratch, replaced))
}

/// Bytes of the first character: as many as its first byte announces, but none that is ASCII, so that a
/// broken character never swallows a line end. At least 1; `bytes` is not empty.
fn character_length(bytes: &[u8], length: fn(u8) -> usize) -> usize {
    let announced = length(bytes[0]);
    1 + bytes[1..].iter().take(announced - 1).take_while(|byte| !byte.is_ascii()).count()
}

struct Output<'s> {
    text: &'s mut String,
    replaced: usize,
}

impl Output<'_> {
    fn utf8(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.reserve(bytes.len())?;
        for chunk in bytes.utf8_chunks() {
            self.reserve(chunk.valid().len())?;
            self.text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.replacement()?;
            }
        }
        Ok(())
    }

    fn table(&mut self, bytes: &[u8], table: &'static encoding_rs::Encoding) -> Result<(), OutOfMemory> {
        use encoding_rs::DecoderResult;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut decoder = table.new_decoder_without_bom_handling();
        let mut rest = bytes;
        loop {
            // Decoding into a String does not grow it; it stops when there is less room than this.
            let needed = decoder.max_utf8_buffer_length_without_replacement(rest.len()).ok_or(OutOfMemory)?;
            self.reserve(needed)?;
            let (result, read) = decoder.decode_to_string_without_replacement(rest, self.text, true);
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.replacement()?,
            }
        }
    }

    fn character(&mut self, character: char) -> Result<(), OutOfMemory> {
        self.reserve(character.len_utf8())?;
        self.text.push(character);
        Ok(())
    }

    fn replacement(&mut self) -> Result<(), OutOfMemory> {
        self.replaced += 1;
        self.character(char::REPLACEMENT_CHARACTER)
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        self.text.try_reserve(bytes).map_err(|_| OutOfMemory)
    }
}

#[cfg(test)]
mod tests;
