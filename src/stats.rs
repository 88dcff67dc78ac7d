//! Figures of the gateway that `sse.stat_gateway` shows: copied from the gateway into shared memory once a second.

use std::sync::atomic::Ordering::Relaxed;

use sse_gateway::Stats;

use crate::pg::shmem::GatewayFields;

type Reader = fn(&Stats) -> u64;

/// What each place of [`GatewayFields::counters`] holds; the view in `sql/` names them in the same order.
pub(crate) const GATEWAY_COUNTERS: [(&str, Reader); 27] = [
    ("connections", |stats| stats.connections.load(Relaxed)),
    ("subscribers", |stats| stats.subscribers.load(Relaxed)),
    ("connections_total", |stats| stats.connections_total.load(Relaxed)),
    ("subscribers_total", |stats| stats.subscribers_total.load(Relaxed)),
    ("refused_total", |stats| stats.refused_total.load(Relaxed)),
    ("events_total", |stats| stats.events_total.load(Relaxed)),
    ("undeliverable_total", |stats| stats.undeliverable_total.load(Relaxed)),
    ("undecodable_total", |stats| stats.undecodable_total.load(Relaxed)),
    ("deliveries_total", |stats| stats.deliveries_total.load(Relaxed)),
    ("bytes_total", |stats| stats.bytes_total.load(Relaxed)),
    ("gaps_total", |stats| stats.gaps_total.load(Relaxed)),
    ("write_timeouts_total", |stats| stats.write_timeouts_total.load(Relaxed)),
    ("junk_total", |stats| stats.junk_total.load(Relaxed)),
    ("window_bytes", |stats| stats.window_bytes.load(Relaxed)),
    ("window_events", |stats| stats.window_events.load(Relaxed)),
    ("requests_dropped_total", |stats| stats.requests_dropped_total.load(Relaxed)),
    ("anonymous_subscribers", |stats| stats.anonymous_subscribers.load(Relaxed)),
    ("refused_addresses_total", |stats| stats.refused_addresses_total.load(Relaxed)),
    ("refused_tokens_total", |stats| stats.refused_tokens_total.load(Relaxed)),
    ("asked_total", |stats| stats.asked_total.load(Relaxed)),
    ("woken_total", |stats| stats.woken_total.load(Relaxed)),
    ("calls_waiting", |stats| stats.calls_waiting.load(Relaxed)),
    ("calls_total", |stats| stats.calls_total.load(Relaxed)),
    ("calls_failed_total", |stats| stats.calls_failed_total.load(Relaxed)),
    ("calls_refused_total", |stats| stats.calls_refused_total.load(Relaxed)),
    ("calls_cancelled_total", |stats| stats.calls_cancelled_total.load(Relaxed)),
    ("displaced_total", |stats| stats.displaced_total.load(Relaxed)),
];

/// Copies the gateway's figures; without a gateway the gauges go to zero and the totals stay.
pub(crate) fn copy(stats: Option<&Stats>, fields: &GatewayFields) {
    let Some(stats) = stats else {
        fields.port.store(0, Relaxed);
        for gauge in [
            "connections",
            "subscribers",
            "window_bytes",
            "window_events",
            "anonymous_subscribers",
            "calls_waiting",
        ] {
            if let Some(place) = GATEWAY_COUNTERS.iter().position(|(name, _)| *name == gauge) {
                fields.counters[place].store(0, Relaxed);
            }
        }
        return;
    };
    fields.port.store(u32::from(stats.port.load(Relaxed)), Relaxed);
    for ((_, read), place) in GATEWAY_COUNTERS.iter().zip(&fields.counters) {
        place.store(read(stats), Relaxed);
    }
}
