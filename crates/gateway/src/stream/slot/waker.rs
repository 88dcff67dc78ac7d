//! How a pipe that takes bytes again, or the last event of a call, makes the slab look at its slot.
//!
//! Not for what the slab does then, and not for sockets, which are watched together (`stream/ready`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use crossbeam_channel::Sender;

use super::Slot;
use crate::bell::Bell;
use crate::stream::parcel::SlotAddress;

/// Puts a slot into the ready list when it is woken.
///
/// A waker that outlives its stream names a stream that has gone, and the slab does nothing.
pub(crate) struct SlotWaker {
    slot: SlotAddress,
    /// In the ready list already. Set by a wake, cleared by the slab before it looks.
    queued: AtomicBool,
    ready: Sender<SlotAddress>,
    bell: Arc<Bell>,
}

impl SlotWaker {
    pub(crate) fn new(slot: SlotAddress, ready: Sender<SlotAddress>, bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self { slot, queued: AtomicBool::new(false), ready, bell })
    }

    /// The slab has taken it out of the ready list, and looks now.
    pub(super) fn taken(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            // Without a slab there is nobody to tell.
            let _ = self.ready.send(self.slot);
            self.bell.ring();
        }
    }
}

impl Slot {
    /// Of whatever else than its own socket wakes it; of no consequence for other streams.
    pub(super) fn waker(&self) -> Waker {
        self.waker.as_ref().map_or_else(|| Waker::noop().clone(), |waker| Waker::from(Arc::clone(waker)))
    }
}
