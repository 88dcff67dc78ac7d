//! The order of commit events against a simulation of what backends and gateway do, step by step in any
//! interleaving.
#![allow(clippy::unwrap_used)]

#[path = "order_model/world.rs"]
mod world;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use sse_proto::order::{Decision, Limits, Look, MAX_ENDS, Order, State};
use world::{BACKENDS, World, read, write};

const NO_LIMITS: Limits = Limits { time: Duration::from_secs(1000), bytes: usize::MAX };

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_saw_another_is_told_after_it_in_every_interleaving(
        steps in prop::collection::vec((0..BACKENDS * 2, any::<u8>()), 0..400),
    ) {
        let mut world = World::new(NO_LIMITS);
        for (who, choice) in steps {
            if who < BACKENDS {
                world.step_backend(who, choice);
            } else {
                let decision = world.step_gateway().unwrap_or_default();
                prop_assert_eq!(decision, Decision::default(), "nobody is given up");
            }
        }
        world.finish();
        prop_assert_eq!(world.order.state(), State::Idle);
        world.check()?;
    }
}

fn held(tickets: &[u64], limits: Limits) -> Order {
    let mut order = Order::new(limits);
    for ticket in tickets {
        order.hold(*ticket, &write(*ticket as usize, 0));
    }
    order
}

fn taken(order: &mut Order) -> Vec<usize> {
    let mut taken = Vec::new();
    while order.take(usize::MAX, |record| taken.push(read(record).0)) > 0 {}
    taken
}

fn look(highest: u64, blockers: &[u64]) -> Look<'_> {
    Look { highest, blockers, is_before_hole: false }
}

#[test]
fn what_came_out_of_order_leaves_in_the_order_of_the_tickets() {
    let mut order = held(&[5, 3, 4], NO_LIMITS);
    assert_eq!(order.highest(), Some(5));
    order.decide(look(5, &[]), Instant::now());
    assert_eq!(taken(&mut order), [3, 4, 5]);
    assert_eq!((order.highest(), order.state()), (None, State::Idle));
}

#[test]
fn a_blocker_holds_what_is_above_it_and_nothing_else() {
    let mut order = held(&[3, 4, 6], NO_LIMITS);
    order.decide(look(6, &[4, 5]), Instant::now());
    assert_eq!(taken(&mut order), [3, 4], "its own events are let go, too");
    assert_eq!(order.state(), State::Blocked);
    order.decide(look(6, &[]), Instant::now());
    assert_eq!(taken(&mut order), [6]);
}

#[test]
fn what_came_after_the_look_waits_for_the_next() {
    let mut order = held(&[3], NO_LIMITS);
    let highest = order.highest().unwrap();
    order.hold(4, &write(4, 0));
    order.hold(2, &write(2, 0));
    order.decide(look(highest, &[]), Instant::now());
    assert_eq!(taken(&mut order), [2, 3]);
    assert_eq!(order.state(), State::LookAgain);
}

#[test]
fn a_blocker_is_given_up_when_its_time_is_over_and_told_once() {
    let limits = Limits { time: Duration::from_secs(5), ..NO_LIMITS };
    let mut order = held(&[9], limits);
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let nobody = Decision::default();
    assert_eq!(order.decide(look(9, &[7]), at(0)), nobody);
    assert_eq!(order.decide(look(9, &[7, 8]), at(4999)), nobody);
    assert_eq!(order.decide(look(9, &[7, 8]), at(5000)).given_up, [7]);
    assert_eq!(taken(&mut order), [0; 0], "the other one has its own time");
    assert_eq!(order.decide(look(9, &[7, 8]), at(9999)).given_up, [8]);
    assert_eq!(taken(&mut order), [9]);
    order.hold(10, &write(10, 0));
    assert_eq!(order.decide(look(10, &[7, 8]), at(10_000)), nobody, "once");
    assert_eq!(taken(&mut order), [10]);
    // It goes on after all.
    order.hold(7, &write(7, 0));
    order.decide(look(7, &[]), at(10_001));
    assert_eq!(taken(&mut order), [7]);
}

// A snapshot sees what a stopped backend has committed. Its end must not come before those events, or streams
// that began with it get them again.
#[test]
fn the_end_of_a_snapshot_waits_for_transactions_that_were_given_up_and_holds_nobody() {
    let limits = Limits { time: Duration::from_secs(5), ..NO_LIMITS };
    let mut order = held(&[9], limits);
    order.hold_end(10, &write(10, 0));
    assert_eq!(order.highest(), Some(10));
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    order.decide(look(10, &[7]), at(0));
    assert_eq!((taken(&mut order), order.state()), (Vec::new(), State::Blocked));
    assert_eq!(order.decide(look(10, &[7]), at(5)).given_up, [7]);
    assert_eq!((taken(&mut order), order.state()), (vec![9], State::EndsBlocked));
    // Later ones go on, and it still waits, also for a hole.
    order.hold(11, &write(11, 0));
    order.decide(look(11, &[7]), at(6));
    assert_eq!((taken(&mut order), order.state()), (vec![11], State::EndsBlocked));
    let hole = Look { is_before_hole: true, ..look(10, &[]) };
    assert_eq!(order.decide(hole, at(100)), Decision::default());
    assert_eq!((taken(&mut order), order.state()), (Vec::new(), State::EndsBlocked));
    order.hold(7, &write(7, 0));
    order.decide(look(10, &[7]), at(101));
    assert_eq!(taken(&mut order), [7], "it may have more to push");
    order.decide(look(10, &[]), at(102));
    assert_eq!((taken(&mut order), order.highest(), order.state()), (vec![10], None, State::Idle));
}

