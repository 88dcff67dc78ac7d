//! What the courier promises of its source's records, tested over both sources.

use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use sse_gateway::{Batch, Item, Publisher};
use sse_proto::record::{Envelope, Record, set_ticket};
use sse_ring::{ASLEEP, Corrupt, HeapRing};

use super::between::{Instruction, Reports};
use super::routing::{Task, Tasks};
use super::{courier, elsewhere};
use crate::pg::shmem::{Header, Shared};
use crate::pg::wal::Words;
use crate::pg::{RING_BYTES, futex};

/// How long anything may take before a test fails.
const SOON: Duration = Duration::from_secs(20);

/// The mark that [`Rig::settle`] waits for.
const LAST: u64 = 7;

/// What the courier has of its channels.
pub(super) type Ends = (Receiver<Instruction>, Reports, Tasks);

/// Where the records come from.
#[derive(Clone)]
pub(super) enum Place {
    Ring(Shared),
    Queue(Arc<elsewhere::Queue>),
}

impl Place {
    pub(super) fn push(&self, record: &[u8]) {
        match self {
            Self::Ring(shared) => futex::wake_if(shared.ring.producer().try_push(record).unwrap(), shared),
            Self::Queue(queue) => queue.change(|inside| {
                inside.records.push_back(record.to_vec());
                inside.pushed += 1;
            }),
        }
    }

    fn drop_one(&self) {
        match self {
            Self::Ring(shared) => futex::wake_if(shared.ring.producer().count_dropped(1), shared),
            Self::Queue(queue) => queue.change(|inside| inside.dropped += 1),
        }
    }

    /// From here on events come from the write-ahead log.
    pub(super) fn switch_log_on(&self) {
        match self {
            Self::Ring(shared) => shared.wal.is_on.store(true, SeqCst),
            Self::Queue(queue) => queue.change(|inside| inside.has_log = true),
        }
    }

    /// How often a reading was asked for.
    pub(super) fn readings(&self) -> u32 {
        match self {
            Self::Ring(shared) => shared.wal.readings.load(SeqCst),
            Self::Queue(queue) => queue.inside().readings,
        }
    }

    /// The reader of the log has come so far. Wakes nobody.
    pub(super) fn read_to(&self, position: u64) {
        match self {
            Self::Ring(shared) => shared.wal.read_to.store(position, SeqCst),
            Self::Queue(queue) => queue.inside().read_to = position,
        }
    }

    /// As `Courier::tell` does.
    fn knock(&self) {
        match self {
            Self::Ring(shared) => futex::wake_if(shared.ring.producer().take_wake_duty(), shared),
            Self::Queue(queue) => queue.change(|_| {}),
        }
    }

    fn is_asleep(&self) -> bool {
        match self {
            Self::Ring(shared) => shared.ring.sleep_word().load(SeqCst) == ASLEEP,
            Self::Queue(queue) => queue.inside().is_asleep,
        }
    }
}

/// A courier that has not been started, and what it is told and says.
pub(super) struct Rig {
    pub(super) place: Place,
    announced: &'static Mutex<Vec<u64>>,
    instructions: Sender<Instruction>,
    tasks: Receiver<Task>,
    courier: JoinHandle<Result<(), Corrupt>>,
    go: Sender<()>,
}

/// One over each source.
pub(super) fn rigs() -> [Rig; 2] {
    [false, true].map(|is_ring| {
        let announced: &Mutex<Vec<u64>> = Box::leak(Box::default());
        let (ring, consumer) = Box::leak(Box::new(HeapRing::new(RING_BYTES).unwrap())).split().unwrap();
        let bed = Box::leak(Box::new((Mutex::new(()), Condvar::new())));
        let (header, wal) = (Box::leak(Box::<Header>::default()), Box::leak(Box::<Words>::default()));
        let shared = Shared { ring, header, announced, wal, bed };
        let (instructions, told) = unbounded();
        let (to_routing, tasks) = unbounded();
        let (go, may_go) = bounded::<()>(1);
        let queue = Arc::<elsewhere::Queue>::default();
        let place = if is_ring { Place::Ring(shared) } else { Place::Queue(Arc::clone(&queue)) };
        let courier = thread::spawn(move || {
            let says = Reports::new(unbounded().0, UnixStream::pair().unwrap().1);
            let _ = may_go.recv();
            let ends = (told, says, to_routing);
            if is_ring {
                courier::run((shared, consumer), ends)
            } else {
                elsewhere::run((shared, queue), ends)
            }
        });
        Rig { place, announced, instructions, tasks, courier, go }
    })
}

