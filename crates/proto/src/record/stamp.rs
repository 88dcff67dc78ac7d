//! What is filled in after the record of an event, or of a snapshot's end, was written: its ticket (C5.3),
//! its transaction's id, and when the event was raised.
//!
//! Not for what tickets mean: [`crate::order`].

use super::{Kind, Record, decode};

/// Where they are in a record. Each is eight bytes.
const TICKET: usize = 1;
const XID: usize = TICKET + 8;
const RAISED_AT: usize = XID + 8;

/// Writes the ticket into the record of an event; other bytes stay as they are.
///
/// Runs in the commit callback, where nothing may fail: no allocation, and no way to panic.
pub fn set_ticket(record: &mut [u8], ticket: u64) {
    set(record, TICKET, ticket);
}

/// Writes the id of its transaction into the record of an event, 0 for none; as [`set_ticket`].
pub fn set_xid(record: &mut [u8], xid: u64) {
    set(record, XID, xid);
}

/// Writes when an event was raised, or its transaction had committed; as [`set_ticket`]. The end of a
/// snapshot has no place for it.
pub fn set_raised_at(record: &mut [u8], nanoseconds: u64) {
    if Kind::of(record) != Some(Kind::SnapshotEnd) {
        set(record, RAISED_AT, nanoseconds);
    }
}

/// When an event was raised ([`set_raised_at`]); 0: that is not known, or the record is none of an event.
pub fn raised_at(record: &[u8]) -> u64 {
    match Kind::of(record) {
        Some(Kind::Event | Kind::TooLarge) => {
            let place = record.get(RAISED_AT..).and_then(|rest| rest.first_chunk());
            place.map_or(0, |place| u64::from_le_bytes(*place))
        }
        _ => 0,
    }
}

fn set(record: &mut [u8], place: usize, number: u64) {
    if matches!(Kind::of(record), Some(Kind::Event | Kind::TooLarge | Kind::SnapshotEnd))
        && let Some(place) = record.get_mut(place..).and_then(|rest| rest.first_chunk_mut())
    {
        *place = number.to_le_bytes();
    }
}

/// The ticket of a record; 0 when it has none, and when it is not the record of an event.
pub fn ticket(record: &[u8]) -> u64 {
    match Kind::of(record) {
        Some(Kind::Event | Kind::TooLarge | Kind::SnapshotEnd) => {
            record[TICKET..].first_chunk().map_or(0, |place| u64::from_le_bytes(*place))
        }
        _ => 0,
    }
}

/// The call of the run whose end this record is; `None` of every other record.
pub fn snapshot_end(record: &[u8]) -> Option<u64> {
    match Kind::of(record) {
        Some(Kind::SnapshotEnd) => match decode(record) {
            Ok(Record::SnapshotEnd { call, .. }) => Some(call),
            _ => None,
        },
        _ => None,
    }
}
