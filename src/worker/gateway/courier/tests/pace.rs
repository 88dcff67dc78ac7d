//! How late events are taken, and how often the courier and the reader of the log are woken for them, on a
//! clock of the test.

use std::time::{Duration, Instant};

use super::courier::pauses;
use crate::pg::RING_BYTES;
use crate::pg::wal::log_end::{LogEnd, Role};
use crate::worker::wal_reader::sleep::{Nap, Sleep};

/// What one does after a round that ends then and has taken so many bytes. `Some`: how long it pauses without
/// being woken.
type Pauses = Box<dyn FnMut(Instant, usize) -> Option<Duration>>;

/// Those who take events.
fn takers() -> [(&'static str, Pauses); 2] {
    let mut sleep = Sleep::new();
    let mut position = 0;
    let of_reader = move |now: Instant, bytes: usize| {
        if bytes > 0 {
            position += 1;
            sleep.told(now);
        }
        match sleep.nap(now, &LogEnd { role: Role::Primary, position }, None) {
            Nap::Deaf(pause) => Some(pause),
            Nap::UntilWoken(_) => None,
        }
    };
    [("the courier", Box::new(pauses(RING_BYTES))), ("the reader", Box::new(of_reader))]
}

/// What a publisher does when its event has been handed on, or the time when the next one comes.
#[derive(Clone, Copy)]
enum Publishing {
    /// It publishes the next one so long after that.
    LockStep(Duration),
    /// One after another, so far apart, whatever becomes of them.
    Crowd(Duration),
}

/// What came of it.
#[derive(Debug, Default)]
struct Outcome {
    events: u32,
    wakes: u32,
    looks: u32,
    late: u32,
    latest: Duration,
}

/// A second of it.
fn publish(publishing: Publishing, mut pause: Pauses) -> Outcome {
    let begin = Instant::now();
    let (mut now, mut next) = (begin, begin);
    let mut napping = None;
    let mut outcome = Outcome::default();
    while now < begin + Duration::from_secs(1) {
        // The next look: when the pause is over, or with the event that wakes it.
        now = napping.map_or(next, |nap| now + nap);
        *if napping.is_some() { &mut outcome.looks } else { &mut outcome.wakes } += 1;
        let mut bytes = 0;
        while next <= now {
            let late = now - next;
            outcome.events += 1;
            outcome.late += u32::from(late > Duration::ZERO);
            outcome.latest = outcome.latest.max(late);
            bytes += 300;
            next = match publishing {
                Publishing::LockStep(gap) => now + gap,
                Publishing::Crowd(gap) => next + gap,
            };
        }
        napping = pause(now, bytes);
    }
    outcome
}

#[test]
fn whoever_waits_for_each_of_its_events_is_never_taken_for_a_crowd() {
    for gap in [260, 300, 500, 900, 1_900, 2_100, 50_000].map(Duration::from_micros) {
        for (who, pause) in takers() {
            let outcome = publish(Publishing::LockStep(gap), pause);
            assert!(outcome.late == 0 && outcome.looks == 0, "{who}, {gap:?}: {outcome:?}");
        }
    }
}

#[test]
fn up_to_four_thousand_events_a_second_are_taken_at_once() {
    for (who, pause) in takers() {
        let outcome = publish(Publishing::Crowd(Duration::from_micros(251)), pause);
        assert!(outcome.late == 0 && outcome.wakes > 3_900, "{who}: {outcome:?}");
    }
}

#[test]
fn a_crowd_is_looked_for_once_a_millisecond_and_hardly_wakes_anybody() {
    for gap in [20, 52, 150].map(Duration::from_micros) {
        for (who, pause) in takers() {
            let outcome = publish(Publishing::Crowd(gap), pause);
            assert!(outcome.latest <= Duration::from_millis(1), "{who}, {gap:?}: {outcome:?}");
            assert!(outcome.looks <= 1_000 && outcome.wakes < 700, "{who}, {gap:?}: {outcome:?}");
        }
    }
}

#[test]
fn after_a_crowd_a_single_event_wakes_the_courier_again() {
    let mut pause = pauses(RING_BYTES);
    let begin = Instant::now();
    let at = |microseconds| begin + Duration::from_micros(microseconds);
    let first = (0..100).find(|event| pause(at(event * 50), 300).is_some()).unwrap();
    assert_eq!(pause(at(first * 50 + 900), 0), Some(Duration::from_millis(1)), "an early look tells nothing");
    assert_eq!(pause(at(first * 50 + 1_000), 0), None);
    assert_eq!(pause(at(first * 50 + 1_100), 300), None);
}

// The next pause would let the ring run full.
#[test]
fn more_than_a_sixteenth_of_the_ring_in_one_round_is_followed_by_the_next_one_at_once() {
    let mut pause = pauses(RING_BYTES);
    let begin = Instant::now();
    let in_crowd = (0..100).find(|_| pause(begin, 300).is_some());
    assert!(in_crowd.is_some());
    assert!(pause(begin, RING_BYTES / 16).is_some());
    assert_eq!(pause(begin, RING_BYTES / 16 + 1), None);
}
