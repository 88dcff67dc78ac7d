//! What a run's snapshot saw: for each transaction, whether its changes are in the run's result (C7.6).
//!
//! These are the numbers of a `pg_snapshot`, in 64 bits each, of top-level transactions alone: events carry
//! the number of their top-level transaction.
//!
//! Not for taking them from Postgres (`src/pg/call_cut.rs`).

use std::num::NonZeroU64;

/// The transactions that a snapshot saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// All transactions below it had ended.
    xmin: u64,
    /// None from it on had ended, and most had not begun.
    xmax: u64,
    /// Those between the two that were running; ascending.
    running: Vec<u64>,
}

impl Cut {
    /// `running` in any order; what lies outside of `xmin..xmax` has no effect.
    pub fn new(xmin: u64, xmax: u64, mut running: Vec<u64>) -> Self {
        running.retain(|xid| (xmin..xmax).contains(xid));
        running.sort_unstable();
        running.dedup();
        Self { xmin, xmax, running }
    }

    /// Whether the snapshot saw what this transaction, which has committed, has changed. One without a number
    /// has changed nothing that a snapshot could show.
    pub fn saw(&self, xid: Option<NonZeroU64>) -> bool {
        let Some(xid) = xid.map(NonZeroU64::get) else { return false };
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// The numbers, for a frame.
    pub(super) fn parts(&self) -> (u64, u64, &[u64]) {
        (self.xmin, self.xmax, &self.running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_saw_what_had_ended_when_it_was_taken() {
        // Numbers beyond 32 bits: the second epoch has begun.
        let base = 7 << 32;
        let cut = Cut::new(base + 10, base + 20, vec![base + 15, base + 12, base + 15, base + 30]);
        for (xid, saw) in [
            (1, true),
            (base + 9, true),
            (base + 10, true),
            (base + 11, true),
            (base + 12, false),
            (base + 13, true),
            (base + 15, false),
            (base + 19, true),
            (base + 20, false),
            (base + 21, false),
            (base + 30, false),
            (u64::MAX, false),
        ] {
            assert_eq!(cut.saw(NonZeroU64::new(xid)), saw, "{xid}");
        }
        assert!(!cut.saw(None));
        assert!(!Cut::default().saw(NonZeroU64::new(1)));
    }
}
