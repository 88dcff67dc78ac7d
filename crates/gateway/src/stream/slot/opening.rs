//! What a slot is made of.
//!
//! Not for where its stream begins: that is `subscribe`.

use std::sync::Arc;
use std::time::SystemTime;

use super::last::Last;
use super::{End, Slot, SlotWaker};
use crate::entry::admission::{OpenSocket, StreamPermit};
use crate::stream::of_call::CallTie;
use crate::stream::stream_log::{Cursor, Framing};
use crate::stream::subscribe::Subscription;
use crate::stream::wire::Wire;

/// What a slot is made of.
pub(crate) struct Opening {
    pub(crate) wire: Wire,
    pub(crate) framing: Framing,
    pub(crate) subscription: Subscription,
    pub(crate) cursor: Cursor,
    pub(crate) floor: u64,
    pub(crate) pending: Vec<u8>,
    pub(crate) call: Option<Box<CallTie>>,
    pub(crate) waker: Option<Arc<SlotWaker>>,
    pub(crate) stream_permit: StreamPermit,
    pub(crate) open_socket: Option<OpenSocket>,
}

impl Slot {
    pub(crate) fn new(opening: Opening, now: u32) -> Self {
        Self {
            cursor: opening.cursor,
            has_caught_up: false,
            is_blocked: false,
            has_stalled: false,
            end: End::No,
            framing: opening.framing,
            progress_at: now,
            sent_at: now,
            junk_bytes: 0,
            pending_written: 0,
            pending: opening.pending,
            mail: None,
            follower: None,
            last: opening.call.map(Last::Awaited),
            waker: opening.waker,
            wire: opening.wire,
            subscription: opening.subscription,
            connected_at: SystemTime::now(),
            floor: opening.floor,
            events: 0,
            bytes: 0,
            stream_permit: opening.stream_permit,
            _open_socket: opening.open_socket,
        }
    }

    /// The stream has ended: what others may share of it.
    pub(crate) fn into_subscription(self) -> Subscription {
        self.subscription
    }
}
