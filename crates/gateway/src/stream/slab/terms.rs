//! Streams whose route has changed what they hear: each is ended and comes back under the new terms.
//!
//! For a moment after a COMMIT the courier brings events of the new rule while streams still have the terms
//! of the old one, and new streams still get them. So a stream comes back from a place before the change, or
//! a gap says that it has missed something. If several changes were made before the routes were read, nobody
//! knows the topics in between, and events of any other topic make it a gap.
//!
//! What was raised by the old rule and came before the routes is brought first: streams that keep up have it
//! when they are compared. One that does not is told by a gap that it leaves events behind: under its new
//! topic nobody gives it these any more. One that is in the middle of a large event is ended after it.
//!
//! A stream goes on when its URL is gone: its page could not come back, and nothing says that the stream
//! hears too little. When the URL is there again, it is compared.
//!
//! Rejected: giving an open stream its new topics. What it has missed meanwhile would come too late in the
//! order, or not at all. Rejected: a look at each stream's route for each event.
//!
//! Not for what the terms are: that is `stream/terms`. Not for when routes are read: that is the extension's
//! main thread.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sse_proto::route::{Route, RouteTable};
use sse_proto::sse::{EventId, GapReason, append_gap, append_ready};

use super::{SLOTS_PER_TURN, Slab};
use crate::stats::Stats;
use crate::stream::audience::Recipient;
use crate::stream::parcel::SlotAddress;
use crate::stream::subscribe::retry;
use crate::stream::terms::Change;

/// A session tells of its COMMIT only after others may have seen it, and events of the new rule may come
/// before. This is how long before, in milliseconds: a process that is ready to run, and has to wait for a
/// processor. One that waits longer may leave streams without the events of that time.
const HEADSTART: u32 = 1000;

/// Items that are looked at for what a stream has missed, and as many for what it leaves behind. Beyond that
/// it is told that it may have missed some.
const MAX_ASKED: u64 = 1024;

/// Items that are looked at before other tasks of the thread get their turn, or twice [`MAX_ASKED`] more: a
/// microsecond or less for each. The other streams are compared in later turns.
const MAX_ASKED_PER_TURN: u64 = 8 * 1024;

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
    /// The addresses of streams that are to end after the large event that they are in the middle of, and
    /// what [`Accord::since`] was when that was found.
    postponed: BTreeMap<u64, u64>,
    /// The address of which to look next.
    next_postponed: u64,
    /// Items that were looked at in this turn.
    asked: Cell<u64>,
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

    /// This many items are looked at.
    fn asks(&self, items: u64) {
        self.asked.set(self.asked.get() + items);
    }

    fn has_time(&self) -> bool {
        self.asked.get() < MAX_ASKED_PER_TURN
    }

    /// The stream of this address has ended.
    pub(super) fn forget(&mut self, address: SlotAddress) {
        self.postponed.remove(&address.to_bits());
    }
}

impl Slab {
    /// Takes note of new routes. To be called before what was published is taken in: what was published
    /// before these routes is brought before streams are compared with them.
    pub(super) fn note_routes(&mut self) {
        let routes = &self.shared.routes;
        let table = routes.tables();
        if table != self.accord.table {
            self.accord.table = table;
            let latest = routes.latest();
            self.accord.look = latest.map(|(routes, generation)| Look { routes, generation, next: 0 });
        }
    }

    /// Looks at some of the streams, if there are routes that they were not compared with. Says whether more
    /// are to be looked at. To be called when what came in this round was brought to all streams that take
    /// it.
    pub(super) fn keep_accord(&mut self) -> bool {
        if self.accord.table != self.shared.routes.tables() {
            // There are newer ones meanwhile, which some streams accord with already: the next round looks.
            return true;
        }
        self.accord.asked.set(0);
        let has_more = self.look();
        self.look_at_postponed();
        if !has_more && self.shared.routes.changes() <= self.accord.generation {
            self.accord.holds_at(self.log.head(), self.now);
        }
        has_more
    }

    /// Says whether more streams are to be looked at.
    fn look(&mut self) -> bool {
        let Some(Look { routes, generation, mut next }) = self.accord.look.take() else { return false };
        let end = (next + SLOTS_PER_TURN).min(self.slots.len());
        let is_next = generation <= self.accord.generation + 1;
        while next < end && self.accord.has_time() {
            self.compare(next, &routes, is_next);
            next += 1;
        }
        if next < self.slots.len() {
            self.accord.look = Some(Look { routes, generation, next });
            return true;
        }
        self.accord.generation = self.accord.generation.max(generation);
        false
    }

    /// Compares some of the streams again that could not be ended yet: each as soon as it is far enough.
    fn look_at_postponed(&mut self) {
        if self.accord.postponed.is_empty() {
            return;
        }
        let Some(routes) = self.shared.routes.present() else { return };
        let next = self.accord.next_postponed;
        let turn = self.accord.postponed.range(next..).take(SLOTS_PER_TURN).map(|(address, _)| *address);
        let turn: Vec<u64> = turn.collect();
        self.accord.next_postponed = 0;
        for bits in turn {
            if !self.accord.has_time() {
                self.accord.next_postponed = bits;
                return;
            }
            if let Some(index) = self.slot_at(SlotAddress::from_bits(bits)) {
                self.compare(index, &routes, false);
            }
            self.accord.next_postponed = bits + 1;
        }
        if self.accord.postponed.range(self.accord.next_postponed..).next().is_none() {
            self.accord.next_postponed = 0;
        }
    }

