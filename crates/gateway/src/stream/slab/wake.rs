//! Serving the slots that have something to say: those whose sockets do, and those in the ready list.
//!
//! Not for how they come into the list: that is `slot/waker` and whoever lags.

use super::Slab;
use crate::stream::ready::Ready;
use crate::stream::slot::Visit;

impl Slab {
    /// Serves the slots whose sockets have something to say, and those that are in the list by now: one that
    /// lags puts itself in again.
    pub(super) fn serve_ready(&mut self) {
        let mut told = std::mem::take(&mut self.told);
        self.has_more_ready = self.sockets.take(&mut told);
        for (address, ready) in told.drain(..) {
            if let Some(index) = self.slot_at(address) {
                self.wake(index, ready);
            }
        }
        self.told = told;
        for _ in 0..self.ready.len() {
            let Ok(address) = self.ready.try_recv() else { return };
            if let Some(index) = self.slot_at(address) {
                self.wake(index, Ready::default());
            }
        }
    }

    /// Whether there are more to serve.
    pub(super) fn has_ready(&self) -> bool {
        self.has_more_ready || !self.ready.is_empty()
    }

    pub(super) fn wake(&mut self, index: usize, ready: Ready) {
        let Some(Some(slot)) = self.slots.get_mut(index) else { return };
        match slot.wake(ready, &mut self.scratch, &mut self.tally) {
            None => {}
            Some(Visit::Closed) => self.free(index),
            Some(_) => self.visit(index),
        }
    }
}
