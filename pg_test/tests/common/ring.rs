//! A ring that is soon full.

use anyhow::Result;
use cluster::Cluster;

/// More than a ring of 64 kB takes: 300 events of 1 kB.
pub(crate) const FLOOD: &str = "select f(repeat('x', 1000)) from generate_series(1, 300)";

pub(crate) fn small_ring() -> Result<Cluster> {
    Cluster::builder().setting("sse.ring_size", "64kB").start()
}
