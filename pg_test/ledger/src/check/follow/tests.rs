//! The judge finds nothing in a good run, and finds each kind of fault that is planted into one.

#![allow(clippy::unwrap_used)]

use super::check;
use super::synthetic::good;
use crate::check::Violation;
use crate::history::{Position, Reason};
use crate::tally::{Followed, Id, Seen, Sight, Tally};

/// Seeds of the runs into which faults are planted.
const SEEDS: std::ops::Range<u64> = 0..3;

/// The verdict names this follower and one of these reasons.
#[track_caller]
fn finds(tally: &Tally, follower: usize, whys: &[&str]) {
    let found: Vec<_> = check(tally).into_iter().map(|violation| (violation.reader, violation.why)).collect();
    let names =
        |(number, found): &(usize, String)| *number == follower && whys.iter().any(|why| found.contains(why));
    assert!(found.iter().any(names), "{whys:?} of {follower}: {found:?}");
}

/// Plants a fault at each place where `plant` can, one at a time, and has it found there.
fn plants(plant: impl Fn(&mut Vec<Sight>, usize) -> bool, whys: &[&str]) {
    let mut planted = 0;
    for seed in SEEDS {
        let tally = good(seed);
        for (follower, followed) in tally.followed.iter().enumerate() {
            for item in 0..followed.sights.len() {
                let mut sights = followed.sights.clone();
                if plant(&mut sights, item) {
                    planted += 1;
                    let mut followed = tally.followed.clone();
                    followed[follower] = Followed { sights };
                    finds(&Tally { followed, ..tally.clone() }, follower, whys);
                }
            }
        }
    }
    assert!(planted > 3, "planted {planted} times");
}

/// Whether this stream is without a snapshot at this item.
fn is_lacking(sights: &[Sight], item: usize) -> bool {
    let is_turn =
        |sight: &&Sight| matches!(sight.what, Seen::Gap { .. } | Seen::Snapshot { .. } | Seen::Opened(_));
    let turn = sights[..item].iter().rev().find(is_turn);
    matches!(turn, Some(Sight { what: Seen::Gap { reason: Reason::Snapshot, .. }, .. }))
}

fn insert(sights: &mut Vec<Sight>, item: usize, what: Seen) {
    let at = sights[item - 1].at;
    sights.insert(item, Sight { at, what });
}

/// The place of a live stream before this item, if it is one.
fn live(sights: &[Sight], item: usize) -> Option<Position> {
    let before = item.checked_sub(1)?;
    match sights[before].what {
        Seen::Change { id, .. } if !id.is_marked => Some(id.at),
        _ => None,
    }
}

#[test]
fn nothing_is_found_in_a_good_run() {
    let (mut lacks, mut marked) = (0, 0);
    for seed in 0..60 {
        let tally = good(seed);
        assert_eq!(check(&tally), [], "seed {seed}");
        assert!(tally.changes() > 200 && tally.snapshots() > 10, "seed {seed}");
        lacks += tally.lacks();
        marked += tally.count(|what| matches!(what, Seen::Snapshot { id, .. } if id.is_marked));
    }
    assert!(lacks > 60 && marked > 60, "{lacks} {marked}");
}

/// Whether this is a change, and so are the next two: the second of them is of a later commit.
fn is_amid_changes(sights: &[Sight], item: usize) -> bool {
    are_changes(&sights[item..], 3)
}

fn are_changes(sights: &[Sight], count: usize) -> bool {
    let changes = sights.iter().take(count).filter(|sight| matches!(sight.what, Seen::Change { .. }));
    changes.count() == count
}

#[test]
fn each_change_that_is_lost_is_found() {
    plants(
        |sights, item| {
            let is_last = item + 1 == sights.len() && matches!(sights[item].what, Seen::Change { .. });
            let is_one = is_last || (is_amid_changes(sights, item) && !is_lacking(sights, item));
            if is_one {
                sights.remove(item);
            }
            is_one
        },
        &["is lost", "at the end it has"],
    );
}

#[test]
fn each_change_that_comes_twice_is_found() {
    plants(
        |sights, item| {
            let is_change = matches!(sights[item].what, Seen::Change { .. });
            if is_change {
                sights.insert(item, sights[item].clone());
            }
            is_change
        },
        &["came twice"],
    );
}

