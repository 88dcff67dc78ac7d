//! Streams whose route has changed what they hear: each is ended and comes back under the new terms.
//!
//! For a moment after a COMMIT the courier brings events of the new rule while streams still have the terms
//! of the old one, and new streams still get them. So a stream comes back from a place before the change, or
//! a gap says that it has missed something. If several changes were made before the routes were read, nobody
//! knows the topics in between, and events of any other topic make it a gap.
//!
//! A stream goes on when its URL is gone: its page could not come back, and nothing says that the stream
//! hears too little. When the URL is there again, it is compared.
//!
//! Rejected: giving an open stream its new topics. What it has missed meanwhile would come too late in the
//! order, or not at all. Rejected: a look at each stream's route for each event.
//!
//! Not for what the terms are: that is `stream/terms`. Not for when routes are read: that is the extension's
//! main thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sse_proto::route::{Route, RouteTable};
use sse_proto::sse::{GapReason, append_gap, append_ready};

use super::{SLOTS_PER_TURN, Slab};
use crate::stats::Stats;
use crate::stream::audience::Recipient;
use crate::stream::subscribe::retry;
use crate::stream::terms::{Change, Terms};

/// A session tells of its COMMIT only after others may have seen it, and events of the new rule may come
/// before. This is how long before, in milliseconds: a process that is ready to run, and has to wait for a
/// processor. One that waits longer may leave streams without the events of that time.
const HEADSTART: u32 = 1000;

/// Items that are looked at for what a stream has missed. Beyond that it is told that it may have missed
/// some: a microsecond or less for each, and a turn has 256 streams.
const MAX_ASKED: u64 = 1024;

/// Which routes the streams accord with, and since when these may be outdated.
#[derive(Default)]
pub(super) struct Accord {
    /// The last table that was looked at, as the board counts them.
    table: u64,
    /// All changes up to this one are known to all streams.
    generation: u64,
    look: Option<Look>,
    /// The newest items at two moments, the older one at least [`HEADSTART`] before the last one at which the
    /// routes were the newest.
    places: [u64; 2],
    /// When the second was taken (the slab's milliseconds).
    taken_at: u32,
}

/// A look at all streams.
struct Look {
    routes: Arc<RouteTable>,
    generation: u64,
    /// The slot to look at next.
    next: usize,
}

impl Accord {
    /// The routes were the newest when everything up to the item `head` had come.
    fn holds_at(&mut self, head: u64, now: u32) {
        if now.wrapping_sub(self.taken_at) >= HEADSTART {
            self.places = [self.places[1], head];
            self.taken_at = now;
        }
    }

    /// No event of a later rule comes before this item, or is it.
    fn since(&self) -> u64 {
        self.places[0]
    }
}

impl Slab {
    /// Looks at some of the streams, if there are routes that they were not compared with. Says whether more
    /// are to be looked at. To be called when all streams have been told of what came in this round.
    pub(super) fn keep_accord(&mut self) -> bool {
        let routes = &self.shared.routes;
        let table = routes.tables();
        if table != self.accord.table {
            self.accord.table = table;
            let latest = routes.latest();
            self.accord.look = latest.map(|(routes, generation)| Look { routes, generation, next: 0 });
        }
        if let Some(Look { routes, generation, next }) = self.accord.look.take() {
            let end = (next + SLOTS_PER_TURN).min(self.slots.len());
            let is_next = generation <= self.accord.generation + 1;
            (next..end).for_each(|index| self.compare(index, &routes, is_next));
            if end < self.slots.len() {
                self.accord.look = Some(Look { routes, generation, next: end });
                return true;
            }
            self.accord.generation = self.accord.generation.max(generation);
        }
        if self.shared.routes.changes() <= self.accord.generation {
            self.accord.holds_at(self.log.head(), self.now);
        }
        false
    }

    /// Behind which item a stream that begins behind `position` hears another rule of its route. If its
    /// routes are the newest, what came before now was raised by their rule, or by an earlier one: a stream
    /// that came back, and whose topic is soon what it once was, gets nothing twice.
    pub(super) fn floor(&self, position: u64) -> u64 {
        let is_newest = self.accord.look.is_none()
            && self.accord.table == self.shared.routes.tables()
            && self.shared.routes.changes() <= self.accord.generation;
        if is_newest { position.max(self.log.head()) } else { position }
    }

