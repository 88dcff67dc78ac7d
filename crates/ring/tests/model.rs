//! The ring against a plain queue: any sequence of operations gives what the queue would give.
#![allow(unexpected_cfgs)]
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sse_ring::{HeapRing, PushError};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
enum Operation {
    Push(usize),
    Drain(usize),
    DrainAll,
    Drop(u64),
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0_usize..300).prop_map(Operation::Push),
        6 => (0_usize..24).prop_map(Operation::Push),
        3 => (0_usize..600).prop_map(Operation::Drain),
        1 => Just(Operation::DrainAll),
        1 => (1_u64..5).prop_map(Operation::Drop),
        1 => Just(Operation::Restart),
    ]
}

/// Bytes that differ from record to record and are never zero, so that stale and missing ones are noticed.
fn record(number: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| (number.wrapping_mul(31).wrapping_add(at) % 255 + 1) as u8).collect()
}

/// What the ring must do with its room: positions as in its description, worked out independently.
struct Model {
    capacity: usize,
    head: usize,
    tail: usize,
    /// Records with where they begin, pad excluded, and end.
    queue: VecDeque<(Vec<u8>, usize, usize)>,
    dropped_total: u64,
}

impl Model {
    fn push(&mut self, record: Vec<u8>) -> bool {
        let bytes = 8 + record.len().div_ceil(8) * 8;
        let at = self.head % self.capacity;
        let pad = if at + bytes > self.capacity { self.capacity - at } else { 0 };
        let end = self.head + pad + bytes;
        if end - self.tail > self.capacity {
            return false;
        }
        self.head = end;
        self.queue.push_back((record, end - bytes, end));
        true
    }

    fn drain(&mut self, max_bytes: usize) -> Vec<Vec<u8>> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some((record, start, _)) = self.queue.front() {
            if !taken.is_empty() && bytes + record.len() > max_bytes {
                self.tail = *start;
                break;
            }
            bytes += record.len();
            let (record, _, end) = self.queue.pop_front().unwrap();
            self.tail = end;
            taken.push(record);
        }
        taken
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_gives_what_a_queue_would_give(
        capacity in 32_usize..1200,
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let mut heap = HeapRing::new(capacity).unwrap();
        let capacity = capacity / 8 * 8;
        let mut model = Model { capacity, head: 0, tail: 0, queue: VecDeque::new(), dropped_total: 0 };
        let (mut ring, mut consumer) = heap.split().unwrap();
        let mut number = 0;
        for operation in operations {
            let producer = ring.producer();
            match operation {
                Operation::Push(bytes) => {
                    number += 1;
                    let record = record(number, bytes);
                    let pushed = producer.try_push(&record);
                    if bytes > producer.max_record_bytes() {
                        prop_assert_eq!(pushed, Err(PushError::TooLarge));
                        continue;
                    }
                    let was_empty = model.queue.is_empty();
                    let fits = model.push(record);
                    prop_assert_eq!(pushed.is_ok(), fits);
                    prop_assert!(fits || !was_empty, "an empty ring takes the longest record");
                }
                Operation::Drain(max_bytes) => {
                    let mut taken = Vec::new();
                    let mut batch = consumer.begin().unwrap();
                    prop_assert_eq!(batch.dropped_total(), model.dropped_total);
                    batch.drain(max_bytes, |record| taken.push(record.to_vec())).unwrap();
                    prop_assert_eq!(taken, model.drain(max_bytes));
                }
                Operation::DrainAll => {
                    let mut taken = Vec::new();
                    consumer.begin().unwrap().drain(usize::MAX, |record| taken.push(record.to_vec())).unwrap();
                    prop_assert_eq!(taken, model.drain(usize::MAX));
                    prop_assert!(consumer.prepare_to_sleep() || consumer.begin().unwrap().dropped_total() > 0);
                }
                Operation::Drop(records) => {
                    let _ = producer.count_dropped(records);
                    model.dropped_total += records;
                }
                Operation::Restart => (ring, consumer) = heap.split().unwrap(),
            }
            prop_assert_eq!(ring.stats().used_bytes as usize, model.head - model.tail);
        }
    }
}
