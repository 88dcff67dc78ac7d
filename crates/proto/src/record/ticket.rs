//! The ticket of an event, which is filled in after the record was written (C5.3).
//!
//! Not for what tickets mean: [`crate::order`].

use super::Kind;

/// Writes the ticket into the record of an event; other bytes stay as they are.
///
/// Runs in the commit callback, where nothing may fail: no allocation, and no way to panic.
pub fn set_ticket(record: &mut [u8], ticket: u64) {
    if matches!(Kind::of(record), Some(Kind::Event | Kind::TooLarge))
        && let Some((_kind, rest)) = record.split_first_mut()
        && let Some(place) = rest.first_chunk_mut()
    {
        *place = ticket.to_le_bytes();
    }
}

/// The ticket of a record; 0 when it has none, and when it is not the record of an event.
pub fn ticket(record: &[u8]) -> u64 {
    match Kind::of(record) {
        Some(Kind::Event | Kind::TooLarge) => {
            record[1..].first_chunk().map_or(0, |place| u64::from_le_bytes(*place))
        }
        _ => 0,
    }
}
