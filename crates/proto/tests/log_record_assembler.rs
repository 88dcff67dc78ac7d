//! Parts of many transactions, interleaved as in a log, become the events of each, at its commit, in its
//! order; and memory is bounded.
#![allow(clippy::unwrap_used)]

#[path = "log_record/log.rs"]
mod log;

use log::{Log, NO_LIMITS, body, commit_part, event, immediate_part, texts};
use proptest::prelude::*;
use sse_proto::log_record::{Assembler, Complete, Content, Limits, LogRecordError, Loss, MAX_BODIES, Part};

fn assembler(body_bytes: usize, all_bytes: usize) -> Assembler {
    Assembler::new(Limits { body_bytes, all_bytes })
}

fn loss(complete: Option<Complete>) -> Loss {
    match complete.unwrap().content {
        Content::Lost(loss) => loss,
        Content::Events(events) => panic!("{events:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    /// [`Log`] plays processes that write, commit, roll back and die, and knows what must be told.
    #[test]
    fn each_transaction_is_told_at_its_commit_whatever_lies_between(
        steps in prop::collection::vec((0..log::PROCESSES, any::<u16>()), 0..300),
    ) {
        let mut log = Log::default();
        let mut assembler = Assembler::new(NO_LIMITS);
        for (process, choice) in steps {
            log.step(process, choice, &mut assembler)?;
        }
        log.end(&mut assembler)?;
        prop_assert_eq!((assembler.bytes(), assembler.waiting()), (0, 0));
    }

    #[test]
    fn any_sequence_of_parts_keeps_to_the_bounds(
        steps in prop::collection::vec(
            (0..5_u32, 0..3_u32, 0..5_u8, any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)),
            0..200,
        ),
    ) {
        let mut assembler = assembler(50, 120);
        for (end, (xid, place, what, is_first, is_last, bytes)) in (1..).zip(&steps) {
            match what {
                3 => drop(assembler.commit(*xid, end)),
                4 => assembler.abort(*xid),
                delivery => drop(assembler.part(*xid, end, &log::part(*delivery, *place, *is_first, *is_last, bytes))),
            }
            prop_assert!(assembler.bytes() <= 120);
            prop_assert!(assembler.waiting() <= 4 + 3 + 3, "transactions, and two for each place");
        }
        assembler.forget_all();
        prop_assert_eq!((assembler.bytes(), assembler.waiting()), (0, 0));
    }
}

#[test]
fn a_body_below_and_at_the_limit_is_told_and_above_it_is_a_loss_that_keeps_nothing() {
    let body = body(&["a", "bc"]);
    for (limit, is_told) in [(body.len() + 1, true), (body.len(), true), (body.len() - 1, false)] {
        let mut assembler = assembler(limit, usize::MAX);
        let (one, two) = body.split_at(9);
        assert_eq!(assembler.part(7, 1, &commit_part(true, false, one)), None);
        assert_eq!(assembler.part(7, 2, &commit_part(false, true, two)), None);
        assert_eq!(assembler.bytes(), if is_told { body.len() } else { 0 });
        let complete = assembler.commit(7, 3);
        if is_told {
            assert_eq!(texts(complete.unwrap()), ["a", "bc"]);
        } else {
            assert_eq!(loss(complete), Loss::TooLarge);
        }
        assert_eq!((assembler.bytes(), assembler.waiting()), (0, 0));
    }
}

#[test]
fn what_passes_the_limit_of_all_is_lost_and_the_others_are_not() {
    let body = body(&["x"]);
    let mut assembler = assembler(usize::MAX, 2 * body.len());
    for xid in [1, 2, 3] {
        assert_eq!(assembler.part(xid, 1, &commit_part(true, true, &body)), None);
    }
    assert_eq!(assembler.bytes(), 2 * body.len());
    assert_eq!(texts(assembler.commit(1, 2).unwrap()), ["x"]);
    assert_eq!(loss(assembler.commit(3, 3)), Loss::TooLarge, "although there is room again");
    assert_eq!(texts(assembler.commit(2, 4).unwrap()), ["x"]);
    assert_eq!(assembler.part(4, 5, &commit_part(true, true, &body)), None);
    assert_eq!(texts(assembler.commit(4, 6).unwrap()), ["x"]);
}

#[test]
fn one_more_body_than_a_server_can_have_is_lost_at_once() {
    let mut assembler = Assembler::new(NO_LIMITS);
    for xid in 1..=MAX_BODIES as u32 {
        assert_eq!(assembler.part(xid, 1, &commit_part(true, true, b"")), None);
    }
    assert_eq!(loss(assembler.part(u32::MAX, 2, &commit_part(true, true, b""))), Loss::TooLarge);
    assert_eq!(assembler.waiting(), MAX_BODIES);
    assembler.abort(5);
    assert_eq!(assembler.part(u32::MAX, 4, &commit_part(true, true, b"")), None);
}

#[test]
fn a_body_whose_beginning_was_not_read_is_no_events() {
    let mut assembler = Assembler::new(NO_LIMITS);
    assert_eq!(assembler.part(7, 1, &commit_part(false, true, &body(&["x"]))), None);
    assert_eq!(loss(assembler.commit(7, 2)), Loss::NoBeginning);
    assert_eq!(loss(assembler.part(0, 3, &immediate_part(false, true, b""))), Loss::NoBeginning);
    assert_eq!(assembler.waiting(), 0);
}

#[test]
fn what_cannot_be_read_is_a_loss_with_its_reason() {
    let broken = |body: &[u8]| {
        let mut assembler = Assembler::new(NO_LIMITS);
        assembler.part(7, 1, &commit_part(true, true, body));
        loss(assembler.commit(7, 2))
    };
    let good = body(&["x"]);
    for bytes in [1, 3, 4, good.len() - 1] {
        assert_eq!(broken(&good[..bytes]), Loss::Broken(LogRecordError::Truncated), "{bytes} bytes");
    }
    assert_eq!(broken(&u32::MAX.to_le_bytes()), Loss::Broken(LogRecordError::Truncated));
    assert_eq!(broken(&[0; 4]), Loss::Broken(LogRecordError::Choice(0)), "an empty record");
    assert_eq!(broken(&[1, 0, 0, 0, 22]), Loss::Broken(LogRecordError::Choice(22)), "the end of a call");
    let mut assembler = Assembler::new(NO_LIMITS);
    let part = commit_part(true, true, &good);
    assert_eq!(loss(assembler.part(0, 1, &part)), Loss::Broken(LogRecordError::NoTransaction));
}

#[test]
fn the_last_part_says_whether_synchronous_standbys_are_waited_for() {
    let body = body(&["x"]);
    let (one, two) = body.split_at(5);
    for (of_first, of_last) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut assembler = Assembler::new(NO_LIMITS);
        let first = Part { ignores_standbys: of_first, ..commit_part(true, false, one) };
        let last = Part { ignores_standbys: of_last, ..commit_part(false, true, two) };
        assembler.part(7, 1, &first);
        assembler.part(7, 2, &last);
        assert_eq!(assembler.commit(7, 3).unwrap().ignores_standbys, of_last);
    }
}

#[test]
fn the_first_event_of_a_body_has_the_index_1() {
    let mut assembler = Assembler::new(NO_LIMITS);
    assembler.part(7, 1, &commit_part(true, true, &body(&["a", "b"])));
    let Content::Events(events) = assembler.commit(7, 2).unwrap().content else { panic!() };
    let found: Vec<_> = events.records().map(|(index, record)| (index, record.to_vec())).collect();
    assert_eq!(found, [(1, event("a")), (2, event("b"))]);
}
