#![allow(clippy::unwrap_used)]

use crate::layout::{MIN_CAPACITY_BYTES, Word, footprint, max_record_bytes};
use crate::region::{HeapRing, Ring};
use crate::ring_error::RingError;
use crate::sync::Ordering;
use crate::{Consumer, Corrupt, Need, PushError, Wake};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn take_all(consumer: &mut Consumer<'_>) -> Vec<Vec<u8>> {
    let mut taken = Vec::new();
    let mut batch = consumer.begin().unwrap();
    while batch.drain(usize::MAX, |record| taken.push(record.to_vec())).unwrap() > 0 {}
    taken
}

fn is_all_zero(ring: Ring<'_>) -> bool {
    (0..ring.capacity() as u64).step_by(8).all(|position| ring.word(position).load(Ordering::Relaxed) == 0)
}

#[test]
fn a_record_comes_out_as_it_went_in_and_leaves_zeros_behind() {
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    for record in [&b""[..], b"1", b"1234567", b"12345678", b"123456789"] {
        let _ = ring.producer().try_push(record).unwrap();
        assert_eq!(take_all(&mut consumer), [record]);
        assert!(is_all_zero(ring));
    }
    let stats = ring.stats();
    assert_eq!((stats.pushed_total, stats.pushed_bytes_total, stats.used_bytes), (5, 25, 0));
}

#[test]
fn the_capacity_is_rounded_down_to_eight_bytes_and_has_a_smallest_value() {
    for (asked, got) in [
        (0, None),
        (MIN_CAPACITY_BYTES - 1, None),
        (MIN_CAPACITY_BYTES, Some(32)),
        (MIN_CAPACITY_BYTES + 7, Some(32)),
        (1000, Some(1000)),
        (1007, Some(1000)),
        (1008, Some(1008)),
    ] {
        let capacity = HeapRing::new(asked).ok().map(|mut heap| heap.split().unwrap().0.capacity());
        assert_eq!(capacity, got, "{asked}");
    }
    assert!(matches!(HeapRing::new(usize::MAX), Err(RingError::Capacity)));
    assert_eq!(Ring::bytes_needed(1007), 512 + 1000);
}

#[test]
fn what_needs_no_more_than_the_capacity_fits_an_empty_ring_at_every_position() {
    for capacity in [64, 128, 200] {
        let sets =
            (0..60).flat_map(|a| [vec![a; 3], vec![a, 0, 0, 0], vec![0, 0, a], vec![a, 60 - a], vec![a; 7]]);
        for lengths in sets {
            let need = lengths.iter().fold(Need::default(), |need, length| need.with(*length));
            let all_fit = |before: usize| {
                let mut heap = HeapRing::new(capacity).unwrap();
                let (ring, mut consumer) = heap.split().unwrap();
                for _ in 0..before {
                    let _ = ring.producer().try_push(b"").unwrap();
                    assert_eq!(take_all(&mut consumer).len(), 1);
                }
                lengths.iter().all(|length| ring.producer().try_push(&vec![1; *length]).is_ok())
            };
            let fits_everywhere = (0..capacity / 8).all(all_fit);
            if need.bytes() <= capacity {
                assert!(fits_everywhere, "{capacity} {lengths:?}");
            }
            // For records of one length the measure is exact.
            if lengths.iter().all(|length| *length == lengths[0]) {
                assert_eq!(need.bytes() <= capacity, fits_everywhere, "{capacity} {lengths:?}");
            }
        }
    }
}

#[test]
fn the_longest_record_fits_an_empty_ring_at_every_position_and_one_byte_more_never() {
    for capacity in (MIN_CAPACITY_BYTES..200).step_by(8) {
        for before in (0..capacity as u64).step_by(8) {
            let mut heap = HeapRing::new(capacity).unwrap();
            let (ring, mut consumer) = heap.split().unwrap();
            let producer = ring.producer();
            for _ in 0..before / 8 {
                let _ = producer.try_push(b"").unwrap();
                assert_eq!(take_all(&mut consumer).len(), 1);
            }
            let longest = producer.max_record_bytes();
            for bytes in [longest - 1, longest] {
                let record = vec![0xff; bytes];
                let _ = producer
                    .try_push(&record)
                    .unwrap_or_else(|_| panic!("{bytes} at {before} of {capacity}"));
                assert_eq!(take_all(&mut consumer), [record]);
            }
            assert_eq!(producer.try_push(&vec![0; longest + 1]), Err(PushError::TooLarge));
            assert!(is_all_zero(ring));
        }
    }
}

