//! From what was read to the routes, in a session.
//!
//! Not for what decides about them (`sse_proto::route`); the gateway makes its own
//! (`worker/gateway/routing.rs`).

use sse_proto::route::{Known, Parsed, RouteTable, Routine};

use crate::guc;
use crate::pg::routine;
use crate::pg::want_of_memory::{ask_for, or_raise};

/// What a table has of a routine is at most as long as its comment, and this.
const KNOWN_BYTES: usize = 4 * 1024;

/// As [`RouteTable::build`], but the statement can be ended between two comments: together they may have 64
/// MB for each owner.
pub(crate) fn table_of(routines: &[Routine]) -> RouteTable {
    let parse = |routine: &Routine| {
        pgrx::check_for_interrupts!();
        or_raise(ask_for(routine::made_of_comment(routine.comment.len())));
        routine.parse()
    };
    let parsed: Vec<Parsed> = routines.iter().map(parse).collect();
    let of_known: usize = routines.iter().map(|routine| KNOWN_BYTES + routine.comment.len()).sum();
    or_raise(ask_for(of_known));
    let known = routines.iter().zip(&parsed).map(|(routine, parsed)| Known { routine, parsed });
    RouteTable::of(&known.collect::<Vec<_>>(), &guc::URL_PREFIX.text(), guc::default_level())
}