impl Rig {
    pub(super) fn tell(&self, instruction: Instruction) {
        self.instructions.send(instruction).unwrap();
        self.place.knock();
    }

    /// What is published from now on goes here, and waits when it is more than this many batches.
    pub(super) fn open(&self, room: usize) -> Receiver<Arc<Batch>> {
        let (sender, batches) = bounded(room);
        self.tell(Instruction::Open { publisher: Publisher::into_channel(sender), done: unbounded().0 });
        batches
    }

    /// Begins to close; the answer comes when it is done.
    pub(super) fn close(&self, last_drain: Duration) -> Receiver<()> {
        let (done, is_done) = bounded(1);
        self.tell(Instruction::Close { until: Instant::now() + last_drain, done });
        is_done
    }

    pub(super) fn start(&self) {
        self.go.send(()).unwrap();
    }

    /// Until all that was pushed has been taken out, whatever has become of it. Returns what was no event.
    pub(super) fn settle(&self) -> usize {
        self.tell(Instruction::Mark(LAST));
        let mut records = 0;
        loop {
            match self.tasks.recv_timeout(SOON).unwrap() {
                Task::Records(some) => records += some.iter().count(),
                Task::Mark(LAST) => return records,
                Task::Mark(_) => {}
            }
        }
    }

    pub(super) fn stop(self) {
        self.tell(Instruction::Stop);
        let begun = Instant::now();
        while !self.courier.is_finished() {
            assert!(begun.elapsed() < SOON, "it does not stop");
            thread::yield_now();
        }
        self.courier.join().unwrap().unwrap();
    }
}

/// The record of an event, this long; ticket 0: one that was sent at once.
fn event(bytes: usize, ticket: u64) -> Vec<u8> {
    let encoded = |data: &str| Record::Event { envelope: Envelope::for_all(), data }.encode().unwrap();
    let mut record = encoded(&"x".repeat(bytes - encoded("").len()));
    assert_eq!(record.len(), bytes);
    set_ticket(&mut record, ticket);
    record
}

pub(super) fn next(batches: &Receiver<Arc<Batch>>) -> Arc<Batch> {
    batches.recv_timeout(SOON).unwrap()
}

#[test]
fn a_batch_ends_before_the_record_that_would_make_it_too_large_and_sequences_go_on() {
    const MAX: usize = Batch::MAX_BYTES;
    for (sizes, wanted) in [
        (&[MAX - 200, 199, 200][..], &[2, 1][..]),
        (&[MAX - 200, 200, 200], &[2, 1]),
        (&[MAX - 200, 201, 200], &[1, 2]),
        (&[200, MAX + 1, 200], &[1, 1, 1]),
    ] {
        for rig in rigs() {
            let batches = rig.open(64);
            let records: Vec<_> = sizes.iter().map(|size| event(*size, 0)).collect();
            records.iter().for_each(|record| rig.place.push(record));
            rig.start();
            let (mut items, mut bytes, mut sequence) = (Vec::new(), Vec::new(), 1);
            while items.iter().sum::<usize>() < sizes.len() {
                let batch = next(&batches);
                assert_eq!(batch.first_sequence, sequence);
                sequence = batch.next_sequence();
                items.push(batch.items.len());
                bytes.extend_from_slice(&batch.bytes);
            }
            assert_eq!(items, wanted, "{sizes:?}");
            assert!(bytes == records.concat(), "in another order, or others");
            rig.stop();
        }
    }
}

#[test]
fn while_the_runtime_threads_have_no_room_nothing_is_lost_or_overtaken() {
    for rig in rigs() {
        let batches = rig.open(1);
        rig.start();
        let push = |numbers: std::ops::Range<usize>| {
            numbers.for_each(|number| rig.place.push(&event(Batch::MAX_BYTES / 2 + 1 + number, 0)));
        };
        push(0..8);
        rig.tell(Instruction::Mark(LAST));
        for number in 0..12 {
            // The last ones cannot have been taken out.
            assert!(number > 4 || rig.tasks.is_empty(), "{number}");
            if number == 2 {
                push(8..12);
            }
            let batch = next(&batches);
            let is_the_next = batch.bytes.len() == Batch::MAX_BYTES / 2 + 1 + number;
            assert!(
                is_the_next && batch.first_sequence == number as u64 + 1,
                "{number}: {}",
                batch.bytes.len()
            );
        }
        assert_eq!(rig.settle(), 0);
        rig.stop();
    }
}

