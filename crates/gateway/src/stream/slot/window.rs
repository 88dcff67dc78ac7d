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
        let missed = log.missed_since(self.position(), &member.recipient);
        self.lose(log, GapReason::Slow, missed, tally);
    }

    /// It waits for what comes later than it should begin: until [`Slot::begin_behind`] or
    /// [`Slot::begin_anew`], nothing of the log is for it.
    pub(crate) fn stand_by(&mut self) {
        self.has_caught_up = true;
    }

    /// It goes on after this item, perhaps with a snapshot.
    pub(crate) fn begin_behind(&mut self, position: u64, needs_snapshot: bool) {
        self.cursor = Cursor::before(position + 1);
        self.floor = self.floor.max(position);
        self.has_caught_up = false;
        if needs_snapshot {
            self.wish();
        }
    }

    /// It cannot go on from where it was: a gap says why, and it goes on with what comes now.
    pub(crate) fn begin_anew(&mut self, log: &StreamLog, reason: GapReason, tally: &mut Tally) {
        self.begin_behind(log.head(), false);
        self.lose(log, reason, None, tally);
    }

    fn lose(&mut self, log: &StreamLog, reason: GapReason, missed: Option<u64>, tally: &mut Tally) {
        let mut gap = Vec::new();
        let id = log.id(log.head());
        append_gap(&mut gap, if self.is_follower() { id.marked() } else { id }, reason, missed);
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