    /// A stream that begins accords with the routes of this generation. If these are the newest, what came
    /// before now was raised by their rule, or by an earlier one, and what another rule brings comes later:
    /// a stream that came back, and whose topic is soon what it once was, gets nothing twice.
    pub(super) fn raise_floor(&mut self, index: usize, generation: u64) {
        if self.shared.routes.changes() <= generation
            && let Some(slot) = self.slots[index].as_mut().filter(|slot| !slot.is_ending())
        {
            slot.floor = slot.floor.max(self.log.head());
        }
    }

    /// Ends a stream if it would hear something else by these routes. `is_next`: nothing but one change lies
    /// between these and those that it accords with.
    pub(super) fn compare(&mut self, index: usize, routes: &RouteTable, is_next: bool) {
        let address = self.address_of(index);
        let Some(slot) = &self.slots[index] else { return };
        let subscription = &slot.subscription;
        let Some(terms) = subscription.ground.terms.as_ref().filter(|_| !slot.is_ending()) else { return };
        let Some(route) = routes.find(&subscription.ground.path) else { return };
        match terms.change(route, subscription.identity()) {
            None => self.accord.forget(address),
            Some(Change::Shut) => self.finish(index),
            Some(Change::Other { .. }) if !slot.can_finish(&self.log) => {
                let since = self.accord.since();
                self.accord.postponed.entry(address.to_bits()).or_insert(since);
            }
            Some(Change::Other { of_topic, has_snapshot }) => {
                let postponed = self.accord.postponed.remove(&address.to_bits());
                let is_next = is_next && postponed.is_none();
                let since = postponed.unwrap_or_else(|| self.accord.since());
                let change = Changed { route, of_topic, has_snapshot, is_next, since };
                let last = self.last_word(index, &change);
                self.finish_saying(index, &last);
            }
        }
    }

    /// What a stream is told at its end, so that it comes back to the right place.
    fn last_word(&mut self, index: usize, change: &Changed<'_>) -> Vec<u8> {
        let mut last = Vec::new();
        let Some(slot) = &self.slots[index] else { return last };
        if let Some(place) = self.awaited_place(index) {
            // Nothing but the id with which it has come says where it is.
            if change.has_snapshot {
                let open = self.shared.stats.subscribers.load(Ordering::Relaxed);
                let retry = retry(self.settings.retry, open, index as u64);
                append_ready(&mut last, EventId::at(place).marked(), retry);
            }
            return last;
        }
        let (subscription, reached) = (&slot.subscription, slot.reached());
        let Some(terms) = &subscription.ground.terms else { return last };
        // The cursor of a live stream is stale: it has got everything.
        let is_live = slot.is_live();
        let seen = if is_live { reached.max(self.log.head()) } else { reached };
        let mark = |sequence| {
            let id = self.log.id(sequence);
            if change.has_snapshot { id.marked() } else { id }
        };
        let (back_to, missed) = if change.of_topic {
            let since = change.since.max(slot.floor);
            let recipient = Rc::clone(&subscription.recipient);
            let later = terms.recipient_at(change.route, &recipient);
            let back_to = match terms.may_overlap(&recipient) {
                // Nothing that it was sent since then is for it now.
                false => since,
                // Nothing before that place is for it that it was not sent.
                true if is_live => reached.max(since),
                true => reached,
            };
            // A snapshot shows what it has left behind.
            let missed = if !change.has_snapshot && self.leaves_behind(seen, back_to, &recipient, &later) {
                None
            } else {
                self.missed(since, back_to, change, &recipient, &later)
            };
            (back_to, missed)
        } else {
            (seen, Some(0))
        };
        if missed != Some(0) {
            append_gap(&mut last, mark(back_to), GapReason::Unknown, missed);
            Stats::add(&self.shared.stats.gaps_total, 1);
        } else if change.has_snapshot || back_to != reached {
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
        recipient: &Recipient,
        later: &Recipient,
    ) -> Option<u64> {
        let log = &self.log;
        let (from, to) = (since + 1, if change.is_next { back_to } else { log.head() });
        if to < from {
            return Some(0);
        }
        if from < log.base() || to - since > MAX_ASKED {
            return None;
        }
        self.accord.asks(to - since);
        let is_for_either = |sequence| log.is_for(sequence, recipient) || log.is_for(sequence, later);
        if !change.is_next && (from..=to).any(|n| !is_for_either(n) && log.is_for_some_topic(n, recipient)) {
            return None;
        }
        let is_missed = |n: &u64| log.is_for(*n, later) && !log.is_for(*n, recipient);
        Some((from..=back_to).filter(is_missed).count() as u64)
    }

    /// Whether something (or perhaps something) is for a stream that has got everything up to the item
    /// `seen`, and not for it any more when it comes back to `back_to`.
    fn leaves_behind(&self, seen: u64, back_to: u64, recipient: &Recipient, later: &Recipient) -> bool {
        let (log, head) = (&self.log, self.log.head());
        if seen >= head {
            return false;
        }
        if seen + 1 < log.base() || head - seen > MAX_ASKED {
            return true;
        }
        self.accord.asks(head - seen);
        let is_left = |n| log.is_for(n, recipient) && (n <= back_to || !log.is_for(n, later));
        (seen + 1..=head).any(is_left)
    }
}

/// How a stream's route has changed.
struct Changed<'r> {
    route: &'r Route,
    of_topic: bool,
    has_snapshot: bool,
    is_next: bool,
    /// No event of the new rule comes before this item, or is it.
    since: u64,
}

#[cfg(test)]
impl Slab {
    /// Streams whose end is put off.
    pub(super) fn postponed(&self) -> usize {
        self.accord.postponed.len()
    }
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
