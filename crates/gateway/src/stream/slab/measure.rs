//! Measuring how long events took from their RAISE or commit to the sockets of this thread, and for how many
//! of its streams each was ([`crate::measures`]).
//!
//! The clock is asked once in a round, when all streams that can take the round's events have got them: so an
//! event is as late as the last of its streams is, or, where others came during the walk, as the last of
//! theirs is. What a stream lags behind is not in it (`sse.subscribers` has that).
//!
//! Not for counters: the tally has these.

use std::sync::Arc;

use sse_proto::record::raised_at;

use super::Slab;
use crate::between::batch::{Batch, Item};
use crate::measures::monotonic_nanoseconds;
use crate::stream::posting::PUBLIC;

/// Events of one round that are noted without new memory; after a round with more the memory is given back.
const KEPT_EVENTS: usize = 4096;

/// What is noted of one item.
#[derive(Debug, Clone, Copy)]
struct Noted {
    /// 0: it is not measured.
    raised_at: u64,
    streams: u64,
}

/// The items of one round, from the first one on, and the canary that came after them.
#[derive(Debug, Default)]
pub(super) struct Round {
    items: Vec<Noted>,
    canary: u64,
    /// Batches whose events an inspector is to see.
    watched: Vec<Arc<Batch>>,
}

impl Round {
    /// A batch has come in a round that begins with the item `first`.
    pub(super) fn take(&mut self, batch: &Arc<Batch>, first: u64) {
        if batch.reach.is_watched() && self.watched.try_reserve(1).is_ok() {
            self.watched.push(Arc::clone(batch));
        }
        self.canary = self.canary.max(batch.canary);
        // Where a batch does not follow the one before, nothing more is measured until the next round; nor
        // where there is no memory for it.
        if batch.first_sequence != first + self.items.len() as u64
            || self.items.try_reserve(batch.items.len()).is_err()
        {
            return;
        }
        self.items.extend(batch.items.iter().map(|item| {
            let record = match item {
                Item::Record(range) => batch.bytes.get(range.clone()),
                Item::Overflow { .. } | Item::Lost(_) => None,
            };
            Noted { raised_at: record.map_or(0, raised_at), streams: 0 }
        }));
    }

    /// For the next round.
    fn clear(&mut self) {
        self.items.clear();
        self.items.shrink_to(KEPT_EVENTS);
    }

    pub(super) fn take_watched(&mut self) -> Vec<Arc<Batch>> {
        std::mem::take(&mut self.watched)
    }

    /// For how many streams an item is.
    pub(super) fn streams(&self, sequence: u64, first: u64) -> u64 {
        let place = sequence.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.items.get(place)).map_or(0, |noted| noted.streams)
    }

    /// An item is for so many streams more.
    pub(super) fn is_for(&mut self, sequence: u64, first: u64, streams: u64) {
        let place = sequence.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(noted) = place.and_then(|place| self.items.get_mut(place)) {
            noted.streams += streams;
        }
    }
}

impl Slab {
    /// The walk is about to bring the round's public items, from this one on, to all streams that take the
    /// public lane.
    pub(super) fn note_walk(&mut self, from: u64) {
        let streams = self.log.postings.slots(PUBLIC).len() as u64;
        for sequence in from..=self.log.head() {
            if self.log.is_public(sequence) {
                self.round.is_for(sequence, self.first, streams);
            }
        }
    }

    /// The round's events have been handed to the sockets that take them.
    pub(super) fn measure(&mut self) {
        if self.round.canary > 0 {
            self.shared.canary.note(self.number, std::mem::take(&mut self.round.canary));
        }
        if self.round.items.is_empty() {
            return;
        }
        if let Some(measures) = self.shared.measures.of_thread(self.number) {
            let now = monotonic_nanoseconds();
            for noted in self.round.items.iter().filter(|noted| noted.raised_at > 0) {
                measures.streams.observe(noted.streams);
                if noted.streams > 0 {
                    measures.delay.observe(now.saturating_sub(noted.raised_at));
                }
            }
        }
        self.round.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_round_of_more_than_4096_events_the_memory_for_them_is_given_back() {
        for (events, is_kept) in [(4095, true), (4096, true), (4097, false), (10_000, false)] {
            let mut batch = Batch::new(1);
            (0..events).for_each(|_| batch.push_overflow(None));
            let mut round = Round::default();
            round.items.reserve_exact(events);
            round.take(&Arc::new(batch), 1);
            let capacity = round.items.capacity();
            assert!(round.items.len() == events && capacity >= events);
            round.clear();
            let kept = round.items.capacity();
            assert_eq!((round.items.len(), kept == capacity), (0, is_kept), "{events}");
            assert!(kept <= KEPT_EVENTS);
        }
    }
}
