//! How the stream of a call ends: its last event comes from the task that owns the call, and is written piece
//! by piece once everything before it is.
//!
//! Not for what it says: that is `call`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{End, MAX_REST_BYTES, Slot};
use crate::room::slowest;
use crate::stream::of_call::{CallTie, LastEvent};
use crate::stream::stream_log::StreamLog;

/// Bytes of the last event that are encoded at a time. As much is kept of an event that has left the window,
/// never both.
const PIECE_BYTES: usize = MAX_REST_BYTES;

/// What is still to come.
pub(super) enum Last {
    Awaited(Box<CallTie>),
    /// It has come, and waits for what is before it. The time that the peer may take for it runs.
    Here(Box<Open>),
    /// It has begun.
    Open(Box<Open>),
}

pub(super) struct Open {
    event: LastEvent,
    /// When it began (the slab's milliseconds), and what the peer had taken by then.
    since: u32,
    taken: u64,
}

impl Slot {
    /// Whether it is in the middle of its last event.
    pub(super) fn has_begun_last(&self) -> bool {
        matches!(self.last, Some(Last::Open(_)))
    }

    /// Whether its last event is still to come.
    pub(super) fn awaits_last(&self) -> bool {
        matches!(self.last, Some(Last::Awaited(_) | Last::Here(_)))
    }

    /// Begins the last event, if it has come; otherwise the slot is looked at again when it comes. To be
    /// called when everything before it is written.
    pub(super) fn begin_last(&mut self, now: u32) -> bool {
        // As most streams have none: not even a waker is made.
        if self.last.is_none() {
            return false;
        }
        if let Some(Last::Here(open)) = self.last.take_if(|last| matches!(last, Last::Here(_))) {
            self.last = Some(Last::Open(open));
            return true;
        }
        let waker = self.waker();
        let Some(Last::Awaited(tie)) = &mut self.last else { return false };
        match Pin::new(&mut tie.last).poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => return false,
            // The task has ended without a word, as it does when the gateway stops: the stream ends, too.
            Poll::Ready(Err(_)) => {
                self.last = None;
                self.end = End::AfterRest;
            }
            Poll::Ready(Ok(event)) => {
                self.last = Some(Last::Open(Box::new(Open { event, since: now, taken: self.bytes })));
            }
        }
        true
    }

    /// Queues the next piece of the last event, or the end of the stream after it.
    pub(super) fn queue_last(&mut self, log: &StreamLog) {
        let id = log.id(self.position());
        let Some(Last::Open(open)) = &mut self.last else { return };
        let mut piece = Vec::new();
        if open.event.append_piece(&mut piece, id, PIECE_BYTES) {
            self.queue(&piece);
        } else {
            self.last = None;
            self.end = End::AfterRest;
        }
    }

    /// The stream is to end early. Says whether that is possible without a break in the middle of an event.
    pub(super) fn forget_last(&mut self) -> bool {
        match &self.last {
            Some(Last::Open(open)) if open.event.is_in_the_middle() => open.event.rest() <= MAX_REST_BYTES,
            _ => {
                self.last = None;
                true
            }
        }
    }

    /// Whether the peer takes its last event too slowly, as it may not take other answers either (C7.2). The
    /// memory of the result is held from when it has come, so what is before it counts, too.
    pub(crate) fn is_too_slow(&mut self, now: u32) -> bool {
        if let Some(Last::Awaited(tie)) = &mut self.last
            && let Ok(event) = tie.last.try_recv()
        {
            self.last = Some(Last::Here(Box::new(Open { event, since: now, taken: self.bytes })));
        }
        let Some(Last::Here(open) | Last::Open(open)) = &self.last else {
            return self.takes_mail_too_slowly(now);
        };
        let since = Duration::from_millis(u64::from(now.wrapping_sub(open.since)));
        since >= slowest(self.bytes - open.taken)
    }
}
