//! What `cargo xtask instructions` counts of the ring. Each test does its subject a thousand times within
//! [`counted`], which is where callgrind counts.
//!
//! Not for what many producers at once cost: there a push may take more than one round.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, unexpected_cfgs)]

use std::hint::black_box;

use sse_ring::HeapRing;

const TIMES: usize = 1_000;

/// As long as the record of an event of 200 bytes, roughly.
const RECORD: [u8; 256] = [7; 256];

/// `cargo xtask instructions` knows it by its name.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

#[test]
#[ignore = "counted by cargo xtask instructions"]
fn by_hand_push() {
    let mut heap = HeapRing::new(1 << 20).unwrap();
    let (ring, _consumer) = heap.split().unwrap();
    let producer = ring.producer();
    counted(|| {
        for _ in 0..TIMES {
            let _ = black_box(producer.try_push(black_box(&RECORD)).unwrap());
        }
    });
    assert_eq!(ring.stats().pushed_total, TIMES as u64);
}

#[test]
#[ignore = "counted by cargo xtask instructions"]
fn by_hand_take() {
    let mut heap = HeapRing::new(1 << 20).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    for _ in 0..TIMES {
        let _ = ring.producer().try_push(&RECORD).unwrap();
    }
    let mut bytes = 0;
    counted(|| {
        let mut batch = consumer.begin().unwrap();
        while batch.drain(usize::MAX, |record| bytes += record.len()).unwrap() > 0 {}
    });
    assert_eq!(bytes, TIMES * RECORD.len());
}
