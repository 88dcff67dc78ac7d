//! What the courier promises of events that come from the write-ahead log, over both sources.

use sse_gateway::Item;
use sse_proto::place::{History, Place};
use sse_proto::record::{Envelope, Record, append_placed};

use super::promises::{next, rigs};

fn placed(lsn: u64, index: u32, record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_placed(Place::new(0, lsn, index), &record.encode().unwrap(), &mut bytes).unwrap();
    bytes
}

fn event(lsn: u64) -> Vec<u8> {
    placed(lsn, 1, &Record::Event { envelope: Envelope::for_all(), data: "x" })
}

fn end_of_call(lsn: u64, call: u64) -> Vec<u8> {
    placed(lsn, 0, &Record::CallEnd { call })
}

fn beginning() -> Vec<u8> {
    let state = Record::LogState { history: History::of(1), begin: Place::default(), caught_up: false };
    state.encode().unwrap()
}

#[test]
fn what_is_left_of_an_earlier_reading_is_for_nobody() {
    for rig in rigs() {
        rig.place.switch_log_on();
        rig.place.push(&event(10));
        let batches = rig.open(16);
        rig.start();
        rig.settle();
        assert_eq!(rig.place.readings(), 1, "the reading is asked for when the gateway opens");
        rig.place.push(&event(11));
        rig.place.push(
            &Record::LogGap { loss: sse_proto::record::LogLoss::Expired, place: Place::new(1, 12, 1) }
                .encode()
                .unwrap(),
        );
        rig.place.push(&beginning());
        rig.place.push(&event(5));
        let batch = next(&batches);
        assert_eq!((batch.first_sequence, batch.places.as_slice()), (1, &[Place::new(0, 5, 1)][..]));
        assert!(matches!(batch.items[..], [Item::Record(_)]));
        rig.settle();
        assert!(batches.is_empty(), "and nothing else");
        rig.stop();
    }
}

#[test]
fn the_end_of_a_call_comes_behind_the_events_of_the_log_up_to_its_position_and_not_before() {
    for rig in rigs() {
        rig.place.switch_log_on();
        let batches = rig.open(16);
        rig.start();
        rig.settle();
        rig.place.push(&beginning());
        rig.place.push(&end_of_call(21, 1));
        rig.place.push(&end_of_call(20, 2));
        rig.place.read_to(19);
        rig.place.push(&event(19));
        let batch = next(&batches);
        assert_eq!((batch.items.len(), batch.ended_calls.as_slice()), (1, &[][..]));
        rig.settle();
        assert!(batches.is_empty(), "both wait");
        // In this order, as the reader does it. The courier looks by itself.
        rig.place.push(&event(20));
        rig.place.read_to(20);
        let batch = next(&batches);
        assert_eq!((batch.items.len(), batch.ended_calls.as_slice()), (1, &[][..]), "the event first");
        assert_eq!(next(&batches).ended_calls, [2], "one that belongs further back does not hold it up");
        rig.place.read_to(40);
        assert_eq!(next(&batches).ended_calls, [1]);
        rig.stop();
    }
}

#[test]
fn at_the_end_what_waits_for_the_log_is_handed_on_too() {
    for rig in rigs() {
        rig.place.switch_log_on();
        let batches = rig.open(16);
        rig.start();
        rig.settle();
        rig.place.push(&end_of_call(21, 1));
        rig.settle();
        let is_closed = rig.close(std::time::Duration::from_secs(5));
        assert_eq!(next(&batches).ended_calls, [1]);
        is_closed.recv().unwrap();
        rig.stop();
    }
}