    /// Ends a stream if it would hear something else by these routes. `is_next`: nothing but one change lies
    /// between these and those that it accords with.
    pub(super) fn compare(&mut self, index: usize, routes: &RouteTable, is_next: bool) {
        let Some(slot) = &self.slots[index] else { return };
        let subscription = &slot.subscription;
        let Some(terms) = subscription.terms.as_ref().filter(|_| !slot.is_ending()) else { return };
        let Some(route) = routes.find(&subscription.path) else { return };
        match terms.change(route, subscription.identity.as_deref()) {
            None => {}
            Some(Change::Shut) => self.finish(index),
            Some(Change::Other { of_topic, has_snapshot }) => {
                let change = Changed { route, of_topic, has_snapshot, is_next };
                let last = self.last_word(index, &change);
                self.finish_saying(index, &last);
            }
        }
    }

    /// What a stream is told at its end, so that it comes back to the right place.
    fn last_word(&mut self, index: usize, change: &Changed<'_>) -> Vec<u8> {
        let mut last = Vec::new();
        let Some(slot) = &self.slots[index] else { return last };
        let (subscription, reached) = (&slot.subscription, slot.reached());
        let Some(terms) = &subscription.terms else { return last };
        let mark = |sequence| {
            let id = self.log.id(sequence);
            if change.has_snapshot { id.marked() } else { id }
        };
        let (back_to, missed) = if change.of_topic {
            let since = self.accord.since().max(slot.floor);
            let recipient = subscription.recipient();
            // Nothing that it was sent since then is for it now, if no event can be for both.
            let overlaps = terms.may_overlap(&recipient);
            let back_to = if overlaps { reached } else { reached.min(since) };
            let missed = self.missed(since, back_to, change, terms, &recipient);
            (back_to, missed)
        } else {
            (reached, Some(0))
        };
        if missed != Some(0) {
            append_gap(&mut last, mark(back_to), GapReason::Unknown, missed);
            Stats::add(&self.shared.stats.gaps_total, 1);
        } else if change.has_snapshot || back_to < reached {
            let open = self.shared.stats.subscribers.load(Ordering::Relaxed);
            append_ready(&mut last, mark(back_to), retry(self.settings.retry, open, index as u64));
        }
        last
    }

    /// How many events since the item `since` a stream gets neither now nor when it comes back to `back_to`:
    /// those of its new topic that lie before that place, and, if there were other changes meanwhile, perhaps
    /// those of a topic that nobody knows any more. `None`: perhaps some.
    fn missed(
        &self,
        since: u64,
        back_to: u64,
        change: &Changed<'_>,
        terms: &Terms,
        recipient: &Recipient,
    ) -> Option<u64> {
        let log = &self.log;
        let (from, to) = (since + 1, if change.is_next { back_to } else { log.head() });
        if to < from {
            return Some(0);
        }
        if from < log.base() || to - since > MAX_ASKED {
            return None;
        }
        let later = terms.recipient_at(change.route, recipient);
        let is_for_either = |sequence| log.is_for(sequence, recipient) || log.is_for(sequence, &later);
        if !change.is_next && (from..=to).any(|n| log.is_for_some_topic(n, recipient) && !is_for_either(n)) {
            return None;
        }
        let is_missed = |n: &u64| log.is_for(*n, &later) && !log.is_for(*n, recipient);
        Some((from..=back_to).filter(is_missed).count() as u64)
    }
}

/// How a stream's route has changed.
struct Changed<'r> {
    route: &'r Route,
    of_topic: bool,
    has_snapshot: bool,
    is_next: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_back_to_only_if_it_was_old_enough_when_the_routes_were_last_the_newest() {
        let mut accord = Accord::default();
        for (head, now, since) in [(1, 999, 0), (2, 1000, 0), (3, 1999, 0), (4, 2000, 2), (5, 2001, 2)] {
            accord.holds_at(head, now);
            assert_eq!(accord.since(), since, "{now}");
        }
        accord.holds_at(9, 50_000);
        assert_eq!(accord.since(), 4);
    }
}
