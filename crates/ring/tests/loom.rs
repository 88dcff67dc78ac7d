//! The protocol under every interleaving and every reordering that the memory model allows (up to the bound
//! below).
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p sse-ring --release --test loom`, with a target directory of its own.
#![allow(unexpected_cfgs)]
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use loom::model::Builder;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use sse_ring::{
    ASLEEP, Consumer, HeapRing, Look, Marks, Producer, PushError, Replaced, Ring, SharedSet, Wake,
};
use std::sync::Arc;

/// Leaked, because loom's threads want `'static`: a model has a few hundred bytes.
fn ring(capacity: usize) -> (Ring<'static>, Consumer<'static>) {
    let heap: &'static mut HeapRing = Box::leak(Box::new(HeapRing::new(capacity).unwrap()));
    heap.split().unwrap()
}

/// `preemptions` bounds how often a thread may be interrupted where it could have gone on; three find
/// practically all mistakes of this kind and keep a model within seconds.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Runs the consumer as a thread like any other: loom (0.7) does not interrupt the model's first thread where
/// a spawned one could go first, and would so miss most of what is looked for.
fn run_consumer<T: 'static>(consume: impl FnOnce() -> T + 'static) -> T {
    thread::spawn(consume).join().unwrap()
}

fn take(consumer: &mut Consumer<'_>, taken: &mut Vec<Vec<u8>>) {
    let mut batch = consumer.begin().unwrap();
    while batch.drain(16, |record| taken.push(record.to_vec())).unwrap() > 0 {}
}

/// Pushes what finds room; returns it.
fn push_all(producer: Producer<'_>, records: &[&'static [u8]]) -> Vec<Vec<u8>> {
    let mut pushed = Vec::new();
    for record in records {
        match producer.try_push(record) {
            Ok(_) => pushed.push(record.to_vec()),
            Err(error) => assert_eq!(error, PushError::Full),
        }
    }
    pushed
}

fn of(first: u8, taken: &[Vec<u8>]) -> Vec<Vec<u8>> {
    taken.iter().filter(|record| record[0] == first).cloned().collect()
}

/// 40 bytes of room: the first record lies before the loom threads start, so that theirs need a pad, wrap
/// around, and use bytes again that the consumer has erased meanwhile.
#[test]
fn two_producers_and_a_consumer_agree_over_the_end_of_the_ring() {
    check(3, || {
        let (ring, mut consumer) = ring(40);
        let mut taken = Vec::new();
        let _ = ring.producer().try_push(b"start").unwrap();
        take(&mut consumer, &mut taken);
        let _ = ring.producer().try_push(b"0").unwrap();

        let a = thread::spawn(move || push_all(ring.producer(), &[b"a1"]));
        let b = thread::spawn(move || push_all(ring.producer(), &[b"b1", b"b23456789"]));
        let (mut consumer, mut taken) = run_consumer(move || {
            take(&mut consumer, &mut taken);
            (consumer, taken)
        });
        let (a, b) = (a.join().unwrap(), b.join().unwrap());
        take(&mut consumer, &mut taken);
        assert_eq!(taken[..2], [b"start".to_vec(), b"0".to_vec()]);
        assert_eq!(of(b'a', &taken), a);
        assert_eq!(of(b'b', &taken), b);
        assert_eq!(taken.len(), 2 + a.len() + b.len());
    });
}

/// A latch, and a consumer that sleeps for good when it is not woken: loom reports the deadlock.
struct Latch {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Latch {
    fn new() -> Arc<Self> {
        Arc::new(Self { is_set: Mutex::new(false), changed: Condvar::new() })
    }

    fn set_if(&self, wake: Wake) {
        if wake == Wake::Needed {
            *self.is_set.lock().unwrap() = true;
            self.changed.notify_one();
        }
    }

