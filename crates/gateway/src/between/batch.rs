//! What the publisher hands to the runtime threads: one drained batch of the ring, numbered.
//!
//! Not for the format of a record: that is `sse_proto::record`.

use std::ops::Range;
use std::sync::Arc;

use sse_proto::place::{History, Place};
use sse_proto::record::{Kind, LogLoss, Record, decode, place, snapshot_end};

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
    /// Where the items are in the write-ahead log; of an item without a place the default one. Empty, and
    /// without memory, as long as none has a place.
    pub places: Vec<Place>,
    /// What the log is, if that was told here.
    pub log_state: Option<Arc<LogState>>,
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
            places: Vec::new(),
            log_state: None,
            ended_calls: Vec::new(),
            ended_snapshots: Vec::new(),
            canary: 0,
            reach: Reach::default(),
        }
    }

    /// Appends one record as it came out of the ring. The end of a call takes no sequence, nor does a canary,
    /// nor what is told of the log.
    pub fn push_record(&mut self, record: &[u8]) {
        match place(record) {
            // Without an index it is the position after which the record was to come, and nobody's place.
            Some((place, inner)) => self.push(inner, Some(place).filter(|place| place.index > 0)),
            None => self.push(record, None),
        }
    }

    fn push(&mut self, record: &[u8], place: Option<Place>) {
        if let Some(call) = snapshot_end(record) {
            return self.ended_snapshots.push((call, self.next_sequence() - 1));
        }
        if let Some(Kind::CallEnd | Kind::Canary | Kind::LogState | Kind::LogGap) = Kind::of(record) {
            match decode(record) {
                Ok(Record::CallEnd { call }) => return self.ended_calls.push(call),
                Ok(Record::Canary { number }) => {
                    self.canary = self.canary.max(number);
                    return;
                }
                Ok(Record::LogState { history, begin, caught_up }) => {
                    // A reader that follows on another one knows a later place, after items of that one.
                    let begin = self.log_state.as_ref().map_or(begin, |first| first.begin);
                    self.log_state = Some(Arc::new(LogState { history, begin, caught_up }));
                    return;
                }
                Ok(Record::LogGap { loss, place }) => return self.push_item(Item::Lost(loss), Some(place)),
                _ => {}
            }
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.push_item(Item::Record(start..self.bytes.len()), place);
    }

    fn push_item(&mut self, item: Item, place: Option<Place>) {
        if let Some(place) = place {
            self.places.resize(self.items.len(), Place::default());
            self.places.push(place);
        }
        self.items.push(item);
    }

    /// The place of one of its items, if that has one.
    pub(crate) fn place(&self, item: usize) -> Option<Place> {
        self.places.get(item).copied().filter(|place| *place != Place::default())
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
            && self.log_state.is_none()
    }
}

/// What the write-ahead log is that events come from (`Record::LogState`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Its timelines.
    pub history: History,
    /// All events of the log after this place are told.
    pub begin: Place,
    /// Everything that was in the log when its reader started has been told.
    pub caught_up: bool,
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
    /// Something is missing in the write-ahead log: a gap for every subscriber.
    Lost(LogLoss),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use sse_proto::order::{Limits, Look, Order};
    use sse_proto::record::{Envelope, append_placed};
    use sse_ring::HeapRing;

    use super::*;

    const MAX: usize = 256 << 10;

    #[test]
    fn what_comes_from_the_log_is_kept_with_its_place_and_what_does_not_takes_no_memory_for_one() {
        let event = Record::Event { envelope: Envelope::for_all(), data: "x" }.encode().unwrap();
        let mut batch = Batch::new(5);
        batch.push_record(&event);
        batch.push_record(&Record::CallEnd { call: 1 }.encode().unwrap());
        batch.push_overflow(None);
        assert_eq!((batch.places.capacity(), batch.place(0)), (0, None));
        let at = |lsn| Place::new(1, lsn, 1);
        let placed = |place, record: &[u8]| {
            let mut bytes = Vec::new();
            append_placed(place, record, &mut bytes).unwrap();
            bytes
        };
        batch.push_record(&placed(at(7), &event));
        batch.push_record(&placed(Place::new(0, 9, 0), &Record::CallEnd { call: 2 }.encode().unwrap()));
        let end = Record::SnapshotEnd { ticket: 0, xid: 0, call: 3 }.encode().unwrap();
        batch.push_record(&placed(Place::new(0, 9, 0), &end));
        batch.push_record(&placed(Place::new(0, 9, 0), &Record::Canary { number: 4 }.encode().unwrap()));
        batch.push_record(&Record::LogGap { loss: LogLoss::Expired, place: at(8) }.encode().unwrap());
        let (history, begin) = (History::of(1), at(6));
        let state = Record::LogState { history: history.clone(), begin, caught_up: true };
        batch.push_record(&state.encode().unwrap());
        // It was to come after that position, which is nobody's place.
        batch.push_record(&placed(Place::new(0, 9, 0), &event));
        let places: Vec<_> = (0..5).map(|item| batch.place(item)).collect();
        assert_eq!(places, [None, None, Some(at(7)), Some(at(8)), None]);
        assert_eq!(batch.items[3], Item::Lost(LogLoss::Expired));
        let Item::Record(range) = &batch.items[2] else { panic!() };
        assert_eq!(batch.bytes[range.clone()], event, "the place is taken off");
        assert_eq!((batch.ended_calls, batch.ended_snapshots, batch.canary), (vec![1, 2], vec![(3, 7)], 4));
        assert_eq!(batch.log_state, Some(Arc::new(LogState { history, begin, caught_up: true })));
    }

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
