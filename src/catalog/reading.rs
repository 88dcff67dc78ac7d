//! What a reading of the catalog finds, before and after the signatures are read.

use sse_proto::route::Routine;

/// A routine as it is found, without its signature.
pub(crate) struct Found {
    /// Whose it is.
    pub owner: u32,
    /// Number of its parameters, of all modes.
    pub parameters: usize,
    /// The rest.
    pub routine: Routine,
}

/// What one reading found, by oid.
#[derive(Default)]
pub(crate) struct Reading {
    /// Those that are served, as far as it depends on their number.
    pub routines: Vec<Routine>,
    /// Oids of those whose owner has too many ([`sse_proto::route::beyond_weight`]). Some may be prose.
    pub beyond: Vec<u32>,
    /// Some owner has half of what they may have, or more.
    pub owner_is_near: bool,
}
