//! Figures of the gateway that `sse.stat_gateway` shows: copied from the gateway into shared memory once a
//! second.
//!
//! A figure has one name, from the gateway's counter to the column of the view.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use sse_gateway::Stats;

use crate::pg::shmem::GatewayFields;

type Reader = fn(&Stats) -> u64;

/// Makes the list of figures: each under the name of its field in [`Stats`].
macro_rules! figures {
    ($($name:ident)*) => {
        &[$((stringify!($name), |stats| stats.$name.load(Relaxed))),*]
    };
}

/// What each place of [`GatewayFields::counters`] holds. A new figure goes to the end, because the views of
/// version 0.1.0 rely on the order (`sql/version_0_1_0.rs`).
const FIGURES: &[(&str, Reader)] = figures! {
    connections
    subscribers
    connections_total
    subscribers_total
    refused_total
    events_total
    undeliverable_total
    undecodable_total
    deliveries_total
    bytes_total
    gaps_total
    write_timeouts_total
    junk_total
    window_bytes
    window_events
    requests_dropped_total
    anonymous_subscribers
    refused_addresses_total
    refused_tokens_total
    asked_total
    woken_total
    calls_waiting
    calls_total
    calls_failed_total
    calls_refused_total
    calls_cancelled_total
    displaced_total
    snapshots_total
    snapshots_failed_total
    covered_total
};

/// The figures that say what is there now. They are 0 while there is no gateway; the totals keep their
/// values.
const GAUGES: [&str; 6] =
    ["connections", "subscribers", "window_bytes", "window_events", "anonymous_subscribers", "calls_waiting"];

/// Copies the gateway's figures; `None` when there is no gateway any more.
pub(crate) fn copy(stats: Option<&Stats>, fields: &GatewayFields) {
    let Some(stats) = stats else {
        fields.port.store(0, Relaxed);
        for ((name, _), place) in FIGURES.iter().zip(places(fields)) {
            if GAUGES.contains(name) {
                place.store(0, Relaxed);
            }
        }
        return;
    };
    fields.port.store(u32::from(stats.port.load(Relaxed)), Relaxed);
    for ((_, read), place) in FIGURES.iter().zip(places(fields)) {
        place.store(read(stats), Relaxed);
    }
}

/// What was copied last, each figure with its name.
pub(crate) fn copied(fields: &GatewayFields) -> impl Iterator<Item = (&'static str, u64)> {
    FIGURES.iter().zip(places(fields)).map(|((name, _), place)| (*name, place.load(Relaxed)))
}

/// One for each figure: where `FIGURES` of `pg/shmem.rs` is another number, this does not compile.
fn places(fields: &GatewayFields) -> &[AtomicU64; FIGURES.len()] {
    &fields.counters.0
}
