//! Housekeeping: streams that take nothing, streams whose time is over, heartbeats, and what leaves the
//! window.
//!
//! Not for delivering events, nor for streams of refused users (`revoke.rs`).

use std::time::SystemTime;

use super::{Slab, milliseconds};
use crate::stream::slot::Slot;

impl Slab {
    /// Once in a while: disconnects streams that take nothing, ends those whose token has expired, sends
    /// heartbeats.
    pub(super) fn sweep(&mut self) {
        let timeout = milliseconds(self.settings.write_timeout);
        let interval = milliseconds(self.settings.heartbeat_interval);
        let wall_clock = SystemTime::now();
        for index in 0..self.slots.len() {
            let Some(slot) = &mut self.slots[index] else { continue };
            if slot.is_stalled(self.now, timeout) || slot.is_too_slow(self.now) {
                slot.reset();
                self.tally.write_timeouts += 1;
                self.free(index);
            } else if slot.subscription.login.as_ref().is_some_and(|login| login.expires_at <= wall_clock) {
                self.finish(index);
            } else if interval > 0 && slot.beat(self.now, interval) {
                self.visit(index);
            }
        }
    }

    /// Ends a stream after the event that it is in the middle of. Later events go to the subscriber that
    /// comes back with the last id, if it may have them then.
    pub(super) fn finish(&mut self, index: usize) {
        self.finish_saying(index, &[]);
    }

    /// The same, with this as the last block.
    pub(super) fn finish_saying(&mut self, index: usize, last: &[u8]) {
        let Some(slot) = &mut self.slots[index] else { return };
        if !slot.finish_saying(&self.log, last, self.now) {
            slot.reset();
            return self.free(index);
        }
        self.log.postings.leave(index as u32);
        self.ahead.remove(&self.address_of(index).to_bits());
        if !self.slots[index].as_ref().is_some_and(Slot::is_blocked) {
            self.visit(index);
        }
    }

    /// Drops what the window no longer holds. Subscribers in the middle of such an event keep its rest, if it
    /// is small.
    pub(super) fn evict(&mut self) {
        let sequence = self.log.eviction(self.now, self.settings.window_size, self.settings.window_age);
        if sequence <= self.log.base() {
            return;
        }
        self.forget_live();
        for place in 0..self.behind.len() {
            let index = self.behind[place];
            let Some(slot) = &mut self.slots[index as usize] else { continue };
            if !slot.prepare_eviction(&self.log, self.log.postings.member(index), sequence) {
                slot.reset();
                self.free(index as usize);
            }
        }
        self.log.evict_to(sequence);
    }

    pub(super) fn note_behind(&mut self, index: usize) {
        if !std::mem::replace(&mut self.marks[index].is_behind, true) {
            self.behind.push(index as u32);
        }
    }

    /// Takes streams that have caught up out of the list `behind`.
    fn forget_live(&mut self) {
        let Self { behind, slots, marks, .. } = self;
        behind.retain(|index| {
            let is_behind = slots[*index as usize].as_ref().is_some_and(|slot| !slot.is_live());
            marks[*index as usize].is_behind = is_behind;
            is_behind
        });
    }
}
