//! Bytes for one stream that do not come from the log, and the address that they go to.
//!
//! Not for when a stream writes them: that is `slot/mail`.

use std::rc::Rc;

use bytes::Bytes;

use crate::stream::overlap::Overlap;

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

/// Bytes for one stream, which are written as soon as it is not in the middle of an event.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// As they go to the socket, framed. Memory that is counted goes with them (`room::held`): it is given
    /// back when they are written, or when nobody will get them any more. Streams may share them.
    pub(crate) bytes: Bytes,
    pub(crate) then: Then,
}

/// How a stream that was held goes on after a parcel.
#[derive(Debug)]
pub(crate) enum Then {
    /// It gets from the log again what is for it.
    GoOn,
    /// The parcel is a snapshot with everything up to this item: the stream gets what comes after the item,
    /// but for what the snapshot has seen of that.
    Follow { from: u64, overlap: Option<Rc<Overlap>> },
    /// There is no snapshot: the stream gets what comes after this item.
    Lack { from: u64 },
}
