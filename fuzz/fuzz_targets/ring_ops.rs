//! Any sequence of operations on a ring of any size gives what a plain queue would give.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sse_ring::{HeapRing, PushError, Wake};
use std::collections::VecDeque;

#[derive(Arbitrary, Debug)]
enum Operation {
    Push {
        bytes: u16,
        fill: u8,
    },
    PushLongest {
        less: u8,
    },
    Drain {
        max_bytes: u16,
    },
    Drop {
        records: u8,
    },
    Sleep,
    /// The worker ends, and another one takes over.
    Restart,
}

#[derive(Arbitrary, Debug)]
struct Input {
    capacity: u16,
    operations: Vec<Operation>,
}

fuzz_target!(|input: Input| {
    let Ok(mut heap) = HeapRing::new(input.capacity.into()) else {
        assert!(input.capacity < 32);
        return;
    };
    let (mut ring, mut consumer) = heap.split().expect("a new ring is sound");
    let mut queue: VecDeque<Vec<u8>> = VecDeque::new();
    let (mut dropped_total, mut dropped_seen, mut is_asleep) = (0, 0, false);
    for operation in input.operations {
        let producer = ring.producer();
        let record = match operation {
            Operation::Push { bytes, fill } => vec![fill; bytes.into()],
            Operation::PushLongest { less } => {
                vec![0xff; producer.max_record_bytes().saturating_sub(less.into())]
            }
            Operation::Drain { max_bytes } => {
                consumer.awake();
                is_asleep = false;
                let mut batch = consumer.begin().expect("sound");
                assert_eq!(batch.dropped_total(), dropped_total);
                dropped_seen = dropped_total;
                let mut bytes = 0;
                let mut taken = 0;
                let drained = batch.drain(max_bytes.into(), |record| {
                    assert_eq!(Some(record), queue.pop_front().as_deref());
                    bytes += record.len();
                    taken += 1;
                });
                assert_eq!(drained, Ok(taken));
                assert!(taken <= 1 || bytes <= max_bytes.into());
                if let Some(next) = queue.front() {
                    assert!(taken > 0 && bytes + next.len() > max_bytes.into(), "stopped too early");
                }
                continue;
            }
            Operation::Drop { records } => {
                dropped_total += u64::from(records);
                let wake = producer.count_dropped(records.into());
                assert_eq!(wake == Wake::Needed, is_asleep);
                is_asleep = false;
                continue;
            }
            Operation::Sleep => {
                is_asleep = consumer.prepare_to_sleep();
                assert_eq!(is_asleep, queue.is_empty() && dropped_seen == dropped_total);
                continue;
            }
            Operation::Restart => {
                (ring, consumer) = heap.split().expect("sound");
                dropped_seen = dropped_total;
                is_asleep = false;
                continue;
            }
        };
        match producer.try_push(&record) {
            Ok(wake) => {
                assert!(record.len() <= producer.max_record_bytes());
                assert_eq!(wake == Wake::Needed, is_asleep);
                is_asleep = false;
                queue.push_back(record);
            }
            Err(PushError::TooLarge) => assert!(record.len() > producer.max_record_bytes()),
            Err(PushError::Full) => {
                assert!(!queue.is_empty(), "an empty ring takes every record that is not too large")
            }
        }
    }
});
