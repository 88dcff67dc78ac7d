//! The columns that a row type had when the routines were read.
//!
//! A row is sent as a literal, whose members have places and no names, and the columns of an answer get their
//! keys by their place. So until a change of the columns has been read both may be wrong. The call worker
//! compares the columns first.
//!
//! Not for reading columns, nor for what becomes of a call when they have changed.

use crate::codec::fields;

/// A row type, and what its columns were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowVersion {
    /// `pg_type.oid`, or `pg_proc.oid` of a routine.
    pub oid: u32,
    /// Whether it is the routine itself, whose OUT parameters are the columns of its answer: they do not
    /// change while the routine exists. Its digest is made of its name, with its schema in place of a type.
    pub is_routine: bool,
    /// Of its columns, in their order: [`ColumnDigest`].
    pub digest: u64,
    /// Whether it is in an argument: then a value might get into another column. Else only keys of the answer
    /// could be outdated.
    pub is_argument: bool,
}

// In the record of a routine, and in the frame of a call.
fields!(RowVersion { oid, is_routine, digest, is_argument });

/// Of names and types of columns, without dropped ones: FNV-1a. Nobody gains anything from a collision: a
/// user who may change the type's columns may as well change what the routine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnDigest(u64);

impl Default for ColumnDigest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl ColumnDigest {
    /// With one more column. Its name is in the database's own encoding, because conversions need not be
    /// exact.
    #[must_use]
    pub fn column(self, name: impl Iterator<Item = u8>, type_oid: u32) -> Self {
        // No name has the byte 0, so a name has an end.
        let bytes = type_oid.to_le_bytes().into_iter().chain(name).chain([0]);
        Self(bytes.fold(self.0, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// See [`RowVersion::digest`].
    pub const fn value(self) -> u64 {
        self.0
    }
}
