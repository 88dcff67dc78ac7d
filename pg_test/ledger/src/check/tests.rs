//! The checker finds nothing in a good history, and finds each kind of fault that is planted into one.

#![allow(clippy::unwrap_used)]

use super::synthetic::{Weather, good};
use super::{Verdict, check};
use crate::history::{Asked, Delivery, Item, Key, Position, Reason, Recording, What};

/// The verdict names this reader, this event and this reason.
#[track_caller]
fn finds(recording: &Recording, reader: usize, key: Option<Key>, why: &str) {
    let Verdict { violations, .. } = check(recording);
    let names = |violation: &&super::Violation| {
        let is_named = key.is_none_or(|key| violation.why.contains(&key.to_string()));
        violation.reader == reader && is_named && violation.why.contains(why)
    };
    let whys: Vec<&String> = violations.iter().map(|violation| &violation.why).collect();
    assert!(violations.iter().any(|violation| names(&violation)), "{key:?}, {why}: {whys:?}");
}

/// Reader, item, and what it is, of all events that readers saw.
fn events(recording: &Recording) -> Vec<(usize, usize, Key, Position)> {
    let of = |(reader, history): (usize, &crate::history::History)| {
        let event = |(number, item): (usize, &Item)| match item.what {
            What::Event { at, key, .. } => Some((reader, number, key, at)),
            _ => None,
        };
        history.items.iter().enumerate().filter_map(event).collect::<Vec<_>>()
    };
    recording.readers.iter().enumerate().flat_map(of).collect()
}

/// One event in the middle that at least two readers saw.
fn shared_event(recording: &Recording) -> (usize, usize, Key, Position) {
    let all = events(recording);
    let is_shared = |event: &&(usize, usize, Key, Position)| {
        all.iter().filter(|other| other.2 == event.2).count() > 1 && event.1 > 20
    };
    *all.iter().find(is_shared).unwrap()
}

fn change_all(recording: &mut Recording, mut change: impl FnMut(&mut What)) {
    let items = recording.readers.iter_mut().flat_map(|reader| &mut reader.items);
    items.for_each(|item| change(&mut item.what));
}

#[test]
fn a_good_history_passes_and_gaps_cover_something_in_it() {
    for seed in 0..40 {
        for weather in [Weather::Calm, Weather::Rough] {
            let Verdict { violations, coverage } = check(&good(seed, weather));
            assert_eq!(violations, [], "seed {seed}, {weather:?}");
            assert!(coverage.seen > 500, "{coverage:?}");
            let covered: u64 = coverage.covered.values().sum();
            assert_eq!(covered > 0, weather == Weather::Rough, "{coverage:?}");
        }
    }
}

#[test]
fn a_dropped_event_is_found() {
    for weather in [Weather::Calm, Weather::Rough] {
        let mut recording = good(1, weather);
        let (reader, item, key, _) = shared_event(&recording);
        recording.readers[reader].items.remove(item);
        finds(&recording, reader, Some(key), "lost silently");
    }
}

#[test]
fn an_event_that_is_dropped_for_everybody_is_found() {
    let mut recording = good(1, Weather::Calm);
    let (reader, _, key, _) = shared_event(&recording);
    for history in &mut recording.readers {
        history.items.retain(|item| !matches!(item.what, What::Event { key: found, .. } if found == key));
    }
    finds(&recording, reader, Some(key), "nobody saw it");
}

#[test]
fn an_immediate_event_that_was_answered_and_dropped_is_found() {
    let mut recording = good(3, Weather::Calm);
    let all = events(&recording);
    let (reader, item, key, _) =
        *all.iter().find(|(_, item, key, _)| *item > 20 && key.delivery == Delivery::Immediate).unwrap();
    recording.readers[reader].items.remove(item);
    finds(&recording, reader, Some(key), "lost silently");
}

/// An event that no reader saw is excused by a gap that is not older than the event and comes before the
/// writer's next event.
#[test]
fn a_gap_covers_neither_what_is_younger_than_it_nor_what_was_told_too_late() {
    // Dropped for all readers, with a gap before the next event that they all saw.
    let covered = |when: fn(u64) -> u64, shift: i64| {
        let mut recording = good(1, Weather::Calm);
        let (_, _, key, at) = shared_event(&recording);
        let began = recording.attempts.iter().find(|attempt| attempt.key == key).unwrap().began;
        let place = at.sequence.checked_add_signed(shift).unwrap();
        for history in &mut recording.readers {
            history.items.retain(|item| {
                !matches!(item.what, What::Event { key: found, at: there, .. }
                if found == key || there.sequence == place)
            });
            let is_behind = |item: &Item| matches!(item.what, What::Event { at, .. } if at.sequence > place);
            let index = history.items.iter().position(is_behind).unwrap();
            let at = Position { sequence: place, ..at };
            let gap = What::Gap { at, reason: Reason::Overflow, missed: None };
            history.items.insert(index, Item { at: when(began), what: gap });
        }
        let lost = check(&recording).violations;
        !lost.iter().any(|violation| violation.why.contains(&format!("{key} was lost")))
    };
    assert!(covered(|began| began + 1, 0));
    assert!(!covered(|began| began - 1, 0), "the gap is older than the event");
    assert!(!covered(|began| began + 1, 60), "the gap comes behind the next event");
}

