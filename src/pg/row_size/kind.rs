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
