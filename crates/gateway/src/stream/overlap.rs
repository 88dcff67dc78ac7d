//! Which items of the log a snapshot has seen although they come after it in the order (C7.6).
//!
//! Not for what a stream makes of that: that is `slot/follow`.

use std::cell::Cell;

use sse_proto::call::Cut;

use crate::stream::stream_log::StreamLog;

/// The items that a snapshot may have seen although they come after it in the order.
#[derive(Debug)]
pub(crate) struct Overlap {
    pub(crate) cut: Cut,
    /// The run whose end closes it.
    pub(crate) call: u64,
    /// The end of any run with a higher number closes it, too: that run began when this one had ended, so it
    /// saw what this one saw. This one's own end is lost when the ring is full.
    pub(crate) ended_before: u64,
    /// No item after this one was seen. The largest number as long as that is not known.
    pub(crate) last: Cell<u64>,
    /// What was lost up to this item, the snapshot shows: gaps up to here need no other one.
    pub(crate) position: u64,
}

impl Overlap {
    /// Whether the end of this run closes it.
    pub(crate) fn is_closed_by(&self, call: u64) -> bool {
        call == self.call || call > self.ended_before
    }

    pub(crate) fn saw(&self, log: &StreamLog, sequence: u64) -> bool {
        let is_shown = |gap| sequence <= self.position && gap == Some(sequence);
        sequence <= self.last.get() && (self.cut.saw(log.xid(sequence)) || is_shown(log.next_gap(sequence)))
    }
}
