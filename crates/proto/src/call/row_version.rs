//! Which columns a row type had when the routines were read.
//!
//! A row is sent as a literal, whose members have places and no names, and the columns of an answer get their keys by their
//! place. So until a change has been read, both are right only as long as the columns are the same: the call worker looks.
//!
//! Not for reading columns, nor for what becomes of a call when they have changed.

/// A row type, and what its columns were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowVersion {
    /// `pg_type.oid`, or `pg_proc.oid` of a routine.
    pub oid: u32,
    /// Whether it is the routine itself, whose OUT parameters are the columns of its answer: they are the same as long as it
    /// is there. Its digest is that of its name, with its schema in place of a type.
    pub is_routine: bool,
    /// Of its columns, in their order: [`ColumnDigest`].
    pub digest: u64,
    /// Whether it is in an argument: a value may go astray. Else only keys of the answer may be those of before.
    pub is_argument: bool,
}

/// Of names and types of columns, without dropped ones: FNV-1a. Nobody gains anything by two lists that are alike in it:
/// who may change a type's columns may as well change what the routine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnDigest(u64);

impl Default for ColumnDigest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl ColumnDigest {
    /// With one more column. Its name is in the database's encoding, as it is there: conversions need not be exact.
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
