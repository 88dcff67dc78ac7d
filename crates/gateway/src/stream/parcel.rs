//! Bytes for one stream that do not come from the log, the address that they go to, and the queue in which
//! they wait for the slab of their runtime thread.
//!
//! Not for when a stream writes them: that is `slot/mail`.

// Snapshots and streamed calls send parcels.
#![allow(dead_code)]

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::bell::Bell;
use crate::stream::overlap::Overlap;

/// Parcels that wait for one slab. It takes all of them in each round; who finds the queue full waits for a
/// round.
const MAX_PARCELS: usize = 1024;

/// A slot of this thread's slab, as long as one stream has it. What is sent there later goes to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotAddress {
    pub(crate) index: u32,
    /// Which of the slot's streams; wraps after four thousand million of them.
    pub(crate) generation: u32,
}

impl SlotAddress {
    /// For where only a number fits.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// A stream's place, told to the task that waits for the stream to begin: from here on the stream gets what
/// comes into the log.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) address: SlotAddress,
    /// Ends, with an error, when the stream has ended, in whatever way.
    pub(crate) gone: oneshot::Receiver<Infallible>,
}

/// Bytes for one stream.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// As they go to the socket, framed. Memory that is counted goes with them (`room::held`): it is given
    /// back when they are written, or when nobody will get them any more. Streams may share them.
    pub(crate) bytes: Bytes,
    /// They come behind everything up to this item of the log, which must have been appended by now; 0 = as
    /// soon as the stream is not in the middle of an event.
    pub(crate) after: u64,
    pub(crate) then: Then,
}

/// How a stream goes on after a parcel.
#[derive(Debug)]
pub(crate) enum Then {
    /// As it was.
    Same,
    /// A stream that was held gets from the log again what is for it.
    GoOn,
    /// The parcel is a snapshot with everything up to this item: a stream that was held gets what comes
    /// behind the item, but for what the snapshot has seen of that.
    Follow { from: u64, overlap: Option<Rc<Overlap>> },
    /// It ends.
    End,
}

/// The parcels of one runtime thread, for tasks of that thread.
pub(crate) struct Parcels {
    waiting: RefCell<Vec<(SlotAddress, Parcel)>>,
    is_closed: Cell<bool>,
    bell: Arc<Bell>,
}

impl Parcels {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { waiting: RefCell::default(), is_closed: Cell::new(false), bell }
    }

    /// Leaves a parcel for a stream. If the stream has ended, the parcel is dropped.
    ///
    /// # Errors
    /// The parcel itself when [`MAX_PARCELS`] wait.
    pub(crate) fn try_send(&self, to: SlotAddress, parcel: Parcel) -> Result<(), Parcel> {
        if self.is_closed.get() {
            return Ok(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MAX_PARCELS {
            return Err(parcel);
        }
        waiting.push((to, parcel));
        self.bell.ring();
        Ok(())
    }

    /// The same, and waits for room.
    pub(crate) async fn send(&self, to: SlotAddress, mut parcel: Parcel) {
        while let Err(back) = self.try_send(to, parcel) {
            parcel = back;
            yield_now().await;
        }
    }

    pub(crate) fn take(&self) -> Vec<(SlotAddress, Parcel)> {
        std::mem::take(&mut *self.waiting.borrow_mut())
    }

    /// There is no slab any more: whatever is sent is dropped.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.waiting.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parcel() -> Parcel {
        Parcel { bytes: Bytes::from_static(b"x"), after: 0, then: Then::Same }
    }

    #[test]
    fn a_full_queue_hands_the_parcel_back_and_a_closed_one_drops_it() {
        let parcels = Parcels::new(Arc::default());
        let to = SlotAddress { index: 0, generation: 1 };
        (0..MAX_PARCELS).for_each(|_| parcels.try_send(to, parcel()).unwrap());
        assert!(parcels.try_send(to, parcel()).is_err());
        assert_eq!(parcels.take().len(), MAX_PARCELS);
        parcels.try_send(to, parcel()).unwrap();
        parcels.close();
        assert!(parcels.take().is_empty());
        parcels.try_send(to, parcel()).unwrap();
        assert!(parcels.take().is_empty());
    }
}