#[test]
fn the_longest_record_is_as_long_as_it_can_be() {
    for capacity in (MIN_CAPACITY_BYTES..400).step_by(8) {
        let longest = footprint(max_record_bytes(capacity));
        let needed = |footprint: usize| footprint + (footprint - 8);
        assert!(needed(longest) <= capacity && needed(longest + 8) > capacity, "{capacity}");
    }
    assert_eq!(max_record_bytes(16 << 30), 1 << 30);
}

#[test]
fn a_full_ring_refuses_the_record_takes_nothing_of_it_and_counts_it() {
    let mut heap = HeapRing::new(64).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    let producer = ring.producer();
    for _ in 0..4 {
        let _ = producer.try_push(b"12345678").unwrap();
    }
    assert_eq!(producer.free_bytes(), 0);
    assert_eq!(producer.try_push(b""), Err(PushError::Full));
    assert_eq!(producer.try_push(b""), Err(PushError::Full));
    assert_eq!(ring.stats().full_total, 2);
    assert_eq!(ring.stats().dropped_total, 0);
    assert_eq!(take_all(&mut consumer).len(), 4);
    assert_eq!(producer.free_bytes(), 64);
}

#[test]
fn the_last_bytes_can_be_used_and_eight_fewer_are_full() {
    for (room, fits) in [(16, false), (24, true), (32, true)] {
        let mut heap = HeapRing::new(64).unwrap();
        let (ring, _consumer) = heap.split().unwrap();
        let producer = ring.producer();
        for _ in 0..(64 - room) / 8 {
            let _ = producer.try_push(b"").unwrap();
        }
        assert_eq!(producer.try_push(b"123456789abcdef0").is_ok(), fits, "{room}");
    }
}

#[test]
fn a_record_that_would_be_cut_by_the_end_goes_to_the_start() {
    let mut heap = HeapRing::new(64).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    let producer = ring.producer();
    let _ = producer.try_push(&[1; 24]).unwrap();
    assert_eq!(take_all(&mut consumer).len(), 1);
    let _ = producer.try_push(&[2; 16]).unwrap();
    let _ = producer.try_push(&[3; 8]).unwrap();
    let pad = Word::from_bits(ring.word(56).load(Ordering::Relaxed), 56);
    assert_eq!(pad, Word::Pad);
    assert_eq!(take_all(&mut consumer), [vec![2; 16], vec![3; 8]]);
    assert!(is_all_zero(ring));
}

#[test]
fn a_batch_takes_at_most_the_bytes_asked_for_but_never_nothing() {
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    for _ in 0..4 {
        let _ = ring.producer().try_push(&[7; 10]).unwrap();
    }
    let mut batch = consumer.begin().unwrap();
    assert_eq!(batch.drain(0, |_| {}), Ok(1));
    assert_eq!(batch.drain(19, |_| {}), Ok(1));
    assert_eq!(batch.drain(20, |_| {}), Ok(2));
    assert_eq!(batch.drain(20, |_| {}), Ok(0));
}

#[test]
fn a_batch_does_not_see_what_was_pushed_or_dropped_after_it_began() {
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    let producer = ring.producer();
    let _ = producer.try_push(b"before").unwrap();
    let mut batch = consumer.begin().unwrap();
    let _ = producer.count_dropped(3);
    let _ = producer.try_push(b"after").unwrap();
    assert_eq!(batch.dropped_total(), 0);
    assert_eq!(batch.drain(usize::MAX, |record| assert_eq!(record, b"before")), Ok(1));
    assert_eq!(batch.drain(usize::MAX, |_| {}), Ok(0));
    assert_eq!(consumer.begin().unwrap().dropped_total(), 3);
    assert_eq!(take_all(&mut consumer), [b"after"]);
}

#[test]
fn one_producer_wakes_a_sleeping_consumer_and_nobody_an_awake_one() {
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    let producer = ring.producer();
    assert_eq!(producer.try_push(b"x"), Ok(Wake::NotNeeded));
    assert!(!consumer.prepare_to_sleep());
    assert_eq!(take_all(&mut consumer).len(), 1);
    assert!(consumer.prepare_to_sleep());
    assert_eq!(producer.try_push(b"x"), Ok(Wake::Needed));
    assert_eq!(producer.try_push(b"x"), Ok(Wake::NotNeeded));
    assert_eq!(take_all(&mut consumer).len(), 2);
    assert!(consumer.prepare_to_sleep());
    consumer.awake();
    assert_eq!(producer.try_push(b"x"), Ok(Wake::NotNeeded));
}