// Most of what comes here comes in the moment in which it decides to sleep.
#[test]
fn whatever_comes_when_the_courier_sleeps_or_is_about_to_wakes_it() {
    for rig in rigs() {
        let batches = rig.open(64);
        rig.start();
        for round in 0..1_500 {
            let begun = Instant::now();
            while round % 100 == 0 && !rig.place.is_asleep() {
                assert!(begun.elapsed() < SOON, "it does not sleep");
                thread::yield_now();
            }
            if round % 3 == 0 {
                rig.place.drop_one();
            } else {
                rig.place.push(&event(100, 0));
            }
            let batch = next(&batches);
            let is_loss = batch.items == [Item::Overflow { missed: None }];
            assert!(batch.items.len() == 1 && is_loss == (round % 3 == 0), "{round}: {:?}", batch.items);
        }
        for round in 0..3_000 {
            (0..round % 16).for_each(|_| rig.tell(Instruction::Mark(0)));
            rig.settle();
        }
        rig.stop();
    }
}

#[test]
fn a_loss_is_told_before_what_was_pushed_after_it_and_once() {
    for rig in rigs() {
        // Nobody is told what was lost before the streams began.
        rig.place.drop_one();
        let batches = rig.open(64);
        rig.start();
        rig.settle();
        rig.place.drop_one();
        rig.place.push(&event(100, 0));
        rig.settle();
        rig.place.push(&event(100, 0));
        rig.settle();
        let items: Vec<Item> = batches.try_iter().flat_map(|batch| batch.items.clone()).collect();
        let is_record = |item: &Item| matches!(item, Item::Record(_));
        assert_eq!(items.iter().map(is_record).collect::<Vec<_>>(), [false, true, true]);
        rig.stop();
    }
}

#[test]
fn an_event_waits_for_those_that_its_transaction_could_see_and_for_no_others() {
    for rig in rigs() {
        let batches = rig.open(64);
        rig.start();
        rig.announced.lock().unwrap().push(1);
        rig.place.push(&event(300, 3));
        rig.place.push(&event(200, 2));
        rig.settle();
        rig.settle();
        assert!(batches.is_empty(), "not held");
        rig.place.push(&event(100, 1));
        rig.announced.lock().unwrap().clear();
        let mut bytes = Vec::new();
        while bytes.len() < 600 {
            bytes.extend_from_slice(&next(&batches).bytes);
        }
        assert!(bytes == [event(100, 1), event(200, 2), event(300, 3)].concat(), "in another order");
        rig.stop();
    }
}

#[test]
fn a_mark_is_answered_behind_the_records_that_were_pushed_before_it() {
    for rig in rigs() {
        let record = Record::CatalogEnd { reading: 1, count: 0 }.encode().unwrap();
        (0..100).for_each(|_| rig.place.push(&record));
        rig.start();
        assert_eq!(rig.settle(), 100);
        rig.place.push(&record);
        assert_eq!((rig.settle(), rig.settle()), (1, 0));
        rig.stop();
    }
}

#[test]
fn at_the_end_all_that_was_published_is_handed_on_and_then_nothing() {
    for rig in rigs() {
        let batches = rig.open(1);
        rig.start();
        (0..8).for_each(|number| rig.place.push(&event(Batch::MAX_BYTES / 2 + 1 + number, 0)));
        // It holds something that waits for nobody any more.
        rig.announced.lock().unwrap().push(1);
        rig.place.push(&event(200, 2));
        let is_done = rig.close(SOON);
        let batches: Vec<_> = batches.iter().collect();
        is_done.recv_timeout(SOON).unwrap();
        assert_eq!(batches.iter().map(|batch| batch.items.len()).sum::<usize>(), 9);
        assert_eq!(batches.last().unwrap().bytes.len(), 200);
        // For nobody, and without a sequence.
        rig.place.push(&event(100, 0));
        rig.settle();
        let batches = rig.open(1);
        rig.place.push(&event(150, 0));
        let batch = next(&batches);
        assert_eq!((batch.first_sequence, batch.bytes.len()), (1, 150));
        rig.stop();
    }
}

// A runtime thread that hangs must not hold up the end of the server.
#[test]
fn the_end_waits_no_longer_for_room_than_it_was_given() {
    for rig in rigs() {
        let batches = rig.open(1);
        rig.start();
        (0..8).for_each(|number| rig.place.push(&event(Batch::MAX_BYTES / 2 + 1 + number, 0)));
        rig.close(Duration::from_millis(50)).recv_timeout(SOON).unwrap();
        assert_eq!(batches.iter().count(), 1);
        rig.stop();
    }
}
