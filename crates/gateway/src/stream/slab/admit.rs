//! New streams: each gets a slot, and its beginning.
//!
//! Not for whether they may begin: that is `router`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sse_proto::sse::{append_chunk, append_comment, append_gap, append_ready};

use super::ahead::Waiting;
use super::{Mark, Slab};
use crate::between::outbox::{Severity, escaped};
use crate::stats::Stats;
use crate::stream::parcel::SlotAddress;
use crate::stream::ready::Ready;
use crate::stream::slot::{Opening, Slot, SlotWaker};
use crate::stream::stream_log::Framing;
use crate::stream::subscribe::{Gap, Newcomer, Start, retry};
use crate::stream::wire::Wire;

impl Slab {
    pub(super) fn admit(&mut self) {
        let newcomers = std::mem::take(&mut *self.incoming.queue.borrow_mut());
        let latest = if newcomers.is_empty() { None } else { self.shared.routes.latest() };
        for mut newcomer in newcomers {
            let index = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.marks.push(Mark::default());
                self.slots.len() as u32 - 1
            });
            let mark = &mut self.marks[index as usize];
            // The slot's last stream may have been asked about an item that the new one must be asked about,
            // too.
            mark.asked = 0;
            mark.generation = mark.generation.wrapping_add(1);
            let address = SlotAddress { index, generation: mark.generation };
            let watched = match &mut newcomer.wire {
                Wire::Own(socket) => self.sockets.watch(socket.source(), address),
                Wire::Shared(_) => Ok(()),
            };
            if let Err(error) = watched {
                // As where a connection cannot be accepted: the peer comes again.
                self.shared.outbox.log_limited("watch", Severity::Warning, || {
                    let error = escaped(&error.to_string());
                    format!("a stream cannot be served, because its socket cannot be watched: {error}")
                });
                self.free.push(index);
                continue;
            }
            self.same.share(&mut newcomer.subscription);
            let recipient = &newcomer.subscription.recipient;
            let furthest = self.shared.published.last();
            let start = match &newcomer.call {
                Some(tie) => Start::of_call(tie.since, &self.log),
                None => Start::find(&newcomer.last_event_id, &self.log, furthest, recipient),
            };
            let is_resumed = !newcomer.last_event_id.is_empty();
            let follows = newcomer.subscription.follows;
            let start = if follows { start.of_follower(is_resumed) } else { start };
            if start.ahead.is_none() {
                self.log.postings.join(index, Rc::clone(recipient));
            }
            let is_woken = newcomer.call.is_some() || matches!(newcomer.wire, Wire::Shared(_));
            let waker = || SlotWaker::new(address, self.ready_sender.clone(), Arc::clone(&self.bell));
            let waker = is_woken.then(waker);
            let slot = self.open(newcomer, start, waker);
            let is_revoked = slot.subscription.is_revoked(self.shared.auth.revocations());
            self.slots[index as usize] = Some(slot);
            if let Some(place) = start.ahead {
                self.wait(address, Waiting::for_place(place, start.needs_snapshot));
            }
            // Before anything of the log is written: a call may have waited for long since its token was
            // looked at.
            if is_revoked {
                self.finish(index as usize);
            }
            // The request may have been answered by earlier routes.
            if let Some((routes, generation)) = &latest {
                self.compare(index as usize, routes, false);
                self.raise_floor(index as usize, *generation);
            }
            self.wake(index as usize, Ready::default());
        }
    }

    /// The order of a stream's beginning is C6.4's: connected, ready, a gap if any, what is replayed, live.
    fn open(&mut self, newcomer: Newcomer, start: Start, waker: Option<Arc<SlotWaker>>) -> Slot {
        let stats = &self.shared.stats;
        self.opened += 1;
        let retry = retry(self.settings.retry, stats.subscribers.load(Ordering::Relaxed), self.opened);
        let mut blocks = Vec::new();
        append_comment(&mut blocks, "connected");
        append_ready(&mut blocks, start.ready, retry);
        if let Some(Gap { reason, missed }) = start.gap {
            append_gap(&mut blocks, start.mark(self.log.id(start.position)), reason, missed);
            Stats::add(&stats.gaps_total, 1);
        }
        let mut pending = newcomer.head;
        match newcomer.framing {
            Framing::Chunked => append_chunk(&mut pending, &blocks),
            Framing::Bare => pending.extend_from_slice(&blocks),
        }
        let opening = Opening {
            wire: newcomer.wire,
            framing: newcomer.framing,
            subscription: newcomer.subscription,
            cursor: start.cursor(),
            floor: start.position,
            pending,
            call: newcomer.call,
            waker,
            stream_permit: newcomer.stream_permit,
            open_socket: newcomer.open_socket,
        };
        let follows = opening.subscription.follows;
        let mut slot = Slot::new(opening, self.now);
        if follows {
            slot.follow(start.needs_snapshot && start.ahead.is_none());
        }
        if self.shared.stopping().is_some() {
            slot.end();
        }
        slot
    }
}
