//! Counters of the gateway, for `sse.stat_gateway` and tests.
//!
//! Not for limits: no counter of this file decides anything, except the two gauges that `max_connections` of
//! [`crate::Settings`] bounds.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

/// Counters since the gateway was started.
///
/// Written by the runtime threads, read by the main thread at any time, all with relaxed ordering: each is a
/// number of its own and orders nothing else. `…_total` only ever grow.
#[derive(Debug, Default)]
pub struct Stats {
    /// The port that is listened on, 0 before the first address is bound.
    pub port: AtomicU16,
    /// Every address of `sse.listen_addresses` is bound.
    pub listening: AtomicBool,
    /// Sockets that are open now, streams included.
    pub connections: AtomicU64,
    /// Streams that are open now.
    pub subscribers: AtomicU64,
    /// Of these, streams of subscribers without an identity.
    pub anonymous_subscribers: AtomicU64,
    /// Sockets accepted.
    pub connections_total: AtomicU64,
    /// Sockets without a request that were closed to make room for others.
    pub displaced_total: AtomicU64,
    /// Streams begun.
    pub subscribers_total: AtomicU64,
    /// Connections and streams refused with 503 because of `sse.max_connections`.
    pub refused_total: AtomicU64,
    /// Streams refused with 429 because of `sse.max_connections_per_address`.
    pub refused_addresses_total: AtomicU64,
    /// Requests refused with 401 because their token was not believed.
    pub refused_tokens_total: AtomicU64,
    /// Items taken in (each runtime thread takes in all of them; counted once).
    pub events_total: AtomicU64,
    /// Of these, items that no stream could get, whoever listened: their scope is `nobody`, or a `matching`
    /// that matches nobody.
    pub undeliverable_total: AtomicU64,
    /// Records that could not be decoded; each became a gap.
    pub undecodable_total: AtomicU64,
    /// Streams that were asked whether an event is for them, summed over events: those in the lists that an
    /// event is filed under.
    pub asked_total: AtomicU64,
    /// Of these, streams that the event was for.
    pub woken_total: AtomicU64,
    /// Events handed to a socket, summed over the subscribers.
    pub deliveries_total: AtomicU64,
    /// Bytes handed to the sockets of streams.
    pub bytes_total: AtomicU64,
    /// Gaps that were told to one subscriber (`slow`, `expired`, `restarted`, `unknown`); gaps for everybody
    /// count as items.
    pub gaps_total: AtomicU64,
    /// Streams closed because they took nothing for `sse.write_timeout`.
    pub write_timeouts_total: AtomicU64,
    /// Streams closed because their peer kept sending after the request.
    pub junk_total: AtomicU64,
    /// Bytes of recent events that are kept (in each runtime thread).
    pub window_bytes: AtomicU64,
    /// Number of recent items that are kept.
    pub window_events: AtomicU64,
    /// Calls that wait for a worker now.
    pub calls_waiting: AtomicU64,
    /// Calls that were let into the queue.
    pub calls_total: AtomicU64,
    /// Of these, calls whose routine failed, or that were answered without it: lost, not run, not in time.
    pub calls_failed_total: AtomicU64,
    /// Calls that were not let in: the queue or the memory for bodies was full, or calls are not available.
    pub calls_refused_total: AtomicU64,
    /// Calls whose peer went away while they ran.
    pub calls_cancelled_total: AtomicU64,
    /// Snapshots that were run, each for one stream or for all that waited.
    pub snapshots_total: AtomicU64,
    /// Snapshots of which there was no result; each stream that waited got a gap.
    pub snapshots_failed_total: AtomicU64,
    /// Events that a stream did not get because its snapshot had seen them, summed over the streams.
    pub covered_total: AtomicU64,
    /// Errands for the main thread that were dropped because it did not take them.
    pub requests_dropped_total: AtomicU64,
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn subtract(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Ordering::Relaxed);
    }
}
