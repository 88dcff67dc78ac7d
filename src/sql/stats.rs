//! The SQL functions behind the views of statistics: the ring's figures, and the gateway's.
//!
//! Not for those of calls: `calls.rs`.

use std::sync::atomic::Ordering::Relaxed;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use super::bigint;
use crate::pg::shmem::{self, GatewayState};

/// The row of `sse.stat_ring`, in the order of its columns.
#[pg_extern(sql = false)]
fn stat_ring() -> Option<Vec<i64>> {
    let shared = shmem::shared()?;
    let ring = shared.ring.stats();
    let refusals = &shared.header.refusals;
    Some(
        [
            ring.capacity_bytes,
            ring.used_bytes,
            ring.pushed_total,
            ring.pushed_bytes_total,
            ring.full_total,
            ring.dropped_total,
            refusals.too_large_total.load(Relaxed),
            refusals.parallel_total.load(Relaxed),
            refusals.misspelt_hint_total.load(Relaxed),
            refusals.unmatched_total.load(Relaxed),
            refusals.out_of_memory_total.load(Relaxed),
            refusals.internal_total.load(Relaxed),
            refusals.replaced_characters_total.load(Relaxed),
            shared.header.tickets.given_up_total.load(Relaxed),
            shared.header.tickets.stalls_total.load(Relaxed),
        ]
        .into_iter()
        .map(bigint)
        .collect(),
    )
}

/// The counters of `sse.stat_gateway`. Port and process id stand where the view of version 0.1.0 looks for them, which
/// is in use until `ALTER EXTENSION … UPDATE`; what came later stands behind them.
#[pg_extern(sql = false)]
fn stat_gateway() -> Option<Vec<i64>> {
    const COUNTERS_OF_0_1_0: usize = 26;
    let fields = &shmem::shared()?.header.gateway;
    let mut row: Vec<i64> = fields.counters.iter().map(|counter| bigint(counter.load(Relaxed))).collect();
    let port_and_pid = [&fields.port, &fields.pid].map(|field| i64::from(field.load(Relaxed)));
    row.splice(COUNTERS_OF_0_1_0..COUNTERS_OF_0_1_0, port_and_pid);
    Some(row)
}

/// What the gateway is doing, in words.
#[pg_extern(sql = false)]
fn gateway_state() -> &'static str {
    let Some(shared) = shmem::shared() else { return "not loaded" };
    GatewayState::load(&shared.header.gateway.state, Relaxed).as_str()
}

/// Start of the gateway process.
#[pg_extern(sql = false)]
fn gateway_started_at() -> Option<TimestampWithTimeZone> {
    let started_at = shmem::shared()?.header.gateway.started_at.load(Relaxed);
    (started_at != 0).then(|| TimestampWithTimeZone::try_from(started_at).ok()).flatten()
}

/// When the counters began.
#[pg_extern(sql = false)]
fn stats_reset() -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(shmem::shared()?.header.stats_reset.load(Relaxed)).ok()
}
