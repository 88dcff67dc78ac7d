//! Reading off what the gateway process holds: memory and descriptors from /proc, streams from
//! `sse.stat_gateway`.
//!
//! Not for judging the figures.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::{Cluster, PATIENCE, Session, anonymous_bytes, wait_for};

/// What the gateway holds at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) pid: u32,
    /// Anonymous memory that is resident (`RssAnon`): heaps and stacks, without the shared memory of the
    /// ring.
    pub(super) memory_kb: u64,
    pub(super) descriptors: usize,
    pub(super) streams: u64,
    pub(super) streams_total: u64,
    pub(super) deliveries: u64,
    pub(super) window_kb: u64,
    connections: u64,
}

/// Keeps a session to ask with.
pub(super) struct Gauge {
    session: Session,
}

impl Gauge {
    pub(super) fn new(cluster: &Cluster) -> Result<Self> {
        Ok(Self { session: cluster.session()? })
    }

    pub(super) fn sample(&mut self, at: Duration) -> Result<Sample> {
        const FIGURES: &str = "select pid, subscribers, subscribers_total, deliveries_total, window_bytes / 1024, \
                               connections from sse.stat_gateway";
        let text = self.session.run(FIGURES)?.ok()?.text();
        let figures: Vec<u64> = text.split('|').filter_map(|figure| figure.parse().ok()).collect();
        let [pid, streams, streams_total, deliveries, window_kb, connections] = figures[..] else {
            anyhow::bail!("the gateway is not there: {text:?}");
        };
        let descriptors =
            fs::read_dir(format!("/proc/{pid}/fd")).context("the gateway's descriptors")?.count();
        let pid = u32::try_from(pid)?;
        let memory_kb = anonymous_bytes(pid)? >> 10;
        Ok(Sample {
            at,
            pid,
            memory_kb,
            descriptors,
            streams,
            streams_total,
            deliveries,
            window_kb,
            connections,
        })
    }

    /// Waits until nobody is connected and the figures have said so twice; if `expected` is given, also until
    /// no more descriptors than that are open.
    pub(super) fn quiet(&mut self, expected: Option<usize>) -> Result<Sample> {
        let mut last = Sample::default();
        let quiet = wait_for(PATIENCE, "everybody has gone", || {
            let sample = self.sample(Duration::ZERO)?;
            // The figures are a second old at most.
            let is_same =
                sample.descriptors == last.descriptors && sample.streams_total == last.streams_total;
            let is_level = expected.is_none_or(|expected| sample.descriptors == expected);
            last = sample;
            let is_empty = (sample.streams, sample.connections) == (0, 0);
            Ok((is_same && is_level && is_empty).then_some(sample))
        });
        quiet.with_context(|| {
            let Sample { descriptors, streams, connections, .. } = last;
            let expected =
                expected.map_or_else(String::new, |expected| format!(", {expected} would be right"));
            format!(
                "{descriptors} descriptors are open{expected}; {streams} streams, {connections} connections"
            )
        })
    }
}

/// What was held in the second and in the last third: the lowest of each, because peaks prove nothing.
pub(super) fn level(samples: &[Sample]) -> Option<(u64, u64)> {
    let third = samples.len() / 3;
    let least = |samples: &[Sample]| samples.iter().map(|sample| sample.memory_kb).min();
    Some((least(samples.get(third..2 * third)?)?, least(samples.get(2 * third..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Iterator<Item = u64>) -> Vec<Sample> {
        memory.map(|memory_kb| Sample { memory_kb, ..Sample::default() }).collect()
    }

    #[test]
    fn warming_up_and_peaks_do_not_count_and_a_slope_does() {
        let warm = (0..10).map(|n| n * 1000).chain((0..20).map(|n| 9000 + n % 2 * 500));
        assert_eq!(level(&samples(warm)), Some((9000, 9000)));
        assert_eq!(level(&samples((0..30).map(|n| n * 100))), Some((1000, 2000)));
        assert_eq!(level(&samples(0..2)), None);
    }
}