#[test]
fn ends_of_snapshots_that_are_held_have_a_bound_beyond_which_the_oldest_is_dropped() {
    let mut order = Order::new(NO_LIMITS);
    let most = MAX_ENDS as u64;
    (2..=most).for_each(|ticket| order.hold_end(ticket, &write(ticket as usize, 0)));
    for ticket in [most + 1, most + 2] {
        order.hold_end(ticket, &write(ticket as usize, 0));
        order.decide(look(ticket, &[1]), Instant::now());
        assert!(taken(&mut order).is_empty(), "what it saw may still come");
    }
    order.decide(look(most + 2, &[]), Instant::now());
    assert_eq!(taken(&mut order), (3..=most as usize + 2).collect::<Vec<_>>());
    assert_eq!(order.highest(), None);
}

#[test]
fn a_blocker_that_has_pushed_begins_anew_with_its_next_ticket() {
    let limits = Limits { time: Duration::from_secs(5), ..NO_LIMITS };
    let mut order = held(&[9], limits);
    let start = Instant::now();
    order.decide(look(9, &[7]), start);
    let decision = order.decide(look(9, &[8]), start + Duration::from_secs(6));
    assert_eq!((decision, taken(&mut order)), (Decision::default(), Vec::new()));
}

#[test]
fn bytes_beyond_the_limit_give_up_every_blocker() {
    let limits = Limits { bytes: 3 * 16, ..NO_LIMITS };
    let mut order = held(&[2, 7, 8, 9], limits);
    let decision = order.decide(look(9, &[3, 5]), Instant::now());
    assert_eq!(decision, Decision::default(), "what is held is at the limit");
    assert_eq!(taken(&mut order), [2]);
    order.hold(10, &write(10, 0));
    let decision = order.decide(look(10, &[3, 5]), Instant::now());
    assert_eq!(decision.given_up, [3, 5]);
    assert_eq!(taken(&mut order), [7, 8, 9, 10]);
}

#[test]
fn nothing_is_decided_before_a_hole_until_its_time_is_over() {
    let limits = Limits { time: Duration::from_secs(5), ..NO_LIMITS };
    let mut order = held(&[2], limits);
    let hole = Look { is_before_hole: true, ..look(2, &[]) };
    let start = Instant::now();
    assert_eq!(order.decide(hole, start), Decision::default());
    assert_eq!((taken(&mut order), order.state()), (Vec::new(), State::Blocked));
    assert!(order.decide(hole, start + Duration::from_secs(5)).passed_hole);
    assert_eq!(taken(&mut order), [2]);
}

#[test]
fn what_is_sent_at_once_keeps_its_place_and_waits_for_nobody() {
    let mut order = Order::new(NO_LIMITS);
    assert!(!order.pass(&write(90, 0)), "nothing is held");
    order.hold(3, &write(3, 0));
    assert!(order.pass(&write(91, 0)));
    order.hold(5, &write(5, 0));
    order.hold(4, &write(4, 0));
    assert!(order.pass(&write(92, 0)));
    order.decide(look(5, &[]), Instant::now());
    assert_eq!(taken(&mut order), [3, 91, 4, 5, 92]);
    for ticket in [6, 8, 9] {
        order.hold(ticket, &write(ticket as usize, 0));
        order.pass(&write(90 + ticket as usize, 0));
    }
    let hole = Look { is_before_hole: true, ..look(9, &[7]) };
    order.decide(look(9, &[7]), Instant::now());
    assert_eq!(taken(&mut order), [6, 96, 98, 99]);
    order.pass(&write(90, 0));
    order.decide(hole, Instant::now());
    assert_eq!(taken(&mut order), [90]);
    order.decide(look(9, &[]), Instant::now());
    assert_eq!(taken(&mut order), [8, 9]);
}

// A transaction's events wait for another one, and what says that all of them are there does not.
#[test]
fn what_follows_comes_behind_all_that_was_held_whatever_that_waits_for() {
    let mut order = Order::new(NO_LIMITS);
    assert!(!order.follow(&write(90, 0)), "nothing is held");
    order.hold(3, &write(3, 0));
    order.pass(&write(91, 0));
    order.hold(5, &write(5, 0));
    order.pass(&write(92, 0));
    assert!(order.follow(&write(93, 0)));
    order.hold(4, &write(4, 0));
    order.decide(look(5, &[4]), Instant::now());
    assert_eq!(taken(&mut order), [3, 91, 4, 92], "5 is held, and so is what follows it");
    order.hold(5, &write(5, 1));
    order.hold(6, &write(6, 0));
    order.decide(look(6, &[]), Instant::now());
    assert_eq!(taken(&mut order), [5, 5, 93, 6]);
    order.hold(7, &write(7, 0));
    assert!(order.follow(&write(94, 0)));
    order.let_go_all();
    assert_eq!(taken(&mut order), [7, 94]);
}

#[test]
fn at_the_end_everything_leaves_in_the_order_of_the_tickets() {
    let mut order = held(&[5, 3], NO_LIMITS);
    order.decide(look(5, &[1]), Instant::now());
    order.let_go_all();
    assert_eq!(taken(&mut order), [3, 5]);
    assert_eq!(order.state(), State::Idle);
}

#[test]
fn at_most_so_many_bytes_are_taken_at_once_but_at_least_one_event() {
    let mut order = Order::new(NO_LIMITS);
    for number in 0..5 {
        order.hold(1, &write(1, number));
    }
    order.decide(look(1, &[]), Instant::now());
    for (max_bytes, expected) in [(0, 1), (16, 1), (31, 1), (32, 2), (100, 0)] {
        assert_eq!(order.take(max_bytes, |_| {}), expected, "{max_bytes}");
    }
}
