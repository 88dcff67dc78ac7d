//! Bringing new items to their streams: a walk over all streams that take the public lane, and the takers of
//! everything else.
//!
//! Not for what is written to a stream: `slot` and `stream_log` see to that.

use super::{SLOTS_PER_TURN, Slab};
use crate::stream::posting::PUBLIC;

/// After this many streams were asked, at the end of the event that asked them, other tasks of the thread get
/// a turn; one event may ask all streams. Asking a stream costs a look-up for each of its names (a
/// microsecond in all), however long the event's list is.
const ASKED_PER_TURN: u64 = 1000;

/// Slots walked before the slab looks at what has come meanwhile: a tenth of a millisecond or two.
const SLOTS_PER_LOOK: usize = 32;

/// What becomes of events that come during a pass. In the second one they are left for the next round, so
/// that a round ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Taken,
    Left,
}

impl Slab {
    /// Tells the takers of everything that came in this round from the item `from` on, with turns for the
    /// other tasks of the thread. No stream joins or leaves meanwhile.
    pub(super) async fn tell_all(&mut self, from: u64) {
        let mut asked = self.tally.asked;
        for sequence in from.max(self.log.base())..=self.log.head() {
            self.tell_takers(sequence);
            if self.tally.asked - asked >= ASKED_PER_TURN {
                asked = self.tally.asked;
                self.incoming.pause().await;
            }
        }
    }

    /// Asks each stream in an item's lists whether the item is for it, and tells it if so.
    fn tell_takers(&mut self, sequence: u64) {
        for list in self.log.lists(sequence) {
            for &index in self.log.postings.slots(*list) {
                let Some(mark) = self.marks.get_mut(index as usize) else { continue };
                if std::mem::replace(&mut mark.asked, sequence) == sequence {
                    continue;
                }
                self.tally.asked += 1;
                let member = self.log.postings.member(index);
                if !member.is_some_and(|member| self.log.admits(sequence, member)) {
                    continue;
                }
                let Some(Some(slot)) = self.slots.get_mut(index as usize) else { continue };
                self.tally.woken += 1;
                self.round.is_for(sequence, self.first, 1);
                slot.expect(sequence, self.first);
                if !std::mem::replace(&mut mark.is_taker, true) {
                    self.takers.push(index);
                }
            }
        }
    }

    /// Serves every stream that takes the public lane. What comes meanwhile is sent along to the streams that
    /// have not had their turn, and a second pass brings it to the others: so the first event of a burst does
    /// not have a walk of its own, with a write for each stream, before the rest of the burst has one.
    pub(super) async fn walk(&mut self) {
        if self.pass(Meanwhile::Taken).await {
            self.pass(Meanwhile::Left).await;
        }
    }

    /// One pass, from the end of the list to its beginning: a stream that leaves is replaced by the last one,
    /// which has had its turn, and a new one comes last and was served when it came. Says whether anything of
    /// the public lane was taken in meanwhile.
    async fn pass(&mut self, meanwhile: Meanwhile) -> bool {
        let mut place = self.log.postings.slots(PUBLIC).len();
        let (mut walked, mut has_more) = (0, false);
        while place > 0 {
            place -= 1;
            // Several streams may have left since.
            let Some(&index) = self.log.postings.slots(PUBLIC).get(place) else { continue };
            self.serve(index as usize);
            walked += 1;
            if walked % SLOTS_PER_LOOK == 0 && meanwhile == Meanwhile::Taken && !self.batches.is_empty() {
                let from = self.log.head() + 1;
                if self.take_more() {
                    has_more = true;
                    self.note_walk(from);
                }
                self.tell_all(from).await;
            }
            if walked % SLOTS_PER_TURN == 0 {
                self.give_turn().await;
            }
        }
        has_more
    }

    /// Serves the streams that were told of an item which the walk has not brought them.
    pub(super) async fn serve_takers(&mut self) {
        let mut served = 0;
        while let Some(index) = self.takers.pop() {
            self.marks[index as usize].is_taker = false;
            if self.slots[index as usize].as_ref().is_some_and(|slot| !slot.is_live()) {
                self.serve(index as usize);
            }
            served += 1;
            if served % SLOTS_PER_TURN == 0 {
                self.give_turn().await;
            }
        }
    }

    async fn give_turn(&mut self) {
        self.incoming.pause().await;
        self.now = self.started.elapsed().as_millis() as u32;
        self.admit();
        self.serve_ready();
    }

    /// There is something new for this stream.
    pub(super) fn serve(&mut self, index: usize) {
        let Some(slot) = &mut self.slots[index] else { return };
        if slot.has_got(self.log.head()) {
            return;
        }
        slot.refresh(self.first);
        if slot.is_blocked() {
            self.note_behind(index);
        } else {
            self.visit(index);
        }
    }
}
