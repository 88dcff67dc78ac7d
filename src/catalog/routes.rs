//! From what was read to the routes, in a session.
//!
//! Not for what decides about them (`sse_proto::route`); the gateway makes its own
//! (`worker/gateway/routing.rs`).

use sse_proto::route::{Known, Parsed, RouteTable, Routine};

use crate::guc;

/// As [`RouteTable::build`], but the statement can be ended between two comments: together they may have 64
/// MB for each owner.
pub(crate) fn table_of(routines: &[Routine]) -> RouteTable {
    let parse = |routine: &Routine| {
        pgrx::check_for_interrupts!();
        routine.parse()
    };
    let parsed: Vec<Parsed> = routines.iter().map(parse).collect();
    let known = routines.iter().zip(&parsed).map(|(routine, parsed)| Known { routine, parsed });
    RouteTable::of(&known.collect::<Vec<_>>(), &guc::URL_PREFIX.text(), guc::default_level())
}
