//! The figures of `sse.stat_gateway`, `sse.stat_ring` and `sse.stat_wal`. Those of the gateway are copied
//! from it into shared memory once a second.
//!
//! A figure has one name, from the counter to the column of the view and to the scrape of the admin port.

use std::sync::atomic::Ordering::Relaxed;

use sse_gateway::Stats;

use crate::pg::call_slot::CallHeader;
use crate::pg::shmem::{GatewayFields, Shared};
use crate::pg::wal::words::WalFigures;

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
        for ((name, _), place) in Stats::FIGURES.iter().zip(&fields.counters.0) {
            if is_of_now(name) {
                place.store(0, Relaxed);
            }
        }
        return;
    };
    fields.port.store(u32::from(stats.port.load(Relaxed)), Relaxed);
    for ((_, figure), place) in Stats::FIGURES.iter().zip(&fields.counters.0) {
        place.store(figure(stats).load(Relaxed), Relaxed);
    }
}

/// The gateway's counters: as they are now, if there is a gateway to look at, else as they were copied last.
pub(crate) fn gateway(stats: Option<&Stats>, fields: &GatewayFields) -> Vec<Figure> {
    let figures = Stats::FIGURES.iter().zip(&fields.counters.0);
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

/// The reader of the log, as a scrape shows it; `now` in microseconds since 2000-01-01 UTC, and what is in
/// seconds in whole ones. None is given of how far it is behind before it has been up to date once.
pub(crate) fn wal(figures: &WalFigures, now: i64) -> Vec<Figure> {
    let [position, end, oldest] =
        [&figures.position, &figures.end, &figures.oldest].map(|place| place.load(Relaxed));
    let seconds = |microseconds: i64| u64::try_from(microseconds / 1_000_000).unwrap_or(0);
    let held_since = figures.held_since.load(Relaxed);
    let mut found = vec![
        ("reader_running", u64::from(figures.pid.load(Relaxed) != 0)),
        ("caught_up", u64::from(figures.caught_up.load(Relaxed) != 0)),
        ("held_seconds", if held_since == 0 { 0 } else { seconds(now - held_since) }),
        ("retained_bytes", end.saturating_sub(oldest)),
        ("events_total", figures.events_total.load(Relaxed)),
        ("marks_total", figures.marks_total.load(Relaxed)),
        ("unreadable_total", figures.unreadable_total.load(Relaxed)),
        ("foreign_total", figures.foreign_total.load(Relaxed)),
    ];
    if position != 0 {
        found.push(("behind_bytes", end.saturating_sub(position)));
    }
    found.extend(behind(figures, now).map(|microseconds| ("behind_seconds", seconds(microseconds))));
    found
}

/// For how many microseconds the reader of the log has not told everything that it could read; `None`: it has
/// never been up to date.
pub(crate) fn behind(figures: &WalFigures, now: i64) -> Option<i64> {
    if figures.position.load(Relaxed) == 0 || figures.is_behind.load(Relaxed) == 0 {
        return Some(0);
    }
    let up_to_date_at = figures.up_to_date_at.load(Relaxed);
    (up_to_date_at != 0).then(|| now - up_to_date_at)
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
