//! Bringing parcels to their streams.
//!
//! Not for when a stream writes them: that is `slot/mail`.

use super::Slab;
use crate::stream::parcel::{Parcel, SlotAddress};

impl Slab {
    /// Gives a parcel to its stream; if that has ended, the parcel is dropped. To be called when all streams
    /// have been told of what came in this round.
    pub(super) fn give(&mut self, address: SlotAddress, parcel: Parcel) {
        let Some(index) = self.slot_at(address) else { return };
        let Some(slot) = &mut self.slots[index] else { return };
        // The walk over the public lane may still be to come.
        slot.refresh(self.first);
        slot.give(parcel, self.now);
        if slot.is_blocked() {
            self.note_behind(index);
        } else {
            self.visit(index);
        }
    }

    /// The same for a stream that is being visited, which goes on with it in a turn of its own: it may meet
    /// thousands of gaps one behind the other, and a visit within a visit for each would take all of the
    /// stack.
    pub(super) fn leave(&mut self, address: SlotAddress, parcel: Parcel) {
        let Some(index) = self.slot_at(address) else { return };
        let Some(slot) = &mut self.slots[index] else { return };
        slot.give(parcel, self.now);
        if !slot.is_blocked() {
            // Cannot fail: the receiver is ours.
            let _ = self.ready_sender.send(address);
        }
        self.note_behind(index);
    }

    /// The slot with this address, if the stream is still there.
    pub(super) fn slot_at(&self, address: SlotAddress) -> Option<usize> {
        let index = address.index as usize;
        let is_same = self.marks.get(index)?.generation == address.generation;
        (is_same && self.slots.get(index)?.is_some()).then_some(index)
    }

    pub(super) fn address_of(&self, index: usize) -> SlotAddress {
        let generation = self.marks.get(index).map_or(0, |mark| mark.generation);
        SlotAddress { index: index as u32, generation }
    }
}
