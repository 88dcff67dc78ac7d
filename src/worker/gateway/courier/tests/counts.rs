//! What `cargo xtask instructions` counts of the courier: records taken out and handed on, a thousand times
//! within [`counted`], which is where callgrind counts.
//!
//! Not for sleeping and waking, which are the kernel's.

use std::hint::black_box;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};

use crossbeam_channel::{Receiver, bounded, unbounded};
use sse_gateway::{Batch, Publisher};
use sse_proto::record::{Envelope, Record, set_raised_at, set_ticket};
use sse_ring::HeapRing;

use super::carrying::Carrier;
use super::source::Source;
use crate::pg::RING_BYTES;
use crate::pg::shmem::{Header, Shared};
use crate::worker::gateway::between::Reports;

const TIMES: usize = 1_000;

/// `cargo xtask instructions` knows it by its name.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// The record of an event of 200 bytes. Ticket 0: it was sent at once.
fn event(ticket: u64) -> Vec<u8> {
    let data = "x".repeat(200);
    let mut record = Record::Event { envelope: Envelope::for_all(), data: &data }.encode().unwrap();
    set_ticket(&mut record, ticket);
    set_raised_at(&mut record, 1);
    record
}

/// `work` gets a courier, its ring, and what it hands on.
fn with_courier(work: impl FnOnce(&mut Carrier<'_>, Shared, &Receiver<Arc<Batch>>)) {
    let (ring, consumer) = Box::leak(Box::new(HeapRing::new(RING_BYTES).unwrap())).split().unwrap();
    let bed = Box::leak(Box::new((Mutex::new(()), Condvar::new())));
    let announced = Box::leak(Box::default());
    let (header, wal) = (Box::leak(Box::<Header>::default()), Box::leak(Box::default()));
    let shared = Shared { ring, header, announced, wal, bed };
    let (_instructions, told) = unbounded();
    let (tasks, _routing) = unbounded();
    let says = Reports::new(unbounded().0, UnixStream::pair().unwrap().1);
    let mut carrier = Carrier::new(shared, Source::Ring(shared, consumer), RING_BYTES, &told, &says, &tasks);
    let (sender, batches) = bounded(64);
    carrier.publisher = Some(Publisher::into_channel(sender));
    work(&mut carrier, shared, &batches);
}

/// In rounds of so many events.
fn count_rounds_of(events: usize, ticket: u64) {
    with_courier(|carrier, shared, batches| {
        let record = event(ticket);
        // The first round is not counted: memory is taken then that is kept.
        for round in 0..=TIMES / events {
            for _ in 0..events {
                let _ = shared.ring.producer().try_push(&record).unwrap();
            }
            if round == 0 {
                carrier.drain().unwrap();
            } else {
                counted(|| carrier.drain().unwrap());
            }
            assert_eq!(batches.try_iter().map(|batch| batch.items.len()).sum::<usize>(), events);
        }
    });
}

#[test]
#[ignore = "counted by cargo xtask instructions"]
fn by_hand_event_sent_at_once() {
    count_rounds_of(1, 0);
}

#[test]
#[ignore = "counted by cargo xtask instructions"]
fn by_hand_event_of_a_commit() {
    count_rounds_of(1, 1);
}

#[test]
#[ignore = "counted by cargo xtask instructions"]
fn by_hand_one_of_a_hundred_events() {
    count_rounds_of(100, 0);
}
