//! Streams that have seen more of the write-ahead log than this server has (C10.3): a standby lags, or a
//! thread. Each waits until its place is here, and goes on after it. Meanwhile it is in no list, and gets
//! heartbeats alone.
//!
//! A server may never come to that place: it becomes the primary before it has the tail of the old one. The
//! history of the log says so, and the stream is told that it has seen what never was, after all that it has
//! seen and that is.
//!
//! Nor may it know of the place yet. A subscriber that moves arrives within a millisecond of the event that
//! it has seen elsewhere, before this server has heard that its primary has written so far; or this server
//! has lost its primary for a moment, or follows a new one and has not begun with the new timeline. So it is
//! given some time before an id is taken for made up.
//!
//! Not for which ids are ahead: that is `stream_log/places`.

use std::rc::Rc;
use std::time::{Duration, Instant};

use sse_proto::place::Place;

use super::Slab;
use crate::stream::parcel::SlotAddress;
use crate::stream::stream_log::Found;

/// How often it is looked while a stream waits whether the log has been read so far: without events, nothing
/// else says so.
const LOOK: Duration = Duration::from_millis(100);

/// For so long a stream waits for what nobody has told this server of. A standby that has lost its primary
/// looks for it again after five seconds (`wal_retrieve_retry_interval`).
const FOR_NEWS: Duration = Duration::from_secs(6);

/// What a stream waits for.
pub(super) struct Waiting {
    place: Place,
    /// It goes on with a snapshot. Before it is there the state would be older than what was seen.
    needs_snapshot: bool,
    since: Instant,
}

impl Waiting {
    pub(super) fn for_place(place: Place, needs_snapshot: bool) -> Self {
        Self { place, needs_snapshot, since: Instant::now() }
    }
}

impl Slab {
    /// A stream that was opened waits.
    pub(super) fn wait(&mut self, address: SlotAddress, waiting: Waiting) {
        if let Some(Some(slot)) = self.slots.get_mut(address.index as usize) {
            slot.stand_by();
            self.ahead.insert(address.to_bits(), waiting);
        }
    }

    /// What a stream waits for.
    pub(super) fn awaited_place(&self, index: usize) -> Option<Place> {
        self.ahead.get(&self.address_of(index).to_bits()).map(|waiting| waiting.place)
    }

    /// When it is to be looked at the log again although nothing has come.
    pub(super) fn next_look_at_log(&self) -> Option<Instant> {
        (!self.ahead.is_empty()).then(|| Instant::now() + LOOK)
    }

    /// Lets the streams go on whose places are here, or will never be. To be called when the streams have
    /// been told of what came in this round.
    pub(super) fn let_on(&mut self) {
        if self.ahead.is_empty() {
            return;
        }
        let (log, known_end) = (&self.log, self.shared.published.known_end());
        let found = |waiting: &Waiting| {
            log.reached(waiting.place).or_else(|| {
                let doubt = log.doubt(waiting.place, known_end)?;
                (waiting.since.elapsed() >= FOR_NEWS).then_some(Found::Lost(doubt))
            })
        };
        let mut going = Vec::new();
        self.ahead.retain(|address, waiting| match found(waiting) {
            Some(found) => {
                going.push((*address, waiting.needs_snapshot, found));
                false
            }
            None => true,
        });
        for (address, needs_snapshot, found) in going {
            let Some(index) = self.slot_at(SlotAddress::from_bits(address)) else { continue };
            let Some(slot) = &mut self.slots[index] else { continue };
            match found {
                Found::At(position) => slot.begin_behind(position, needs_snapshot),
                Found::Lost(reason) => slot.begin_anew(&self.log, reason, &mut self.tally),
                Found::Ahead(_) => {}
            }
            self.log.postings.join(index as u32, Rc::clone(&slot.subscription.recipient));
            if slot.is_blocked() {
                self.note_behind(index);
            } else {
                self.visit(index);
            }
        }
    }
}