#[test]
fn losses_of_a_full_ring_are_found_when_no_gap_tells_of_them() {
    let mut recording = good(1, Weather::Rough);
    for history in &mut recording.readers {
        history.items.retain(|item| !matches!(item.what, What::Gap { reason: Reason::Overflow, .. }));
    }
    let lost = check(&recording).violations;
    assert!(lost.iter().all(|violation| violation.why.contains("nobody saw it")), "{lost:?}");
    assert!(lost.len() > 3, "{lost:?}");
}

#[test]
fn a_doubled_event_is_found() {
    let mut recording = good(1, Weather::Calm);
    let (reader, item, key, _) = shared_event(&recording);
    let copy = recording.readers[reader].items[item].clone();
    recording.readers[reader].items.insert(item + 1, copy);
    finds(&recording, reader, Some(key), "came twice");
    finds(&recording, reader, None, "ids must rise");
}

#[test]
fn an_event_that_comes_again_after_resuming_is_found() {
    let mut recording = good(1, Weather::Calm);
    let items = &recording.readers[0].items;
    let opened = items.iter().skip(30).position(|item| matches!(item.what, What::Opened(_))).unwrap() + 30;
    let last = items[..opened].iter().rposition(|item| matches!(item.what, What::Event { .. })).unwrap();
    let What::Event { key, .. } = items[last].what else { panic!() };
    let copy = items[last].clone();
    recording.readers[0].items.insert(opened + 2, copy);
    finds(&recording, 0, Some(key), "came twice");
}

#[test]
fn swapped_events_are_found() {
    let recording = good(1, Weather::Calm);
    let all = events(&recording);
    let is_neighbour = |pair: &&[(usize, usize, Key, Position)]| {
        let (one, other) = (pair[0], pair[1]);
        let same_line = one.2.writer == other.2.writer && one.2.delivery == other.2.delivery;
        one.0 == other.0 && one.1 + 1 == other.1 && one.1 > 20 && same_line
    };
    let pair = all.windows(2).find(is_neighbour).unwrap();
    let (reader, item, one, other) = (pair[0].0, pair[0].1, pair[0].2, pair[1].2);

    let mut whole = recording.clone();
    whole.readers[reader].items.swap(item, item + 1);
    finds(&whole, reader, None, "ids must rise");
    finds(&whole, reader, Some(one), "came behind event");

    // For all readers in the same way, so that no reader's ids look wrong.
    let mut for_all = recording;
    change_all(&mut for_all, |what| {
        if let What::Event { key, audience, counter, .. } = what
            && (*key == one || *key == other)
        {
            let wanted = if *key == one { other } else { one };
            let found = all.iter().find(|event| event.2 == wanted).unwrap();
            (*key, *audience, *counter) = (found.2, usize::MAX, None);
        }
    });
    finds(&for_all, reader, Some(one), "came behind event");
}

#[test]
fn a_counter_that_falls_is_found() {
    let mut recording = good(2, Weather::Calm);
    let counters = |what: &What| if let What::Event { counter, .. } = what { *counter } else { None };
    let items = recording.readers[0].items.clone();
    let seen: Vec<u64> = items.iter().filter_map(|item| counters(&item.what)).collect();
    let (one, other) = (seen[3], seen[4]);
    change_all(&mut recording, |what| {
        if let What::Event { counter: Some(counter), .. } = what {
            *counter = if *counter == one {
                other
            } else if *counter == other {
                one
            } else {
                *counter
            };
        }
    });
    let reason = format!("brings the counter's {one} behind its {other}");
    finds(&recording, 0, None, &reason);
}

#[test]
fn the_event_of_a_transaction_that_was_rolled_back_is_found() {
    let mut recording = good(1, Weather::Calm);
    let all = events(&recording);
    let (reader, _, key, _) = *all.iter().find(|event| event.2.delivery == Delivery::Commit).unwrap();
    recording.committed.remove(&(key.writer, key.number));
    finds(&recording, reader, Some(key), "was rolled back");
}

#[test]
fn an_event_that_nobody_raised_is_found() {
    let mut recording = good(1, Weather::Calm);
    let (reader, _, key, _) = shared_event(&recording);
    recording.attempts.retain(|attempt| attempt.key != key);
    finds(&recording, reader, Some(key), "was never raised");
}

