//! The figures of `sse.stat_gateway` and `sse.stat_ring`. Those of the gateway are copied from it into shared
//! memory once a second.
//!
//! A figure has one name, from the counter to the column of the view and to the scrape of the admin port.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use sse_gateway::Stats;

use crate::pg::call_slot::CallHeader;
use crate::pg::shmem::{GatewayFields, Shared};

/// A figure and its name.
pub(crate) type Figure = (&'static str, u64);

/// Whether a figure says what is there now, and so is 0 while there is no gateway; totals keep their values.
fn is_of_now(name: &str) -> bool {
    !name.ends_with("_total")
}

/// Copies the gateway's figures; `None` when there is no gateway any more.
pub(crate) fn copy(stats: Option<&Stats>, fields: &GatewayFields) {
    let Some(stats) = stats else {
        fields.port.store(0, Relaxed);
        for ((name, _), place) in Stats::FIGURES.iter().zip(places(fields)) {
            if is_of_now(name) {
                place.store(0, Relaxed);
            }
        }
        return;
    };
    fields.port.store(u32::from(stats.port.load(Relaxed)), Relaxed);
    for ((_, figure), place) in Stats::FIGURES.iter().zip(places(fields)) {
        place.store(figure(stats).load(Relaxed), Relaxed);
    }
}

/// The gateway's counters: as they are now, if there is a gateway to look at, else as they were copied last.
pub(crate) fn gateway(stats: Option<&Stats>, fields: &GatewayFields) -> Vec<Figure> {
    let figures = Stats::FIGURES.iter().zip(places(fields));
    figures.map(|((name, figure), place)| (*name, stats.map_or(place, figure).load(Relaxed))).collect()
}

/// The ring, and what could not be published.
pub(crate) fn ring(shared: &Shared) -> [Figure; 17] {
    let ring = shared.ring.stats();
    let refusals = &shared.header.refusals;
    let tickets = &shared.header.tickets;
    [
        ("capacity_bytes", ring.capacity_bytes),
        ("used_bytes", ring.used_bytes),
        ("records_total", ring.pushed_total),
        ("bytes_total", ring.pushed_bytes_total),
        ("full_total", ring.full_total),
        ("dropped_total", ring.dropped_total),
        ("too_large_total", refusals.too_large_total.load(Relaxed)),
        ("parallel_total", refusals.parallel_total.load(Relaxed)),
        ("misspelt_hint_total", refusals.misspelt_hint_total.load(Relaxed)),
        ("unmatched_total", refusals.unmatched_total.load(Relaxed)),
        ("out_of_memory_total", refusals.out_of_memory_total.load(Relaxed)),
        ("internal_total", refusals.internal_total.load(Relaxed)),
        ("replaced_characters_total", refusals.replaced_characters_total.load(Relaxed)),
        ("order_given_up_total", tickets.given_up_total.load(Relaxed)),
        ("stalls_total", tickets.stalls_total.load(Relaxed)),
        ("unfit_trigger_total", refusals.unfit_trigger_total.load(Relaxed)),
        ("standby_total", refusals.standby_total.load(Relaxed)),
    ]
}

/// The figures of the call workers.
pub(crate) fn calls(header: &CallHeader) -> [Figure; 4] {
    [
        ("call_workers", u64::from(header.ready.load(Relaxed))),
        ("calls_running", u64::from(header.running.load(Relaxed))),
        ("calls_lost_total", header.lost_total.load(Relaxed)),
        ("call_workers_total", header.workers_total.load(Relaxed)),
    ]
}

/// One for each of [`Stats::FIGURES`]: where `FIGURES` of `pg/shmem.rs` is another number, this does not
/// compile.
fn places(fields: &GatewayFields) -> &[AtomicU64; Stats::FIGURES.len()] {
    &fields.counters.0
}
