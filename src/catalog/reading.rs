//! What a reading of the catalog finds, before and after the signatures are read.

use std::collections::BTreeMap;

use sse_proto::route::Routine;

use super::owners::Near;

/// The functions that comments name for snapshots, by schema and name; and of each the owners of the
/// routines whose comments name it, each once, by oid.
pub(crate) type Names = BTreeMap<(String, String), Vec<u32>>;

/// A routine as it is found, without its signature.
pub(crate) struct Found {
    /// The role that owns it.
    pub owner: u32,
    /// Number of its parameters, of all modes; of too many to be looked at, one more than are looked at.
    pub parameters: usize,
    /// Bytes of its comment, if it is ours and too long to be read.
    pub unread: usize,
    /// The rest.
    pub routine: Routine,
}

/// Those that are not read further, for their number and their comments alone.
#[derive(Default)]
pub(crate) struct Beyond {
    /// Oids. Some may be prose.
    pub routines: Vec<u32>,
    /// Whose they are.
    pub owners: Vec<u32>,
}

/// What one reading found, by oid.
#[derive(Default)]
pub(crate) struct Reading {
    /// The routines that are served, as far as that depends on their owner's limit.
    pub routines: Vec<Routine>,
    /// Oids of the routines beyond their owner's limit ([`sse_proto::route::beyond_weight`]). Some of their
    /// comments may be prose.
    pub beyond: Vec<u32>,
    /// Whose others decide what is served of them.
    pub near: Near,
    /// Whether comments name functions, so that any function that comes or goes may matter.
    pub depends_on_names: bool,
}
