//! A record with its place in the log before it, without decoding what is after it.
//!
//! Not for what a place is: [`crate::place`].

use super::Kind;
use crate::codec::{self, DecodeError, EncodeError, Field, Reader, Writer};
use crate::place::Place;

/// Bytes before a record that is placed: the kind, and the place.
pub const PLACE_BYTES: usize = 1 + 4 + 8 + 4;

/// The record of something that is placed, as it is written: of a kind that may be, and not decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner<'a>(&'a [u8]);

impl<'a> Inner<'a> {
    /// `None`: such a record is never placed.
    pub fn new(record: &'a [u8]) -> Option<Self> {
        let kind = Kind::of(record)?;
        let may_be =
            matches!(kind, Kind::Event | Kind::TooLarge | Kind::CallEnd | Kind::SnapshotEnd | Kind::Canary);
        may_be.then_some(Self(record))
    }

    /// Its bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Field<'a> for Inner<'a> {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(self.0)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let record = reader.rest();
        let Some(kind) = record.first() else { return Err(DecodeError::Truncated) };
        Self::new(record).ok_or(DecodeError::Choice(*kind))
    }
}

/// Appends a record with its place before it, without decoding it. It is to be of a kind that may be placed:
/// reading refuses others.
///
/// # Errors
/// [`EncodeError::OutOfMemory`]; `out` is then as it was.
pub fn append_placed(place: Place, record: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.try_reserve(PLACE_BYTES + record.len()).map_err(|_| EncodeError::OutOfMemory)?;
    out.push(Kind::Placed as u8);
    codec::append(&place, out)?;
    out.extend_from_slice(record);
    Ok(())
}

/// The place of a record, and the record itself, not decoded; `None` of one that is not placed.
pub fn place(record: &[u8]) -> Option<(Place, &[u8])> {
    if Kind::of(record) != Some(Kind::Placed) {
        return None;
    }
    let (head, inner) = record.split_at_checked(PLACE_BYTES)?;
    let place = codec::decode(&head[1..]).ok()?;
    Inner::new(inner).map(|inner| (place, inner.bytes()))
}