#[test]
fn a_leaked_event_is_found() {
    let mut recording = good(1, Weather::Calm);
    // An event that only Alice may see, in the anonymous reader's stream, at the place that it has in the
    // stream of all.
    let all = events(&recording);
    let alone = recording.attempts.iter().filter(|attempt| attempt.audience == 3).map(|attempt| attempt.key);
    let (from, item, key, at) = alone
        .filter_map(|key| all.iter().find(|event| event.2 == key))
        .find(|event| event.1 > 20)
        .copied()
        .unwrap();
    let leaked = recording.readers[from].items[item].clone();
    let items = &mut recording.readers[0].items;
    let is_behind = |item: &Item| matches!(item.what, What::Event { at: found, .. } if found > at);
    let place = items.iter().position(is_behind).unwrap();
    items.insert(place, leaked);
    finds(&recording, 0, Some(key), "was not for it");
}

#[test]
fn an_id_that_names_two_events_is_found() {
    let mut recording = good(1, Weather::Calm);
    let (_, _, key, at) = shared_event(&recording);
    let last = events(&recording).iter().rposition(|event| event.2 == key).unwrap();
    let (reader, item, ..) = events(&recording)[last];
    let another = Key { number: key.number + 1, ..key };
    let What::Event { key, .. } = &mut recording.readers[reader].items[item].what else { panic!() };
    *key = another;
    finds(&recording, reader, Some(another), &format!("id {at} names"));
}

#[test]
fn one_event_under_two_ids_is_found() {
    let mut recording = good(1, Weather::Calm);
    let (_, _, key, at) = shared_event(&recording);
    let (reader, item, ..) = *events(&recording).iter().rfind(|event| event.2 == key).unwrap();
    let What::Event { at: place, .. } = &mut recording.readers[reader].items[item].what else { panic!() };
    place.sequence += 100_000;
    finds(&recording, reader, Some(key), &format!("{at} for another reader"));
}

#[test]
fn a_restart_without_a_gap_is_found() {
    let mut recording = good(1, Weather::Rough);
    let is_gap = |item: &Item| matches!(item.what, What::Gap { reason: Reason::Restarted, .. });
    let items = &mut recording.readers[0].items;
    let gap = items.iter().position(is_gap).unwrap();
    items.remove(gap);
    finds(&recording, 0, None, "another epoch");
}

/// The first stream that asked for an invented id: reader, and item of its `sse.ready`.
fn invented(recording: &Recording) -> (usize, usize) {
    let place = |history: &crate::history::History| {
        history.items.iter().position(|item| matches!(item.what, What::Ready(at) if at.is_never_given()))
    };
    recording.readers.iter().enumerate().find_map(|(n, history)| Some((n, place(history)?))).unwrap()
}

#[test]
fn a_stream_that_breaks_before_its_gap_may_be_told_when_it_comes_back() {
    let mut recording = good(1, Weather::Rough);
    let (reader, item) = invented(&recording);
    let items = &mut recording.readers[reader].items;
    let (ready, at) = (items[item].what.clone(), items[item].at);
    let What::Ready(id) = ready else { panic!() };
    let between = [What::Closed("cut".to_owned()), What::Opened(Asked::Last(id)), ready];
    items.splice(item + 1..item + 1, between.into_iter().map(|what| Item { at, what }));
    assert_eq!(check(&recording).violations, []);
}

#[test]
fn an_unknown_id_without_a_gap_is_found() {
    let mut recording = good(1, Weather::Rough);
    let (reader, item) = invented(&recording);
    recording.readers[reader].items.remove(item + 1);
    finds(&recording, reader, None, "no gap said so");
}

#[test]
fn a_gap_with_the_wrong_reason_or_without_any_is_found() {
    let mut recording = good(1, Weather::Rough);
    let is_gap = |item: &&mut Item| matches!(item.what, What::Gap { reason: Reason::Restarted, .. });
    let item = recording.readers[0].items.iter_mut().find(is_gap).unwrap();
    let What::Gap { reason, .. } = &mut item.what else { panic!() };
    *reason = Reason::Expired;
    finds(&recording, 0, None, "a gap (expired)");
}

#[test]
fn a_count_of_missing_events_that_is_wrong_is_found() {
    let mut recording = good(1, Weather::Rough);
    let is_slow = |item: &Item| matches!(item.what, What::Gap { reason: Reason::Slow, .. });
    let place = |history: &crate::history::History| history.items.iter().position(is_slow);
    let reader = recording.readers.iter().position(|history| place(history).is_some()).unwrap();
    let item = place(&recording.readers[reader]).unwrap();
    let What::Gap { missed, .. } = &mut recording.readers[reader].items[item].what else { panic!() };
    *missed = Some(1_000_000);
    finds(&recording, reader, None, "says that 1000000 are missing");
}

#[test]
fn a_reader_that_does_not_catch_up_is_found() {
    let mut recording = good(1, Weather::Calm);
    recording.readers[2].items.pop();
    finds(&recording, 2, None, "the reader has not caught up");
}

#[test]
fn what_is_malformed_and_what_turns_a_browser_away_is_found() {
    for (what, why) in
        [(What::Malformed("x".to_owned()), "nothing that anybody sent"), (What::Refused(404), "status 404")]
    {
        let mut recording = good(1, Weather::Calm);
        recording.readers[1].items.insert(5, Item { at: 1, what });
        finds(&recording, 1, None, why);
    }
}
