//! Records with their places in the log, and what the log is (`record/placed.rs`).

use super::*;
use crate::place::{History, Place, Span};

fn placed(record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_placed(Place::new(1, 2, 3), record, &mut bytes).unwrap();
    bytes
}

#[test]
fn golden_bytes_of_what_comes_from_the_log() {
    let event = encode(&Record::Canary { number: 1 });
    let history = History::new(vec![
        Span { timeline: 2, begin: 0x10, end: u64::MAX },
        Span { timeline: 1, begin: 0, end: 0x10 },
    ])
    .unwrap();
    let cases: [(Record<'_>, Vec<u8>); 3] = [
        (
            Record::Placed { place: Place::new(1, 0x0203, 4), record: Inner::new(&event).unwrap() },
            b"\x1d\x01\0\0\0\x03\x02\0\0\0\0\0\0\x04\0\0\0\x1b\x01\0\0\0\0\0\0\0".to_vec(),
        ),
        (
            Record::LogState { history, begin: Place::new(1, 0x0203, 4), caught_up: true },
            b"\x1e\x02\0\0\0\x02\0\0\0\x10\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
              \x01\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\
              \x01\0\0\0\x03\x02\0\0\0\0\0\0\x04\0\0\0\x01"
                .to_vec(),
        ),
        (
            Record::LogGap { loss: LogLoss::Unreadable, place: Place::new(1, 0x0203, 4) },
            b"\x1f\x01\x01\0\0\0\x03\x02\0\0\0\0\0\0\x04\0\0\0".to_vec(),
        ),
    ];
    for (record, bytes) in cases {
        assert_eq!(encode(&record), bytes, "{record:?}");
        assert_eq!(decode(&bytes).as_ref(), Ok(&record));
        assert_eq!(Kind::of(&bytes), Some(record.kind()));
        let least = if record.kind() == Kind::Placed { 18 } else { bytes.len() };
        for length in 0..least {
            assert_eq!(decode(&bytes[..length]), Err(DecodeError::Truncated), "{record:?} {length}");
        }
    }
}

#[test]
fn a_place_comes_back_with_its_record_as_it_was() {
    for record in [
        Record::Event { envelope: Envelope::for_all(), data: "x" },
        Record::TooLarge { envelope: Envelope::for_all() },
        Record::CallEnd { call: 1 },
        Record::SnapshotEnd { ticket: 1, xid: 2, call: 3 },
        Record::Canary { number: 1 },
    ] {
        let bytes = encode(&record);
        let placed = placed(&bytes);
        assert_eq!(place(&placed), Some((Place::new(1, 2, 3), &bytes[..])));
        let inner = Inner::new(&bytes).unwrap();
        assert_eq!(decode(&placed), Ok(Record::Placed { place: Place::new(1, 2, 3), record: inner }));
        assert_eq!(place(&bytes), None);
        // What is filled in later is filled in before it is placed.
        assert_eq!((ticket(&placed), raised_at(&placed), snapshot_end(&placed)), (0, 0, None));
    }
}

// Attack: a record within a record within a record; and what only the catalog worker may say.
#[test]
fn nothing_is_placed_that_has_no_place() {
    for record in [
        placed(&encode(&Record::Canary { number: 1 })),
        encode(&Record::LogState { history: History::of(1), begin: Place::default(), caught_up: true }),
        encode(&Record::LogGap { loss: LogLoss::Expired, place: Place::default() }),
        encode(&Record::CatalogEnd { reading: 1, count: 0 }),
        vec![0],
    ] {
        let placed = placed(&record);
        assert_eq!((place(&placed), decode(&placed)), (None, Err(DecodeError::Choice(record[0]))));
    }
    for length in 0..18 {
        assert_eq!(place(&placed(&encode(&Record::Canary { number: 1 }))[..length]), None, "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_the_log_that_decode_are_what_the_record_encodes_to(
        kind in 29_u8..32,
        rest in prop::collection::vec(prop_oneof![4 => 0_u8..3, 1 => 20_u8..29, 1 => any::<u8>()], 0..64),
    ) {
        let bytes = [&[kind], &rest[..]].concat();
        if let Ok(record) = decode(&bytes) {
            prop_assert_eq!(encode(&record), &bytes[..]);
            prop_assert_eq!(place(&bytes).is_some(), kind == Kind::Placed as u8);
        }
    }
}
