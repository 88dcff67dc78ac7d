//! What is filled in after the record of an event, or of a snapshot's end, was written: its ticket (C5.3) and
//! its transaction's id.
//!
//! Not for what tickets mean: [`crate::order`].

use super::{Kind, Record, decode};

/// Where they are in a record. Both are eight bytes.
const TICKET: usize = 1;
const XID: usize = TICKET + 8;

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
