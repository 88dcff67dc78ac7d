//! What has to be counted of the values of a type.
//!
//! Not for: counting it (`row_size.rs`).

use pgrx::pg_sys;

use crate::pg::raw;

/// What of a type's values has to be counted.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Of fixed length, with a text of at most `PLAIN_BYTES`.
    Plain(pg_sys::Oid),
    /// The text is no shorter than the value, and at most six times as long.
    Text,
    Numeric,
    Jsonb,
    Array,
    Composite,
    Range,
    /// Of ranges of this type.
    Multirange(pg_sys::Oid),
    /// Any other type.
    Other(pg_sys::Oid),
}

impl Kind {
    /// May raise.
    pub(super) fn of(type_oid: pg_sys::Oid) -> Self {
        use pg_sys as p;
        match raw::getBaseType(type_oid) {
            p::NUMERICOID => Self::Numeric,
            p::JSONBOID => Self::Jsonb,
            base if is_text(base) => Self::Text,
            base if is_plain(base) => Self::Plain(base),
            base if raw::get_element_type(base) != p::InvalidOid => Self::Array,
            base if raw::type_is_rowtype(base) => Self::Composite,
            base if raw::get_range_subtype(base) != p::InvalidOid => Self::Range,
            base => match raw::get_multirange_range(base) {
                p::InvalidOid => Self::Other(base),
                range => Self::Multirange(range),
            },
        }
    }
}

/// The types whose JSON is no shorter than the value.
pub(crate) fn is_text(type_oid: pg_sys::Oid) -> bool {
    use pg_sys as p;
    matches!(type_oid, p::TEXTOID | p::VARCHAROID | p::BPCHAROID | p::BYTEAOID | p::JSONOID)
}

/// The types of fixed length of every day.
fn is_plain(type_oid: pg_sys::Oid) -> bool {
    use pg_sys as p;
    matches!(
        type_oid,
        p::BOOLOID
            | p::INT2OID
            | p::INT4OID
            | p::INT8OID
            | p::FLOAT4OID
            | p::FLOAT8OID
            | p::UUIDOID
            | p::DATEOID
            | p::TIMESTAMPOID
            | p::TIMESTAMPTZOID
    )
}

/// How long the JSON of a type's values is at the most, for those of which it follows from their size.
#[derive(Clone, Copy)]
pub(crate) enum Longest {
    /// It does not follow.
    Unknown,
    /// This many bytes, whatever their size.
    Bytes(usize),
    /// This many times their size.
    Times(usize),
}

/// The longest numeric: 131,072 digits, 16,383 more after the point, the point and a sign (numeric.c).
const NUMERIC_BYTES: usize = 150_000;

/// What has numerics in it has at least eight bytes for each of them, with what tells where it is.
const NUMERICS_FACTOR: usize = NUMERIC_BYTES / 8;

/// An array of texts or of plain values. At worst they are NULL, of which each is a bit: `null`, a comma, and
/// brackets of five more dimensions.
const ARRAY_FACTOR: usize = 8 * 15;

impl Longest {
    /// Of a type, in the catalog of a transaction.
    pub(crate) fn of(type_oid: pg_sys::Oid) -> Self {
        use pg_sys as p;
        match type_oid {
            p::NUMERICOID => Self::Bytes(NUMERIC_BYTES),
            p::JSONBOID => Self::Times(NUMERICS_FACTOR),
            // SAFETY: a syscache look-up that answers InvalidOid for what is no array.
            _ => match unsafe { p::get_element_type(type_oid) } {
                p::NUMERICOID | p::JSONBOID => Self::Times(NUMERICS_FACTOR),
                element if is_text(element) || is_plain(element) => Self::Times(ARRAY_FACTOR),
                _ => Self::Unknown,
            },
        }
    }

    /// Of a value of so many bytes, unpacked.
    pub(crate) fn of_stored(self, bytes: usize) -> Option<usize> {
        match self {
            Self::Unknown => None,
            Self::Bytes(longest) => Some(longest),
            Self::Times(factor) => Some(bytes.saturating_mul(factor)),
        }
    }
}