    fn wait(&self) {
        let mut is_set = self.is_set.lock().unwrap();
        while !*is_set {
            is_set = self.changed.wait(is_set).unwrap();
        }
        *is_set = false;
    }
}

#[test]
fn no_record_is_slept_over() {
    check(3, || {
        let (ring, mut consumer) = ring(64);
        let latch = Latch::new();
        let producers: Vec<_> = [b"a", b"b"]
            .map(|record| {
                let latch = latch.clone();
                thread::spawn(move || latch.set_if(ring.producer().try_push(record).unwrap()))
            })
            .into();
        run_consumer(move || {
            let mut taken = Vec::new();
            while taken.len() < 2 {
                if consumer.prepare_to_sleep() {
                    latch.wait();
                }
                consumer.awake();
                take(&mut consumer, &mut taken);
            }
        });
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn no_drop_is_slept_over() {
    check(4, || {
        let (ring, mut consumer) = ring(64);
        let latch = Latch::new();
        let dropping = {
            let latch = latch.clone();
            thread::spawn(move || latch.set_if(ring.producer().count_dropped(1)))
        };
        run_consumer(move || {
            while consumer.begin().unwrap().dropped_total() < 1 {
                if consumer.prepare_to_sleep() {
                    latch.wait();
                }
                consumer.awake();
            }
        });
        dropping.join().unwrap();
    });
}

#[test]
fn no_record_overtakes_a_drop_of_its_own_producer() {
    check(3, || {
        let (ring, mut consumer) = ring(64);
        let a = thread::spawn(move || {
            let _ = ring.producer().count_dropped(1);
            let _ = ring.producer().try_push(b"a").unwrap();
        });
        // A second producer, so that the `head` that is read may be another one's.
        let b = thread::spawn(move || {
            let _ = ring.producer().try_push(b"b").unwrap();
        });
        run_consumer(move || {
            for _ in 0..2 {
                let mut batch = consumer.begin().unwrap();
                let dropped_total = batch.dropped_total();
                let mut has_a = false;
                while batch.drain(16, |record| has_a |= record == b"a").unwrap() > 0 {}
                assert!(!has_a || dropped_total == 1);
            }
        });
        a.join().unwrap();
        b.join().unwrap();
    });
}

/// A consumer under a lock: one thread is woken for the record, another one looks now and then and may take
/// it first, which it tells the first.
#[test]
fn no_record_is_slept_over_when_another_thread_may_take_it_first() {
    check(3, || {
        let (ring, consumer) = ring(64);
        let bell = Latch::new();
        let shared = Arc::new(Mutex::new((consumer, Vec::new())));
        // Whoever holds the lock: `true` when both parts are there, else the next one wakes.
        fn look(shared: &Mutex<(Consumer<'static>, Vec<Vec<u8>>)>) -> bool {
            let (consumer, taken) = &mut *shared.lock().unwrap();
            loop {
                take(consumer, taken);
                if taken.len() == 2 {
                    return true;
                }
                if consumer.prepare_to_sleep() {
                    return false;
                }
            }
        }
        assert!(!look(&shared));
        let producer = {
            let bell = bell.clone();
            thread::spawn(move || {
                for part in [b"1", b"2"] {
                    bell.set_if(ring.producer().try_push(part).unwrap());
                }
            })
        };
        let other = {
            let (bell, shared) = (bell.clone(), shared.clone());
            thread::spawn(move || {
                if look(&shared) {
                    bell.set_if(Wake::Needed);
                }
            })
        };
        run_consumer(move || {
            bell.wait();
            while !look(&shared) {
                bell.wait();
            }
        });
        producer.join().unwrap();
        other.join().unwrap();
    });
}

/// What the kernel does with a futex: it puts to sleep only while the word still has the value, in one step
/// with looking; a wake reaches those who sleep, and is forgotten when nobody does.
struct Futex {
    sleepers: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    fn new() -> Arc<Self> {
        Arc::new(Self { sleepers: Mutex::new(()), woken: Condvar::new() })
    }

    fn wake_if(&self, wake: Wake) {
        if wake == Wake::Needed {
            drop(self.sleepers.lock().unwrap());
            self.woken.notify_one();
        }
    }

    fn wait(&self, word: &AtomicU32) {
        let sleepers = self.sleepers.lock().unwrap();
        if word.load(Ordering::SeqCst) == ASLEEP {
            // May wake for no reason, as a futex may: the consumer looks again.
            drop(self.woken.wait(sleepers).unwrap());
        }
    }
}

#[test]
fn no_record_is_slept_over_on_the_sleep_word_itself() {
    check(3, || {
        let (ring, mut consumer) = ring(64);
        let futex = Futex::new();
        let producers: Vec<_> = [b"a", b"b"]
            .map(|record| {
                let futex = futex.clone();
                thread::spawn(move || futex.wake_if(ring.producer().try_push(record).unwrap()))
            })
            .into();
        run_consumer(move || {
            let mut taken = Vec::new();
            while taken.len() < 2 {
                if consumer.prepare_to_sleep() {
                    futex.wait(ring.sleep_word());
                }
                consumer.awake();
                take(&mut consumer, &mut taken);
            }
        });
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn no_message_that_lies_elsewhere_is_slept_over() {
    check(4, || {
        let (ring, mut consumer) = ring(64);
        let (futex, message) = (Futex::new(), Arc::new(Mutex::new(false)));
        let sender = {
            let (futex, message) = (futex.clone(), message.clone());
            thread::spawn(move || {
                *message.lock().unwrap() = true;
                futex.wake_if(ring.producer().take_wake_duty());
            })
        };
        run_consumer(move || {
            while !*message.lock().unwrap() {
                if consumer.prepare_to_sleep() && !*message.lock().unwrap() {
                    futex.wait(ring.sleep_word());
                }
                consumer.awake();
            }
        });
        sender.join().unwrap();
    });
}

/// Two words, and hashes whose bits are in both.
type Set = SharedSet<2>;
const OLDER: u32 = 1;
const NEWER: u32 = 2;

fn replace(set: &Set, hash: u32, number: u64, generation: u64) -> Replaced {
    let mut marks = Marks::default();
    marks.add(1, hash);
    loop {
        match set.try_replace(&marks, number, generation) {
            Replaced::Busy => thread::yield_now(),
            done => return done,
        }
    }
}

/// The set of a reading that began earlier never gets into that of a later one: what is in the later one is
/// found, or it is said that nobody knows. Bits of the earlier one would be enough to miss a change for good.
#[test]
fn of_two_that_replace_a_set_at_once_the_one_for_the_higher_number_wins_whole() {
    check(3, || {
        let set = Arc::new(Set::default());
        let (one, other, reader) = (Arc::clone(&set), Arc::clone(&set), Arc::clone(&set));
        let one = thread::spawn(move || replace(&one, OLDER, 1, 1));
        let other = thread::spawn(move || replace(&other, NEWER, 2, 2));
        let look = thread::spawn(move || reader.look(1, NEWER, 2)).join().unwrap();
        one.join().unwrap();
        other.join().unwrap();
        if let Look::NotInIt(version) = look {
            assert!(!set.holds(version, 2), "it was missed, and nothing says so");
        }
        assert_eq!(set.look(1, NEWER, 2), Look::InIt);
        assert!(matches!(set.look(1, OLDER, 2), Look::NotInIt(_)), "nor is anything left of the earlier one");
    });
}

/// Two readings for the same number, of which one knows less. Whichever comes last, the one that knows more
/// stays; and what was looked for in the other is noticed by the looker, or by whoever has replaced it.
#[test]
fn of_two_sets_for_one_number_the_later_generation_stays_and_no_look_into_the_other_goes_unnoticed() {
    check(3, || {
        let set = Arc::new(Set::default());
        let (one, other, reader) = (Arc::clone(&set), Arc::clone(&set), Arc::clone(&set));
        let one = thread::spawn(move || replace(&one, OLDER, 1, 1));
        let other = thread::spawn(move || replace(&other, NEWER, 1, 2));
        // As at a commit: the look, and then whether it still counts.
        let is_missed = thread::spawn(move || match reader.look(1, NEWER, 1) {
            Look::NotInIt(version) => reader.holds(version, 1),
            Look::InIt | Look::Unknown => false,
        });
        let is_missed = is_missed.join().unwrap();
        one.join().unwrap();
        let replaced = other.join().unwrap();
        assert!(!is_missed || replaced == Replaced::ByAnother, "it was missed, and nobody knows");
        assert_eq!(set.look(1, NEWER, 1), Look::InIt);
        assert!(matches!(set.look(1, OLDER, 1), Look::NotInIt(_)), "the older one stays away");
    });
}
