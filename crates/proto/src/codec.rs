//! The bytes of what crosses shared memory: one writer and one reader, for the records of the ring
//! ([`crate::record`]) and for the frames of calls ([`crate::call`]).
//!
//! A type says once which fields it has, and in which order ([`fields!`], [`choices!`]). Both directions are
//! made of that, so they cannot differ, and a field that is forgotten does not compile. Integers are little
//! endian, lengths and counts `u32`; a flag is a byte, a *text* a length and UTF-8, a list a count and its
//! items, an optional value a flag and the value, a choice its number as a byte and then its fields.
//!
//! Reading trusts nothing: the bytes lie in memory that every process of the server can write to. Lists grow
//! item by item, so a count of four billion in a few bytes ends where the bytes end, and memory is bounded by
//! a small multiple of them. Whatever peers or roles can size is asked for in ways that can fail: an abort
//! would take the whole server along. Writing runs inside the log hook, where want of memory is an answer,
//! too.
//!
//! Rejected: serde with postcard. A flavour of it can write with memory that may be refused, but reading
//! makes every `String` and `Vec` by serde's own code, which aborts; an argument has as many bytes as its
//! peer likes, and the message of an error as many as a role likes. Its variable integers leave a ticket no
//! fixed place (`record/stamp.rs`), so records would have kept a codec of their own beside it.
//!
//! Not for what the bytes mean, nor for finding them in a ring (`sse_ring`).

mod error;
mod field;
mod reader;
mod writer;

pub use error::{DecodeError, EncodeError};
pub(crate) use reader::{MAX_LEVELS, Reader};
pub(crate) use writer::Writer;

/// What can be written and read. `'a`: the bytes, into which borrowed texts point.
pub(crate) trait Field<'a>: Sized {
    /// # Errors
    /// [`EncodeError`]; what was written before is then of no use.
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError>;

    /// # Errors
    /// [`DecodeError`]; the reader is then of no use.
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;
}

/// Appends a value to `out`, which grows by what it lacks.
///
/// # Errors
/// [`EncodeError`]; `out` is then as it was.
pub(crate) fn append<'a>(value: &impl Field<'a>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let before = out.len();
    let result = value.write(&mut Writer::Appends(out));
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// The bytes of a value, in exactly as much memory as they need.
///
/// # Errors
/// [`EncodeError`]
pub(crate) fn encode<'a>(value: &impl Field<'a>) -> Result<Vec<u8>, EncodeError> {
    let mut counting = Writer::Counts(0);
    value.write(&mut counting)?;
    let mut out = Vec::new();
    out.try_reserve_exact(counting.count()).map_err(|_| EncodeError::OutOfMemory)?;
    append(value, &mut out)?;
    Ok(out)
}

/// The value that is all of these bytes.
///
/// # Errors
/// [`DecodeError`]; each variant as it is described there.
pub(crate) fn decode<'a, T: Field<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = reader.read()?;
    reader.end()?;
    Ok(value)
}

/// `fields!(Type { first, second })`: all fields of a struct, in the order of their bytes. Flags may follow
/// that share one byte, the first of them in the lowest bit, and then further fields:
/// `fields!(Type { first } flags { is_a, is_b } { second })`.
macro_rules! fields {
    ($of:ty { $($field:ident),* } $(flags { $($flag:ident),* } { $($later:ident),* })?) => {
        impl<'a> $crate::codec::Field<'a> for $of {
            fn write(
                &self,
                writer: &mut $crate::codec::Writer<'_>,
            ) -> Result<(), $crate::codec::EncodeError> {
                $($crate::codec::Field::write(&self.$field, writer)?;)*
                $(
                    writer.flags([$(self.$flag),*])?;
                    $($crate::codec::Field::write(&self.$later, writer)?;)*
                )?
                Ok(())
            }

            fn read(
                reader: &mut $crate::codec::Reader<'a>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                $(let $field = reader.read()?;)*
                $(
                    let [$($flag),*] = reader.flags()?;
                    $(let $later = reader.read()?;)*
                )?
                Ok(Self { $($field,)* $($($flag,)* $($later,)*)? })
            }
        }
    };
}

/// `choices!(Type { 0 => Nothing, 1 => Text(text), 2 => Row { first, second } })`: all variants of an enum,
/// each with its number and its fields in the order of their bytes.
macro_rules! choices {
    ($of:ty {
        $($number:literal => $choice:ident $(($($item:ident),*))? $({ $($field:ident),* })?),* $(,)?
    }) => {
        impl<'a> $crate::codec::Field<'a> for $of {
            fn write(
                &self,
                writer: &mut $crate::codec::Writer<'_>,
            ) -> Result<(), $crate::codec::EncodeError> {
                match self {
                    $(Self::$choice $(($($item),*))? $({ $($field),* })? => {
                        writer.byte($number)?;
                        $($($crate::codec::Field::write($item, writer)?;)*)?
                        $($($crate::codec::Field::write($field, writer)?;)*)?
                    })*
                }
                Ok(())
            }

            fn read(
                reader: &mut $crate::codec::Reader<'a>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let choice = match reader.enter()? {
                    $($number => {
                        $($(let $item = reader.read()?;)*)?
                        $($(let $field = reader.read()?;)*)?
                        Self::$choice $(($($item),*))? $({ $($field),* })?
                    })*
                    other => return Err($crate::codec::DecodeError::Choice(other)),
                };
                reader.leave();
                Ok(choice)
            }
        }
    };
}

pub(crate) use {choices, fields};

#[cfg(test)]
mod tests;
