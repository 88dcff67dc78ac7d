//! What the views of version 0.1.0 call, which are in use until `ALTER EXTENSION pg_sse UPDATE`: arrays of
//! figures, in the order of `sql/pg_sse--0.1.0.sql`.

use pgrx::prelude::*;

use super::stats;
use crate::pg::shmem;

/// Counters of the gateway that 0.1.0 had; port and process id followed.
const GATEWAY_COUNTERS: usize = 26;

#[pg_extern(sql = false)]
fn stat_ring() -> Option<Vec<i64>> {
    Some(values(crate::stats::ring(&shmem::shared()?)))
}

#[pg_extern(sql = false)]
fn stat_gateway() -> Option<Vec<i64>> {
    let (process, counters): (Vec<_>, Vec<_>) =
        stats::gateway(&shmem::shared()?).into_iter().partition(|(name, _)| ["port", "pid"].contains(name));
    Some(values(counters.into_iter().take(GATEWAY_COUNTERS).chain(process)))
}

#[pg_extern(sql = false)]
fn stat_calls() -> Option<Vec<i64>> {
    Some(values(stats::calls())).filter(|row| !row.is_empty())
}

fn values(figures: impl IntoIterator<Item = (&'static str, u64)>) -> Vec<i64> {
    figures.into_iter().map(|(_, value)| i64::try_from(value).unwrap_or(i64::MAX)).collect()
}
