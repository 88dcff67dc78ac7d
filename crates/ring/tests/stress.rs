//! Real threads: nothing lost, doubled, mangled or out of order, and no record slept over.
#![allow(unexpected_cfgs)]
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use sse_ring::{HeapRing, Producer, PushError, Wake};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

const PRODUCERS: u64 = 4;
const RUNS_FOR: Duration = Duration::from_millis(900);

/// Producer, number, filler that depends on both, checksum.
fn write_record(record: &mut Vec<u8>, producer: u64, number: u64) {
    record.clear();
    record.extend_from_slice(&producer.to_le_bytes());
    record.extend_from_slice(&number.to_le_bytes());
    let filler = (number.wrapping_mul(2_654_435_761) >> 7) % 200;
    record.extend((0..filler).map(|at| (number + at) as u8));
    let sum = record.iter().fold(producer, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    record.extend_from_slice(&sum.to_le_bytes());
}

fn read_record(record: &[u8]) -> (u64, u64) {
    let number_at = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
    let (producer, number) = (number_at(0), number_at(8));
    let mut expected = Vec::new();
    write_record(&mut expected, producer, number);
    assert_eq!(record, expected);
    (producer, number)
}

fn wake(needed: Wake, consumer: &Thread, is_set: &AtomicBool) {
    if needed == Wake::Needed {
        is_set.store(true, Ordering::Release);
        consumer.unpark();
    }
}

/// Pushes until the time is up; what finds no room is dropped and counted, number included.
fn produce(producer: Producer<'_>, id: u64, consumer: &Thread, latch: &AtomicBool, pushed: &AtomicU64) {
    let (mut record, mut number) = (Vec::new(), 0);
    let end = Instant::now() + RUNS_FOR;
    while Instant::now() < end {
        for _ in 0..100 {
            write_record(&mut record, id, number);
            number += 1;
            match producer.try_push(&record) {
                Ok(needed) => {
                    pushed.fetch_add(1, Ordering::Relaxed);
                    wake(needed, consumer, latch);
                }
                Err(PushError::Full) => wake(producer.count_dropped(1), consumer, latch),
                Err(PushError::TooLarge) => panic!("all records are small"),
            }
        }
        if number % 700 == 0 {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

/// The small ring is full most of the time; the large one lets the consumer sleep often.
#[test]
fn every_record_pushed_by_any_thread_is_taken_once_in_order_and_every_drop_is_seen_before_what_follows_it() {
    for capacity in [1000, 1 << 20] {
        let mut heap = HeapRing::new(capacity).unwrap();
        let (ring, mut consumer) = heap.split().unwrap();
        let (latch, pushed, done) = (AtomicBool::new(false), AtomicU64::new(0), AtomicBool::new(false));
        let mut taken = 0;
        thread::scope(|scope| {
            let me = thread::current();
            let (latch, pushed, done) = (&latch, &pushed, &done);
            let workers: Vec<_> = (0..PRODUCERS)
                .map(|id| {
                    let me = me.clone();
                    scope.spawn(move || produce(ring.producer(), id, &me, latch, pushed))
                })
                .collect();
            scope.spawn(move || {
                for worker in workers {
                    worker.join().unwrap();
                }
                done.store(true, Ordering::SeqCst);
                latch.store(true, Ordering::Release);
                me.unpark();
            });

            let mut next = [0_u64; PRODUCERS as usize];
            let mut missed = 0;
            loop {
                let was_done = done.load(Ordering::SeqCst);
                let mut batch = consumer.begin().unwrap();
                let dropped_total = batch.dropped_total();
                let drained = batch.drain(4096, |record| {
                    let (producer, number) = read_record(record);
                    let next = &mut next[producer as usize];
                    assert!(number >= *next, "doubled or out of order");
                    missed += number - *next;
                    *next = number + 1;
                });
                taken += drained.unwrap() as u64;
                assert!(missed <= dropped_total, "a record overtook the drop before it");
                // Nothing comes any more, so nobody would end a sleep.
                if was_done {
                    if drained == Ok(0) {
                        break;
                    }
                    continue;
                }
                if consumer.prepare_to_sleep() {
                    // No timeout below the test's own patience: a lost wake shows as this failure.
                    let patience = Instant::now() + Duration::from_secs(5);
                    while !latch.swap(false, Ordering::Acquire) {
                        assert!(Instant::now() < patience, "slept over a record or a drop");
                        thread::park_timeout(Duration::from_secs(5));
                    }
                }
                consumer.awake();
            }
        });
        let stats = ring.stats();
        assert_eq!((taken, stats.pushed_total, stats.used_bytes), (pushed.into_inner(), taken, 0));
        assert!(taken > 1000, "{taken}");
    }
}
