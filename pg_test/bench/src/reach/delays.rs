//! How late the events of one turn were, and the columns that tables have of that.
//!
//! Not for taking the times: `line.rs` and `looker.rs`.

use crate::report::{Chapter, Metric};

/// Three columns: the median, what one of a hundred exceeds, and the latest.
pub(super) type Columns = [(Metric, usize); 3];

/// From before the publisher's statement.
pub(super) const AFTER: Columns = [
    (Metric { name: "p50", unit: "ms", is_compared: false }, 50),
    (Metric { name: "p99", unit: "ms", is_compared: false }, 99),
    (Metric { name: "max", unit: "ms", is_compared: false }, 100),
];

/// From when the event's row was visible on the same server.
pub(super) const OVER_REPLAY: Columns = [
    (Metric { name: "over replay: p50", unit: "ms", is_compared: false }, 50),
    (Metric { name: "over replay: p99", unit: "ms", is_compared: false }, 99),
    (Metric { name: "over replay: max", unit: "ms", is_compared: false }, 100),
];

/// Of fewer events, what one of a hundred exceeds is no figure.
const FEW: usize = 20;

/// Microseconds, sorted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delays(Vec<u64>);

impl Delays {
    pub(super) fn new(mut microseconds: Vec<u64>) -> Self {
        microseconds.sort_unstable();
        Self(microseconds)
    }

    /// Milliseconds that this share of them did not exceed.
    pub(super) fn percent(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).copied().unwrap_or(0) as f64 / 1000.0
    }

    pub(super) fn add_to(&self, chapter: &mut Chapter, row: &str, side: &str, columns: &Columns) {
        let is_told = |percent: usize| percent != 99 || self.0.len() >= FEW;
        for (metric, percent) in columns.iter().filter(|(_, percent)| is_told(*percent)) {
            chapter.add(row, side, *metric, self.percent(*percent));
        }
    }
}
