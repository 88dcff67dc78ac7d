//! Showing a round's events to an inspector that watches.
//!
//! Not for who watches, and how much of it waits: `between/live.rs`.

use std::time::{Duration, SystemTime};

use sse_proto::record::{Record, decode, raised_at};

use super::Slab;
use crate::between::batch::{Batch, Item};
use crate::between::live::{MAX_DATA_BYTES, SeenEvent};
use crate::between::shown::cut_display;
use crate::measures::monotonic_nanoseconds;

/// Longest scope that is shown, in bytes.
const MAX_SCOPE_BYTES: usize = 300;

impl Slab {
    /// The round's events have been handed to the sockets of this thread: the last thread to do so shows
    /// them.
    pub(super) fn show(&mut self) {
        for batch in self.round.take_watched() {
            let sequences = batch.first_sequence..batch.next_sequence();
            let streams = sequences.map(|sequence| self.round.streams(sequence, self.first));
            if batch.reach.served(streams) {
                self.show_all(&batch);
            }
        }
    }

    fn show_all(&self, batch: &Batch) {
        let (now, wall_clock) = (monotonic_nanoseconds(), SystemTime::now());
        for (place, item) in batch.items.iter().enumerate() {
            let Item::Record(range) = item else { continue };
            let record = batch.bytes.get(range.clone()).unwrap_or(&[]);
            self.shared.inspection.live.offer(|| {
                let Ok(Record::Event { envelope, data }) = decode(record) else { return None };
                let raised_at = raised_at(record);
                let delay = (raised_at > 0).then(|| Duration::from_nanos(now.saturating_sub(raised_at)));
                Some(SeenEvent {
                    id: self.log.id(batch.first_sequence + place as u64).to_string(),
                    at: wall_clock.checked_sub(delay.unwrap_or_default()).unwrap_or(wall_clock),
                    event: envelope.event.map(str::to_owned),
                    topic: envelope.topic.map(str::to_owned),
                    scope: cut_display(&envelope.scope, MAX_SCOPE_BYTES),
                    bytes: data.len(),
                    streams: batch.reach.streams(place),
                    delay,
                    data: data[..data.floor_char_boundary(MAX_DATA_BYTES)].to_owned(),
                })
            });
        }
    }
}