#[test]
fn a_drop_wakes_a_sleeping_consumer_and_keeps_one_awake_that_does_not_know_it() {
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    let producer = ring.producer();
    assert!(consumer.prepare_to_sleep());
    assert_eq!(producer.count_dropped(1), Wake::Needed);
    assert!(!consumer.prepare_to_sleep());
    assert_eq!(consumer.begin().unwrap().dropped_total(), 1);
    assert!(consumer.prepare_to_sleep());
}

#[test]
fn a_drain_that_was_cut_off_hands_the_same_records_out_again() {
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    for byte in 0..3 {
        let _ = ring.producer().try_push(&[byte]).unwrap();
    }
    let mut batch = consumer.begin().unwrap();
    let stop = |record: &[u8]| assert_ne!(record, [1]);
    assert!(catch_unwind(AssertUnwindSafe(|| batch.drain(usize::MAX, stop))).is_err());
    assert_eq!(take_all(&mut consumer), [[0], [1], [2]]);

    let _ = ring.producer().try_push(b"kept").unwrap();
    let mut batch = consumer.begin().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| batch.drain(usize::MAX, |_| panic!()))).is_err());
    let (_, mut successor) = heap.split().unwrap();
    assert_eq!(take_all(&mut successor), [b"kept"]);
}

#[test]
fn a_consumer_that_ended_while_erasing_is_finished_by_its_successor() {
    for erased_words in 0..=5 {
        let mut heap = HeapRing::new(64).unwrap();
        let (ring, mut consumer) = heap.split().unwrap();
        let producer = ring.producer();
        let _ = producer.try_push(&[0xff; 24]).unwrap();
        assert_eq!(take_all(&mut consumer).len(), 1);
        // From 32 over the end to 8 of the next lap, 5 words; then one record that was not taken.
        let _ = producer.try_push(&[0xff; 8]).unwrap();
        let _ = producer.try_push(&[0xff; 8]).unwrap();
        let _ = producer.try_push(&[]).unwrap();
        let _ = producer.try_push(b"next").unwrap();
        ring.header().consumer.0.released.store(72, Ordering::Relaxed);
        ring.zero(32, 32 + erased_words * 8);

        let (ring, mut successor) = heap.split().unwrap();
        assert_eq!(take_all(&mut successor), [b"next"]);
        assert!(is_all_zero(ring));
        assert_eq!(ring.stats().used_bytes, 0);
    }
}

#[test]
fn a_record_that_is_reserved_and_not_committed_holds_back_those_behind_it() {
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    ring.header().producers.0.head.store(16, Ordering::Relaxed);
    let _ = ring.producer().try_push(b"second").unwrap();
    assert_eq!(take_all(&mut consumer), Vec::<Vec<u8>>::new());
    assert!(consumer.prepare_to_sleep());
    ring.word(0).store(Word::Record { bytes: 8 }.bits(0), Ordering::Release);
    assert_eq!(take_all(&mut consumer), [vec![0; 8], b"second".to_vec()]);
}

#[test]
fn a_producer_that_stops_before_its_commit_is_a_hole_at_one_place_until_it_goes_on() {
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    let producer = ring.producer();
    let _ = producer.try_push(b"a").unwrap();
    let pushed = producer.push_stopped(b"b", || {
        let _ = producer.try_push(b"c").unwrap();
        assert_eq!(take_all(&mut consumer), [b"a"]);
        for _ in 0..2 {
            let mut batch = consumer.begin().unwrap();
            assert_eq!(batch.drain(1, |_| {}), Ok(0));
            assert_eq!((batch.hole(), batch.end()), (Some(16), 48));
        }
        assert_eq!(consumer.position(), 16);
    });
    assert!(pushed.is_ok());
    assert_eq!(take_all(&mut consumer), [b"b", b"c"]);
    assert_eq!(consumer.begin().unwrap().hole(), None);
    assert_eq!(consumer.position(), 48);
}

#[test]
fn a_corrupt_length_is_an_error_and_never_read() {
    let at = |word: Word| word.bits(64);
    for (bits, error) in [
        (1, Corrupt::Word { position: 64 }),
        (Word::Record { bytes: 8 }.bits(72), Corrupt::Word { position: 64 }),
        (at(Word::Pad) | 1, Corrupt::Word { position: 64 }),
        (at(Word::Record { bytes: 9 }), Corrupt::Length { position: 64, bytes: 9 }),
        (at(Word::Record { bytes: 0xffff_ffff }), Corrupt::Length { position: 64, bytes: 0xffff_ffff }),
        (at(Word::Pad), Corrupt::Length { position: 64, bytes: 192 }),
    ] {
        let mut heap = HeapRing::new(256).unwrap();
        let (ring, mut consumer) = heap.split().unwrap();
        let _ = ring.producer().try_push(&[1; 56]).unwrap();
        let _ = ring.producer().try_push(&[2; 8]).unwrap();
        ring.word(64).store(bits, Ordering::Relaxed);
        let mut taken = Vec::new();
        let result = consumer.begin().unwrap().drain(usize::MAX, |record| taken.push(record.to_vec()));
        assert_eq!(result, Err(error), "{bits:x}");
        assert_eq!(taken, [vec![1; 56]]);
    }
}