#[test]
fn each_snapshot_that_is_one_commit_old_is_found() {
    let mut planted = 0;
    for seed in SEEDS {
        let tally = good(seed);
        for (follower, followed) in tally.followed.iter().enumerate() {
            for item in 0..followed.sights.len() {
                // Without a change after it nobody can know.
                if !are_changes(&followed.sights[item + 1..], 1) {
                    continue;
                }
                let mut tally = tally.clone();
                let Seen::Snapshot { rows, .. } = &mut tally.followed[follower].sights[item].what else {
                    continue;
                };
                let state = tally.states.iter().position(|state| state == rows).unwrap();
                let Some(before) = state.checked_sub(1) else { continue };
                rows.clone_from(&tally.states[before]);
                planted += 1;
                finds(&tally, follower, &["is older than", "goes from", "is lost", "at the end it has"]);
            }
        }
    }
    assert!(planted > 20, "{planted}");
}

#[test]
fn a_snapshot_that_the_table_never_was_is_found() {
    plants(
        |sights, item| {
            let Seen::Snapshot { rows, .. } = &mut sights[item].what else { return false };
            *rows.get_mut(&1).unwrap() += 1_000;
            true
        },
        &["no state that the table ever had"],
    );
}

#[test]
fn a_change_that_its_snapshot_had_is_found() {
    plants(
        |sights, item| {
            let Seen::Snapshot { id, rows } = &sights[item].what else { return false };
            let (mut id, n) = (*id, rows[&1]);
            id.at.sequence += 1;
            insert(sights, item + 1, Seen::Change { id, row: 1, n });
            n > 0
        },
        &["its snapshot had it"],
    );
}

#[test]
fn a_snapshot_that_does_not_come_is_found() {
    plants(
        |sights, item| {
            let is_followed = matches!(sights.get(item + 1), Some(Sight { what: Seen::Change { .. }, .. }));
            let is_snapshot = is_followed && matches!(sights[item].what, Seen::Snapshot { .. });
            if is_snapshot {
                sights.remove(item);
            }
            is_snapshot
        },
        &["comes before the snapshot"],
    );
}

#[test]
fn a_snapshot_where_none_is_due_is_found() {
    plants(
        |sights, item| {
            let Seen::Snapshot { id, rows } = &sights[item].what else { return false };
            let again = Seen::Snapshot { id: *id, rows: rows.clone() };
            insert(sights, item + 1, again);
            true
        },
        &["where none is due"],
    );
}

#[test]
fn a_gap_without_a_reason_is_found() {
    for (reason, why) in [
        (Reason::Slow, "nothing happened"),
        (Reason::Expired, "nothing happened"),
        (Reason::Overflow, "nothing happened"),
        (Reason::Restarted, "the stream is the same"),
        (Reason::Snapshot, "no snapshot is due"),
        (Reason::TooLarge, "no change is large"),
        (Reason::Unknown, "never makes up an id"),
    ] {
        for seed in SEEDS {
            let mut tally = good(seed);
            tally.spans.clear();
            let sights = &mut tally.followed[0].sights;
            let item = (20..sights.len()).find(|item| live(sights, *item).is_some()).unwrap();
            let id = Id { at: live(sights, item).unwrap(), is_marked: true };
            insert(sights, item, Seen::Gap { id, reason });
            finds(&tally, 0, &[why]);
        }
    }
}

#[test]
fn a_window_that_writers_have_moved_on_explains_a_gap() {
    for reason in [Reason::Slow, Reason::Expired, Reason::Overflow] {
        for large in 0..=super::LARGE_THAT_MOVE_THE_WINDOW {
            let mut tally = good(0);
            tally.spans.clear();
            let sights = &mut tally.followed[0].sights;
            let item = (20..sights.len()).find(|item| live(sights, *item).is_some()).unwrap();
            let last = live(sights, item).unwrap();
            let at = Position { sequence: last.sequence + 9, ..last };
            insert(sights, item, Seen::Gap { id: Id { at, is_marked: true }, reason });
            tally.large =
                (1..=large as u64).map(|n| Position { sequence: last.sequence + n, ..last }).collect();
            let names = |violation: &Violation| {
                violation.item == Some(item)
                    && violation.reader == 0
                    && violation.why.contains("nothing happened")
            };
            let is_found = check(&tally).iter().any(names);
            let is_explained = large == super::LARGE_THAT_MOVE_THE_WINDOW && reason != Reason::Overflow;
            assert_eq!(is_found, !is_explained, "{reason:?} behind {large}");
        }
    }
}

