//! What is filled in after a record was written (`record/stamp.rs`).

use super::*;

#[test]
fn only_the_record_of_an_event_has_a_ticket_an_xid_and_a_time() {
    let mut short = b"\x1c\0\0\0\0\0\0\0".to_vec();
    let mut catalog = encode(&Record::CatalogEnd { reading: 1, count: 2 });
    for bytes in [&mut short, &mut catalog, &mut Vec::new()] {
        let before = bytes.clone();
        set_ticket(bytes, u64::MAX);
        set_xid(bytes, u64::MAX);
        set_raised_at(bytes, u64::MAX);
        assert_eq!((&*bytes, ticket(bytes), raised_at(bytes)), (&before, 0, 0));
    }
    let mut event = encode(&Record::TooLarge { envelope: Envelope::for_all() });
    let mut end = encode(&Record::SnapshotEnd { ticket: 1, xid: 2, call: 3 });
    for bytes in [&mut event, &mut end] {
        set_raised_at(bytes, 7);
    }
    assert_eq!(raised_at(&event), 7);
    assert_eq!(decode(&event), Ok(Record::TooLarge { envelope: Envelope::for_all() }));
    assert_eq!(decode(&end), Ok(Record::SnapshotEnd { ticket: 1, xid: 2, call: 3 }));
}

#[test]
fn the_end_of_a_snapshot_has_a_ticket_and_says_its_call() {
    let mut bytes = encode(&Record::SnapshotEnd { ticket: 0, xid: 0, call: 7 });
    set_ticket(&mut bytes, 9);
    set_xid(&mut bytes, 5);
    assert_eq!((ticket(&bytes), snapshot_end(&bytes)), (9, Some(7)));
    assert_eq!(decode(&bytes), Ok(Record::SnapshotEnd { ticket: 9, xid: 5, call: 7 }));
    assert_eq!(snapshot_end(&bytes[..20]), None);
    assert_eq!(snapshot_end(&encode(&Record::CatalogBegin { reading: 1, generation: 1 })), None);
}
