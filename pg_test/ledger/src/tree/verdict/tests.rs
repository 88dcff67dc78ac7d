//! Plants each kind of fault, and looks whether the judge finds it.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::plan::{ALICE, CALLED, NEWS};

const SOMEBODY: Listener = Listener { person: Some(&ALICE), topics: Vec::new(), execution_id: "" };

fn key(number: u32) -> Key {
    Key { writer: 1, delivery: Delivery::Commit, number }
}

fn line(lsn: u64, number: u32) -> Line {
    let what = What::Event { key: key(number), audience: 0, counter: None };
    Line { at: Place { lsn, index: 1, timeline: 1 }, what, digest: 0 }
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        key: key(number),
        audience: 0,
        kind: "committed",
        too_large: false,
        is_bulk: false,
        is_large: false,
        began: 100,
        answered: true,
    }
}

/// Events 1 to 4 at positions 10 to 40, all committed.
fn round() -> (Vec<Line>, Round) {
    let lines = (1..5).map(|number| line(u64::from(number) * 10, number)).collect();
    let attempts = (1..5).map(attempt).collect();
    let committed = (1..5).map(|number| (1, number)).collect();
    (lines, Round { attempts, committed, last_death: 50 })
}

#[test]
fn a_channel_that_tells_what_has_committed_is_right_and_each_difference_is_found() {
    let (lines, good) = round();
    assert!(of_channel(&SOMEBODY, &lines, &good).is_empty());
    type Break = fn(&mut Vec<Line>, &mut Round);
    let broken: [(&str, Break); 12] = [
        ("told by nobody", |lines, _| drop(lines.remove(1))),
        ("told twice", |lines, _| {
            let again = Line { at: Place { lsn: 50, ..lines[0].at }, ..lines[0].clone() };
            lines.push(again);
        }),
        ("ids must rise", |lines, _| lines[2].at = lines[1].at),
        ("behind event", |lines, _| {
            let (one, other) = (lines[1].what.clone(), lines[2].what.clone());
            (lines[1].what, lines[2].what) = (other, one);
        }),
        ("never raised", |lines, _| lines.push(line(50, 5))),
        ("rolled back", |_, round| {
            round.committed.remove(&(1, 2));
        }),
        ("not for it", |_, round| round.attempts[1].audience = 1),
        ("not for it", |lines, round| {
            round.attempts[1].audience = CALLED;
            lines[1].what = What::Event { key: key(2), audience: CALLED, counter: None };
        }),
        ("does not rise", |lines, _| {
            for line in &mut lines[..2] {
                let What::Event { counter, .. } = &mut line.what else { return };
                *counter = Some(7);
            }
        }),
        ("malformed", |lines, _| lines[0].what = What::Malformed("x".to_owned())),
        ("told by nobody", |lines, round| {
            round.attempts.push(Attempt { kind: LAZY, ..attempt(9) });
            lines.truncate(4);
        }),
        ("told by nobody", |lines, round| {
            // Answered, and no primary has died since.
            let at_once = Key { delivery: Delivery::Immediate, ..key(9) };
            round.attempts.push(Attempt { key: at_once, ..attempt(9) });
            lines.truncate(4);
        }),
    ];
    for (wanted, break_it) in broken {
        let (mut lines, mut round) = self::round();
        break_it(&mut lines, &mut round);
        let wrong = of_channel(&SOMEBODY, &lines, &round);
        assert!(wrong.iter().any(|why| why.contains(wanted)), "{wanted}: {wrong:?}");
    }
}

#[test]
fn an_event_that_was_not_waited_for_may_go_with_a_primary_and_a_topic_leaves_the_rest_out() {
    let (lines, mut round) = round();
    let at_once = Key { delivery: Delivery::Immediate, ..key(9) };
    round.attempts.push(Attempt { key: at_once, began: 40, ..attempt(9) });
    round.attempts.push(Attempt { kind: LAZY, began: 40, ..attempt(9) });
    assert!(of_channel(&SOMEBODY, &lines, &round).is_empty());
    let listener = Listener { topics: vec![NEWS], ..SOMEBODY };
    assert!(of_channel(&listener, &[], &round).is_empty());
}

#[test]
fn what_was_acknowledged_may_be_lost_by_a_failover_without_a_synchronous_standby_alone() {
    let lost = |replication, began, kind| {
        let (_, mut round) = round();
        round.committed.remove(&(1, 2));
        round.attempts[1] = Attempt { began, kind, ..attempt(2) };
        lost_acknowledged(&round, replication).len()
    };
    assert_eq!(lost(Replication::Synchronous, 40, "committed"), 1);
    assert_eq!(lost(Replication::Synchronous, 60, "committed"), 1);
    assert_eq!(lost(Replication::Asynchronous, 60, "committed"), 1);
    assert_eq!(lost(Replication::Asynchronous, 40, "committed"), 0);
    for kind in ["rolled back", "failed", "counted, rolled back", LAZY] {
        assert_eq!(lost(Replication::Synchronous, 40, kind), 0, "{kind}");
    }
}

fn sight(came: Came) -> Sight {
    let asked = Some(Place { lsn: 5, index: 1, timeline: 1 });
    Sight { door: 0, asked, came }
}

fn seen(lines: &[Line]) -> Vec<Sight> {
    lines.iter().cloned().map(Came::Line).map(sight).collect()
}

/// A gap up to a position.
fn gap(reason: Reason, lsn: u64) -> Sight {
    let at = Place { lsn, index: u32::MAX, timeline: 1 };
    sight(Came::Gap { at, reason: Some(reason), told: String::new() })
}