#[test]
fn a_gap_in_place_of_a_snapshot_needs_a_fault_at_that_time() {
    let is_gap = |sight: &Sight| matches!(sight.what, Seen::Gap { reason: Reason::Snapshot, .. });
    for seed in SEEDS {
        let mut tally = good(seed);
        let follower = tally.followed.iter().position(|one| one.sights.iter().any(is_gap)).unwrap();
        tally.spans.clear();
        finds(&tally, follower, &["a gap (snapshot)"]);
    }
}

#[test]
fn what_is_lost_and_what_comes_twice_behind_a_gap_in_place_of_a_snapshot_is_found() {
    plants(
        |sights, item| {
            // From the second commit on it has a beginning to go by.
            let is_behind_one = item >= 2 && are_changes(&sights[item - 2..], 2);
            let is_one = is_amid_changes(sights, item) && is_lacking(sights, item) && is_behind_one;
            if is_one {
                sights.remove(item);
            }
            is_one
        },
        &["is lost"],
    );
    plants(
        |sights, item| {
            let is_one = matches!(sights[item].what, Seen::Change { .. }) && is_lacking(sights, item);
            if is_one {
                sights.insert(item, sights[item].clone());
            }
            is_one
        },
        &["came twice"],
    );
}

#[test]
fn a_mark_that_is_missing_is_found() {
    // After a gap in place of a snapshot.
    plants(
        |sights, item| {
            let lacks = is_lacking(sights, item);
            match &mut sights[item].what {
                Seen::Change { id, .. } if lacks => id.is_marked = false,
                _ => return false,
            }
            true
        },
        &["has no mark, and there was no snapshot"],
    );
    // Before a snapshot.
    plants(
        |sights, item| {
            match &mut sights[item].what {
                Seen::Ready(id) | Seen::Gap { id, .. } if id.is_marked => id.is_marked = false,
                _ => return false,
            }
            true
        },
        &["has no mark", "comes where none is due", "that nothing explains"],
    );
    // While something may follow that the snapshot has seen. That shows where another follower got it.
    let mut found = 0;
    for seed in SEEDS {
        let tally = good(seed);
        for follower in 0..tally.followed.len() {
            for item in 0..tally.followed[follower].sights.len() {
                let mut tally = tally.clone();
                let Seen::Snapshot { id, .. } = &mut tally.followed[follower].sights[item].what else {
                    continue;
                };
                if std::mem::take(&mut id.is_marked) {
                    let whys = check(&tally).into_iter().map(|violation| violation.why);
                    found += whys.filter(|why| why.contains("what its snapshot saw")).count();
                }
            }
        }
    }
    assert!(found > 10, "{found}");
}

#[test]
fn an_id_that_names_two_changes_and_a_change_with_two_ids_are_found() {
    let mut tally = good(1);
    let changes = |tally: &Tally, follower: usize| -> Vec<(usize, Position, (u64, u64))> {
        let sights = tally.followed[follower].sights.iter().enumerate();
        let change = |(item, sight): (usize, &Sight)| match sight.what {
            Seen::Change { id, row, n } => Some((item, id.at, (row, n))),
            _ => None,
        };
        sights.filter_map(change).collect()
    };
    let first = changes(&tally, 0);
    let shared =
        changes(&tally, 1).into_iter().find(|(_, at, _)| first.iter().any(|(_, other, _)| other == at));
    let (item, ..) = shared.unwrap();
    let good = tally.clone();
    let Seen::Change { n, .. } = &mut tally.followed[1].sights[item].what else { panic!() };
    *n += 100_000;
    finds(&tally, 1, &["names row"]);
    let mut tally = good;
    let Seen::Change { id, .. } = &mut tally.followed[1].sights[item].what else { panic!() };
    id.at.sequence += 100_000;
    finds(&tally, 1, &["has two ids"]);
}

#[test]
fn what_is_malformed_is_found() {
    plants(
        |sights, item| {
            if item == 0 {
                return false;
            }
            insert(sights, item, Seen::Malformed("x".to_owned()));
            item % 10 == 0
        },
        &["nothing that anybody sent"],
    );
}
