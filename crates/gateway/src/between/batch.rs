//! What the publisher hands to the runtime threads: one drained batch of the ring, numbered.
//!
//! Not for the format of a record: that is `sse_proto::record`.

use std::ops::Range;

use sse_proto::record::{Kind, Record, decode, snapshot_end};

use crate::between::live::Reach;

/// A run of consecutive items in the order of the stream (C5.3).
///
/// The sequence of an item is `first_sequence` plus its index, in every runtime thread alike, so that an id
/// means the same wherever a subscriber comes back (C6.4). Sequences of one epoch start at 1 and have no
/// holes: 0 is "before the first event".
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Sequence of `items[0]`, at least 1; the last batch's first sequence plus its number of items.
    pub first_sequence: u64,
    /// The records' bytes, one after another.
    pub bytes: Vec<u8>,
    /// What the batch consists of.
    pub items: Vec<Item>,
    /// Calls whose events all lie in this batch or in earlier ones. They have no place in the sequence: no
    /// subscriber could get them.
    pub ended_calls: Vec<u64>,
    /// Snapshots whose runs have ended here: the number of the call, and the last item before its end. All
    /// events that a run saw come before it.
    pub ended_snapshots: Vec<(u64, u64)>,
    /// The number of the latest canary that came this way; 0: none. It has no place in the sequence either.
    pub canary: u64,
    /// For how many streams each item is, while an inspector watches.
    pub(crate) reach: Reach,
}

impl Batch {
    /// How many bytes of records are put into one: enough to amortise the hand-over, few enough to keep the
    /// first event of a burst from waiting for the last. The next record begins another batch; one that is
    /// larger by itself is a batch of its own.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// An empty batch whose first item will get `first_sequence`.
    pub fn new(first_sequence: u64) -> Self {
        Self {
            first_sequence,
            bytes: Vec::new(),
            items: Vec::new(),
            ended_calls: Vec::new(),
            ended_snapshots: Vec::new(),
            canary: 0,
            reach: Reach::default(),
        }
    }

    /// Appends one record as it came out of the ring. The end of a call takes no sequence, nor does a canary.
    pub fn push_record(&mut self, record: &[u8]) {
        if let Some(call) = snapshot_end(record) {
            return self.ended_snapshots.push((call, self.next_sequence() - 1));
        }
        if matches!(Kind::of(record), Some(Kind::CallEnd | Kind::Canary)) {
            match decode(record) {
                Ok(Record::CallEnd { call }) => return self.ended_calls.push(call),
                Ok(Record::Canary { number }) => {
                    self.canary = self.canary.max(number);
                    return;
                }
                _ => {}
            }
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.items.push(Item::Record(start..self.bytes.len()));
    }

    /// Appends the news that events were dropped before they reached the ring (C3.6).
    pub fn push_overflow(&mut self, missed: Option<u64>) {
        self.items.push(Item::Overflow { missed });
    }

    /// The sequence that the batch after this one begins with.
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + self.items.len() as u64
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
            && self.ended_calls.is_empty()
            && self.ended_snapshots.is_empty()
            && self.canary == 0
    }
}

/// One item of a [`Batch`]. It takes its sequence even if nobody may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A record: these bytes of [`Batch::bytes`]. Bytes that cannot be decoded become an `overflow` gap for
    /// everybody, because the event's audience cannot be known.
    Record(Range<usize>),
    /// The ring was full: an `overflow` gap for every subscriber.
    Overflow {
        /// How many events were dropped, when that is known.
        missed: Option<u64>,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use sse_proto::order::{Limits, Look, Order};
    use sse_ring::HeapRing;

    use super::*;

    const MAX: usize = 256 << 10;

    /// Sizes of records, and how many of them are in each batch.
    const BATCHES: [(&[usize], &[usize]); 6] = [
        (&[MAX - 20, 19, 20], &[2, 1]),
        (&[MAX - 20, 20, 20], &[2, 1]),
        (&[MAX - 20, 21, 20], &[1, 2]),
        (&[MAX, 20], &[1, 1]),
        (&[MAX + 1, 20], &[1, 1]),
        (&[20, MAX + 1, 20], &[1, 1, 1]),
    ];

    // Taken out as the courier does it.
    #[test]
    fn events_that_need_not_wait_leave_the_ring_in_batches_of_256_kb_or_of_one_event() {
        for (sizes, wanted) in BATCHES {
            let mut heap = HeapRing::new(4 << 20).unwrap();
            let (ring, mut consumer) = heap.split().unwrap();
            for size in sizes {
                let _ = ring.producer().try_push(&vec![0; *size]).unwrap();
            }
            let mut taking = consumer.begin().unwrap();
            let mut batches: Vec<Batch> = Vec::new();
            loop {
                let mut batch = Batch::new(1);
                if taking.drain(Batch::MAX_BYTES, |record| batch.push_record(record)).unwrap() == 0 {
                    break;
                }
                batches.push(batch);
            }
            let counts: Vec<usize> = batches.iter().map(|batch| batch.items.len()).collect();
            assert_eq!(counts, wanted, "{sizes:?}");
            assert!(batches.iter().all(|batch| batch.bytes.len() <= MAX || batch.items.len() == 1));
        }
    }

    #[test]
    fn events_that_were_held_leave_in_batches_of_256_kb_or_of_one_event() {
        for (sizes, wanted) in BATCHES {
            let mut order = Order::new(Limits { time: Duration::MAX, bytes: usize::MAX });
            sizes.iter().for_each(|size| order.hold(1, &vec![0; *size]));
            order.decide(Look { highest: 1, blockers: &[], is_before_hole: false }, Instant::now());
            let mut batches = Vec::new();
            loop {
                match order.take(Batch::MAX_BYTES, |_| {}) {
                    0 => break,
                    records => batches.push(records),
                }
            }
            assert_eq!(batches, wanted, "{sizes:?}");
        }
    }
}