fn judged(replication: Replication, past: &Past, sights: Vec<Sight>) -> Result<Count, String> {
    let mut log = Log::default();
    log.add(round().0);
    let mut judge = Judge::new(replication);
    judge.judge(&log, past, sights).map(|()| judge.count)
}

#[test]
fn a_reader_gets_each_line_once_and_in_its_order() {
    let past = Past { ended: Vec::new(), cuts: vec![None; 3] };
    let lines = round().0;
    let judge = |sights| judged(Replication::Synchronous, &past, sights);
    assert_eq!(judge(seen(&lines)).unwrap().lines, 4);
    for (places, wanted) in
        [(&[0, 2][..], "lost silently"), (&[0, 1, 1], "twice, or too late"), (&[0, 2, 1], "lost silently")]
    {
        let lines: Vec<Line> = places.iter().map(|place| lines[*place].clone()).collect();
        let why = judge(seen(&lines)).unwrap_err();
        assert!(why.contains(wanted), "{places:?}: {why}");
    }
    let mut other = lines.clone();
    other[1].digest = 1;
    assert!(judge(seen(&other)).unwrap_err().contains("another event of this id"));
    let strange = [lines[0].clone(), line(15, 9)];
    assert!(judge(seen(&strange)).unwrap_err().contains("no server has this line"));
    for reason in Reason::ALL {
        let sights = [seen(&lines[..1]), vec![gap(reason, 20)], seen(&lines[2..])].concat();
        assert!(judge(sights).unwrap_err().contains("nothing explains"), "{reason:?}");
    }
}

#[test]
fn expired_is_right_only_up_to_where_that_server_has_lost_its_log() {
    let lines = round().0;
    let up_to = |lsn| [seen(&lines[..1]), vec![gap(Reason::Expired, lsn)], seen(&lines[3..])].concat();
    let sights = || up_to(30);
    let judge = |cuts| judged(Replication::Synchronous, &Past { ended: Vec::new(), cuts }, sights());
    let count = judge(vec![Some(31), None, None]).unwrap();
    assert_eq!((count.lines, count.covered[&Reason::Expired]), (2, 2));
    assert!(judge(vec![None, Some(31), None]).unwrap_err().contains("nothing explains"));
    assert!(judge(vec![Some(10), None, None]).unwrap_err().contains("nothing explains"));
    let past = Past { ended: Vec::new(), cuts: vec![Some(31), None, None] };
    let why = judged(Replication::Synchronous, &past, up_to(20)).unwrap_err();
    assert!(why.contains("more than the gap is for"), "{why}");
    // By way of a proxy it may have been any of them.
    let mut sights = sights();
    sights.iter_mut().for_each(|sight| sight.door = 3);
    let past = Past { ended: Vec::new(), cuts: vec![None, Some(31), None] };
    assert!(judged(Replication::Synchronous, &past, sights).is_ok());
}

#[test]
fn what_a_failover_has_taken_back_is_told_and_never_with_a_synchronous_standby() {
    let lines = round().0;
    let taken_back = Line { at: Place { timeline: 7, ..line(25, 9).at }, ..line(25, 9) };
    let past = Past { ended: vec![(7, 24)], cuts: vec![None; 3] };
    let good = || {
        [
            seen(&lines[..2]),
            seen(std::slice::from_ref(&taken_back)),
            vec![gap(Reason::Rewound, 25)],
            seen(&lines[2..]),
        ]
        .concat()
    };
    let count = judged(Replication::Asynchronous, &past, good()).unwrap();
    assert_eq!((count.lines, count.rewound, count.gaps[&Reason::Rewound]), (4, 1, 1));
    assert!(judged(Replication::Synchronous, &past, good()).unwrap_err().contains("no server has"));
    let silently = [seen(&lines[..2]), seen(std::slice::from_ref(&taken_back)), seen(&lines[2..])].concat();
    let why = judged(Replication::Asynchronous, &past, silently).unwrap_err();
    assert!(why.contains("no gap says so"), "{why}");
    // The timeline went on there: it was, and nobody has it.
    let past = Past { ended: vec![(7, 26)], cuts: vec![None; 3] };
    assert!(judged(Replication::Asynchronous, &past, good()).unwrap_err().contains("no server has"));
    let without_cause = [seen(&lines[..2]), vec![gap(Reason::Rewound, 25)], seen(&lines[2..])].concat();
    let why = judged(Replication::Asynchronous, &past, without_cause).unwrap_err();
    assert!(why.contains("nothing explains"), "{why}");
}

#[test]
fn lines_that_all_have_are_forgotten_and_still_known_to_be_old() {
    let (mut log, past) = (Log::default(), Past::default());
    log.add(round().0);
    let mut judge = Judge::new(Replication::Asynchronous);
    judge.judge(&log, &past, seen(&round().0[..3])).unwrap();
    log.forget_before(judge.next);
    assert_eq!((log.lines.len(), log.end()), (1, 4));
    let again = judge.judge(&log, &past, seen(&round().0[1..2]));
    assert!(again.unwrap_err().contains("too late"));
    assert_eq!(judge.lines_left(&log), 1);
    judge.judge(&log, &past, seen(&round().0[3..])).unwrap();
    assert_eq!((judge.next, judge.lines_left(&log)), (4, 0));
}

#[test]
fn a_reader_is_at_the_end_when_a_gap_reaches_as_far() {
    let mut log = Log::default();
    log.add(round().0);
    let past = Past { ended: Vec::new(), cuts: vec![Some(99)] };
    for (lsn, left) in [(25, 2), (40, 0)] {
        let mut judge = Judge::new(Replication::Synchronous);
        let sights = [seen(&round().0[..1]), vec![gap(Reason::Expired, lsn)]].concat();
        judge.judge(&log, &past, sights).unwrap();
        assert_eq!(judge.lines_left(&log), left);
    }
}
