//! Counters of the gateway, for `sse.stat_gateway` and tests.
//!
//! Not for limits: no counter of this file decides anything, except the two gauges that `max_connections` of
//! [`crate::Settings`] bounds.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

/// Makes the fields of [`Stats`] that are figures, and the list of them.
macro_rules! stats {
    ($($(#[$text:meta])* $name:ident,)*) => {
        /// Counters since the gateway was started.
        ///
        /// Written by the runtime threads, read by the main thread at any time, all with relaxed ordering:
        /// each is a number of its own and orders nothing else. `…_total` only ever grow.
        #[derive(Debug, Default)]
        pub struct Stats {
            /// The port that is listened on, 0 before the first address is bound.
            pub port: AtomicU16,
            /// Every address of `sse.listen_addresses` is bound.
            pub listening: AtomicBool,
            $($(#[$text])* pub $name: AtomicU64,)*
        }

        impl Stats {
            /// All figures, in the order of their fields, under their names. A new one goes to the end,
            /// because the views of version 0.1.0 rely on the order (`src/sql/version_0_1_0.rs`).
            pub const FIGURES: &[(&str, fn(&Self) -> &AtomicU64)] =
                &[$((stringify!($name), |stats| &stats.$name)),*];
        }
    };
}

stats! {
    /// Sockets that are open now, streams included.
    connections,
    /// Streams that are open now.
    subscribers,
    /// Sockets accepted.
    connections_total,
    /// Streams begun.
    subscribers_total,
    /// Connections and streams refused with 503 because of `sse.max_connections`.
    refused_total,
    /// Items taken in (each runtime thread takes in all of them; counted once).
    events_total,
    /// Of these, items that no stream could get, whoever listened: their scope is `nobody`, or a `matching`
    /// that matches nobody.
    undeliverable_total,
    /// Records that could not be decoded; each became a gap.
    undecodable_total,
    /// Events handed to a socket, summed over the subscribers.
    deliveries_total,
    /// Bytes handed to the sockets of streams.
    bytes_total,
    /// Gaps that were told to one subscriber (`slow`, `expired`, `restarted`, `unknown`); gaps for everybody
    /// count as items.
    gaps_total,
    /// Streams closed because they took nothing for `sse.write_timeout`.
    write_timeouts_total,
    /// Streams closed because their peer kept sending after the request.
    junk_total,
    /// Bytes of recent events that are kept (in each runtime thread).
    window_bytes,
    /// Number of recent items that are kept.
    window_events,
    /// Errands for the main thread that were dropped because it did not take them.
    requests_dropped_total,
    /// Of the open streams, those of subscribers without an identity.
    anonymous_subscribers,
    /// Streams refused with 429 because of `sse.max_connections_per_address`.
    refused_addresses_total,
    /// Requests refused with 401 because their token was not believed.
    refused_tokens_total,
    /// Streams that were asked whether an event is for them, summed over events: those in the lists that an
    /// event is filed under.
    asked_total,
    /// Of these, streams that the event was for.
    woken_total,
    /// Calls that wait for a worker now.
    calls_waiting,
    /// Calls that were let into the queue.
    calls_total,
    /// Of these, calls whose routine failed, or that were answered without it: lost, not run, not in time.
    calls_failed_total,
    /// Calls that were not let in: the queue or the memory for bodies was full, or calls are not available.
    calls_refused_total,
    /// Calls whose peer went away while they ran.
    calls_cancelled_total,
    /// Sockets without a request that were closed to make room for others.
    displaced_total,
    /// Snapshots that were run, each for one stream or for all that waited.
    snapshots_total,
    /// Snapshots of which there was no result; each stream that waited got a gap.
    snapshots_failed_total,
    /// Events that a stream did not get because its snapshot had seen them, summed over the streams.
    covered_total,
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn subtract(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Ordering::Relaxed);
    }
}
