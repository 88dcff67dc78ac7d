//! A subscriber and the window: what it keeps of what leaves, and what it is told when it has fallen out.
//!
//! Not for when something leaves: that is `slab/keep`.

use sse_proto::sse::{GapReason, append_gap};

use super::{MAX_REST_BYTES, Slot, Tally};
use crate::stream::posting::Member;
use crate::stream::stream_log::{Cursor, Run, StreamLog};

impl Slot {
    /// Prepares for everything before `sequence` leaving the window: the rest of an event that was begun is
    /// kept, and the cursor of a slot that misses nothing moves past what leaves. Says whether the slot can
    /// go on.
    pub(crate) fn prepare_eviction(
        &mut self,
        log: &StreamLog,
        member: Option<&Member>,
        sequence: u64,
    ) -> bool {
        if self.is_live() || self.cursor.next >= sequence || self.cursor.next < log.base() {
            return true;
        }
        if !self.keep_rest(log) {
            return false;
        }
        let Some(member) = member else { return true };
        match log.run(self.cursor, member, self.framing) {
            Run::Bytes { from, .. } => self.cursor = from,
            Run::CaughtUp(cursor) | Run::Paused(cursor) => self.cursor = cursor,
            Run::FellOut => {}
        }
        true
    }

    /// Copies the rest of an event that was begun out of the log. Says whether that was possible.
    pub(super) fn keep_rest(&mut self, log: &StreamLog) -> bool {
        if !self.can_keep_rest(log) {
            return false;
        }
        if self.cursor.written > 0 {
            self.pending.extend_from_slice(log.rest(self.cursor, self.framing));
            self.cursor = Cursor::before(self.cursor.next + 1);
        }
        true
    }

    /// Whether it is in the middle of no event, or little of that is left.
    pub(super) fn can_keep_rest(&self, log: &StreamLog) -> bool {
        self.cursor.written == 0 || log.rest(self.cursor, self.framing).len() <= MAX_REST_BYTES
    }

    pub(super) fn fall_out(&mut self, log: &StreamLog, member: &Member, tally: &mut Tally) {
        let mut gap = Vec::new();
        let missed = log.missed_since(self.position(), &member.recipient);
        let id = log.id(log.head());
        append_gap(&mut gap, if self.is_follower() { id.marked() } else { id }, GapReason::Slow, missed);
        self.queue(&gap);
        self.cursor = Cursor::before(log.head() + 1);
        self.wish();
        tally.gaps += 1;
    }
}

#[cfg(test)]
impl Slot {
    /// As if so many bytes of this item were written, and the socket took no more.
    pub(crate) fn stand_in(&mut self, sequence: u64, written: u32) {
        self.cursor = Cursor::before(sequence);
        self.cursor.written = written;
        self.has_caught_up = false;
    }

    /// As if so many bytes of this item were written: whether the rest is kept when the item leaves.
    pub(crate) fn keeps_rest(&mut self, log: &StreamLog, sequence: u64, written: usize) -> bool {
        self.cursor = Cursor::before(sequence);
        self.cursor.written = written as u32;
        self.keep_rest(log)
    }
}