#[test]
fn positions_that_contradict_each_other_are_an_error_for_the_consumer_and_full_for_producers() {
    for (head, released, tail) in [(0, 0, 8), (8, 16, 0), (264, 0, 0), (16, 4, 4), (u64::MAX, 0, 0)] {
        let mut heap = HeapRing::new(256).unwrap();
        let (ring, mut consumer) = heap.split().unwrap();
        ring.header().producers.0.head.store(head, Ordering::Relaxed);
        ring.header().consumer.0.released.store(released, Ordering::Relaxed);
        ring.header().consumer.0.tail.store(tail, Ordering::Relaxed);
        if !(tail..=tail + 256).contains(&head) {
            assert_eq!(ring.producer().try_push(b"x"), Err(PushError::Full));
        }
        if head > 256 {
            assert_eq!(consumer.begin().err(), Some(Corrupt::Positions));
        }
        assert_eq!(heap.split().err(), Some(Corrupt::Positions), "{head} {released} {tail}");
    }
}

#[test]
fn a_payload_that_looks_like_a_committed_word_is_never_taken_for_one() {
    // Attack: a message with the bytes of a committed word at every place where a word could lie one lap
    // later.
    let mut heap = HeapRing::new(256).unwrap();
    let (ring, mut consumer) = heap.split().unwrap();
    let producer = ring.producer();
    let forged = |position: u64| Word::Record { bytes: 8 }.bits(position).to_ne_bytes();
    let record: Vec<u8> = (1..=15).flat_map(|word| forged(256 + word * 8)).collect();
    let _ = producer.try_push(&record).unwrap();
    assert_eq!(take_all(&mut consumer), [record]);
    let _ = producer.try_push(&[0; 120]).unwrap();
    assert_eq!(take_all(&mut consumer).len(), 1);
    ring.header().producers.0.head.store(512, Ordering::Relaxed);
    assert_eq!(take_all(&mut consumer), Vec::<Vec<u8>>::new());
}

#[test]
fn attach_refuses_what_is_no_ring_of_this_size() {
    let mut heap = HeapRing::new(256).unwrap();
    let (needed, address) = (Ring::bytes_needed(256), heap.address());
    assert_eq!(heap.attach_error(address, needed), None);
    assert_eq!(heap.attach_error(address, needed - 1), Some(RingError::Truncated));
    assert_eq!(heap.attach_error(address, 511), Some(RingError::Truncated));
    assert_eq!(heap.attach_error(address.wrapping_add(8), needed - 8), Some(RingError::Misaligned));
    assert_eq!(heap.attach_error(address.wrapping_add(128), needed - 128), Some(RingError::Foreign));
    for (capacity, error) in [
        (u64::MAX, RingError::Capacity),
        (257, RingError::Capacity),
        (24, RingError::Capacity),
        (264, RingError::Truncated),
    ] {
        heap.set_capacity(capacity);
        assert_eq!(heap.attach_error(address, needed), Some(error), "{capacity}");
    }
}

#[test]
fn a_share_of_the_ring_is_kept_to_the_byte_and_an_empty_ring_takes_any_record() {
    const SHARE: usize = 1024;
    for left in (0..=512_usize).step_by(8) {
        for bytes in left.saturating_sub(24)..=left + 24 {
            let mut heap = HeapRing::new(4 * SHARE).unwrap();
            let (ring, _consumer) = heap.split().unwrap();
            let producer = ring.producer();
            assert!(producer.is_within(SHARE, SHARE + bytes), "nothing else is there");
            let _ = producer.try_push(&vec![1; SHARE - left - 8]).unwrap();
            assert_eq!(ring.stats().used_bytes as usize, SHARE - left);
            let may_push = producer.is_within(SHARE, bytes);
            let _ = producer.try_push(&vec![2; bytes]).unwrap();
            let used = ring.stats().used_bytes as usize;
            assert_eq!(may_push, used <= SHARE, "{bytes} bytes with {left} left make {used}");
        }
    }
}
