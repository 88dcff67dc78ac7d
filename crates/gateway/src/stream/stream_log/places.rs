//! Where the items of the window are in the write-ahead log (`sse.durability = wal`, C10.2): what ids of a
//! server say whose events come from there, and what an id is to this log (C10.3).
//!
//! In a gateway that keeps its events in memory there is none of this.
//!
//! Not for reading the log: that is a process of its own, which tells [`LogState`].

use std::collections::VecDeque;

use sse_proto::place::{History, Place, Standing};
use sse_proto::sse::{EventId, GapReason, Position};

use super::StreamLog;
use crate::between::batch::LogState;

/// What an item of the window takes in memory for its place.
pub(super) const PLACE_BYTES: usize = size_of::<Place>();

#[derive(Debug, Default)]
pub(super) struct Places {
    /// Of the items of the window, ascending. What was told without a place has the one of what is before it.
    of_items: VecDeque<Place>,
    /// Everything after this place is in the window: where the log was begun with, and later the place of
    /// the last item that has left.
    floor: Place,
    /// All items of the log up to this position have come.
    read: u64,
    /// `None`: nothing has been told of the log yet.
    history: Option<History>,
    /// The window was read back as far as it can be.
    is_complete: bool,
}

/// What somebody's id is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Everything up to this item was seen, be it in the window, before it or not here yet.
    At(u64),
    /// Everything up to this place was seen, and what this thread has ends before it.
    Ahead(Place),
    /// The stream cannot go on from there.
    Lost(GapReason),
}

impl Places {
    pub(super) fn take_state(&mut self, state: &LogState) {
        if self.history.is_none() && self.of_items.is_empty() {
            let timeline = state.history.timeline_at(state.begin.lsn);
            self.floor = Place { timeline, ..state.begin };
        }
        self.history = Some(state.history.clone());
        self.is_complete |= state.caught_up;
    }

    /// The place of the next item, to be told before the item is appended. False: the item is known already,
    /// or lies before what the window can have.
    pub(super) fn push(&mut self, place: Option<Place>) -> bool {
        let last = self.last();
        let is_new = place.is_none_or(|place| place > last);
        self.of_items.push_back(place.filter(|_| is_new).unwrap_or(last));
        is_new
    }

    /// The oldest item leaves.
    pub(super) fn evict(&mut self) {
        self.floor = self.of_items.pop_front().unwrap_or(self.floor);
    }

    /// Of the newest item that ever came.
    fn last(&self) -> Place {
        self.of_items.back().copied().unwrap_or(self.floor)
    }

    /// Of an item, when the window begins with the item `base`.
    fn of(&self, sequence: u64, base: u64) -> Place {
        match sequence.checked_sub(base).map(usize::try_from) {
            Some(Ok(place)) => self.of_items.get(place).copied().unwrap_or(self.last()),
            // The last one that has left.
            None if sequence + 1 == base => self.floor,
            // Whoever comes with this is told that something is missing, on any server.
            _ => self.oldest(),
        }
    }

    /// A place of this log that every window has left behind.
    fn oldest(&self) -> Place {
        let oldest = self.history.as_ref().and_then(|history| history.spans().last());
        oldest.map_or(Place::default(), |span| Place::new(span.timeline, span.begin, 0))
    }

    /// Why nobody can go on from a place, wherever it is in this log. A later timeline than the log's may be
    /// one that this server has not heard of yet. Whoever has seen what was lost has seen all that both logs
    /// have before it, so what has not come yet of that is not for them.
    fn loss(&self, place: Place) -> Option<GapReason> {
        match self.history.as_ref()?.standing(place) {
            _ if self.is_of_later_timeline(place) || self.fork_ahead(place).is_some() => None,
            Standing::Rewound => Some(GapReason::Rewound),
            Standing::Forgotten => Some(GapReason::Expired),
            Standing::Holds => None,
        }
    }

    fn is_of_later_timeline(&self, place: Place) -> bool {
        self.history.as_ref().is_some_and(|history| place.timeline > history.timeline())
    }

    /// Up to where this log can have what somebody has seen whose place is of a lost tail, or of a timeline
    /// beside this log's, if not all of that has come.
    fn fork_ahead(&self, place: Place) -> Option<u64> {
        let spans = self.history.as_ref().map_or(&[][..], History::spans);
        // Whatever has left this log has left it on this timeline, or on an older one.
        let span = spans.iter().find(|span| span.timeline <= place.timeline)?;
        let is_lost = span.timeline < place.timeline || span.end < place.lsn;
        let has_come = self.read.max(self.last().lsn);
        Some(span.end.min(place.lsn)).filter(|fork| is_lost && has_come < *fork)
    }

    fn find(&self, place: Place, base: u64) -> Found {
        if let Some(reason) = self.loss(place) {
            return Found::Lost(reason);
        }
        if self.is_of_later_timeline(place) || self.fork_ahead(place).is_some() {
            return Found::Ahead(place);
        }
        if place < self.floor {
            return Found::Lost(GapReason::Expired);
        }
        let last = self.last();
        if place <= last || place.lsn <= self.read {
            return Found::At(base - 1 + self.of_items.partition_point(|item| *item <= place) as u64);
        }
        Found::Ahead(place)
    }

    /// What somebody is told who has waited in vain for a place that is ahead, as long as nobody knows that
    /// what they wait for is written, up to `lsn`.
    fn doubt(&self, place: Place, lsn: u64) -> Option<GapReason> {
        if self.is_of_later_timeline(place) {
            return Some(GapReason::Rewound);
        }
        match self.fork_ahead(place) {
            Some(fork) => (fork > lsn).then_some(GapReason::Rewound),
            None => (place.lsn > lsn).then_some(GapReason::Unknown),
        }
    }
}

impl StreamLog {
    /// The same log, of events that come from the write-ahead log.
    pub(crate) fn placed(self) -> Self {
        Self { places: Some(Box::default()), ..self }
    }

    /// All items up to this position of the log are here.
    pub(crate) fn has_read(&mut self, position: u64) {
        if let Some(places) = &mut self.places {
            places.read = position;
        }
    }

    /// Whether all is there that can be: streams may begin.
    pub(crate) fn is_complete(&self) -> bool {
        self.places.as_ref().is_none_or(|places| places.is_complete)
    }

    /// The id that says: everything up to this sequence has been seen.
    pub(crate) fn id(&self, sequence: u64) -> EventId {
        match &self.places {
            None => EventId::new(self.epoch, sequence),
            Some(places) => EventId::at(places.of(sequence, self.base)),
        }
    }

    /// An id that is never given, and unknown to everybody.
    pub(crate) fn id_of_nothing(&self) -> EventId {
        match &self.places {
            None => EventId::new(self.epoch, u64::MAX),
            Some(places) => {
                let timeline = places.history.as_ref().map_or(0, History::timeline);
                EventId::at(Place::behind(timeline, u64::MAX))
            }
        }
    }

    /// Up to where somebody with this id has seen everything. `furthest`: the newest item that any thread may
    /// have sent.
    pub(crate) fn find(&self, id: EventId, furthest: u64) -> Found {
        match (&self.places, id.position) {
            (None, Position::Memory { epoch, sequence }) if epoch == self.epoch => {
                let is_known = sequence <= furthest.max(self.head());
                if is_known { Found::At(sequence) } else { Found::Lost(GapReason::Unknown) }
            }
            (Some(places), Position::Log(place)) => places.find(place, self.base),
            // Of another life of the gateway, or of the other `sse.durability`.
            (None, _) | (Some(_), Position::Memory { .. }) => Found::Lost(GapReason::Restarted),
        }
    }

    /// The same for somebody who waits for this place: `None` as long as it is still ahead.
    pub(crate) fn reached(&self, place: Place) -> Option<Found> {
        let found = self.places.as_ref()?.find(place, self.base);
        (!matches!(found, Found::Ahead(_))).then_some(found)
    }

    /// Why a place that is ahead may never come: `None` if the log is known to be written so far, up to
    /// `lsn`.
    pub(crate) fn doubt(&self, place: Place, lsn: u64) -> Option<GapReason> {
        self.places.as_ref()?.doubt(place, lsn)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use sse_proto::place::Span;

    use super::*;

    fn places(floor: u64, of_items: &[(u64, u32)]) -> Places {
        let span = |timeline, begin, end| Span { timeline, begin, end };
        let history = History::new(vec![span(3, 500, u64::MAX), span(1, 100, 500)]).unwrap();
        let mut places = Places::default();
        places.take_state(&LogState { history, begin: Place::behind(9, floor), caught_up: false });
        for (lsn, index) in of_items {
            assert!(places.push(Some(at(*lsn, *index))));
        }
        places
    }

    fn at(lsn: u64, index: u32) -> Place {
        Place::new(if lsn <= 500 { 1 } else { 3 }, lsn, index)
    }

    #[test]
    fn an_id_is_found_in_the_window_also_between_two_events_and_in_the_middle_of_a_transaction() {
        // The first item is the 7th.
        let places = places(200, &[(210, 1), (210, 2), (210, 3), (400, 1), (510, 1)]);
        for (place, item) in [
            (Place::behind(1, 200), 6),
            (at(205, 1), 6),
            (at(210, 0), 6),
            (at(210, 1), 7),
            (at(210, 2), 8),
            (at(210, 3), 9),
            (Place::behind(1, 210), 9),
            (at(399, 9), 9),
            (at(400, 1), 10),
            (at(500, 1), 10),
            (at(509, 1), 10),
            (at(510, 1), 11),
        ] {
            assert_eq!(places.find(place, 7), Found::At(item), "{place:?}");
        }
    }

    #[test]
    fn an_id_ahead_is_known_up_to_the_known_end_and_not_a_byte_further() {
        let places = places(200, &[(510, 1), (510, 2)]);
        assert_eq!(places.doubt(at(510, 3), 510), None);
        for (place, end, is_known) in [
            (at(511, 1), 510, false),
            (at(511, 1), 511, true),
            (at(600, 1), 599, false),
            (at(600, 1), 600, true),
            (at(600, 1), 601, true),
            (at(u64::MAX, 1), u64::MAX - 1, false),
        ] {
            assert_eq!(places.find(place, 1), Found::Ahead(place), "{place:?}");
            let wanted = (!is_known).then_some(GapReason::Unknown);
            assert_eq!(places.doubt(place, end), wanted, "{place:?} {end}");
        }
        // Of a failover that this server has not heard of, or of one that was lost.
        for place in [Place::new(4, 210, 1), Place::new(4, 510, 1), Place::new(u32::MAX, u64::MAX, 1)] {
            assert_eq!(places.find(place, 1), Found::Ahead(place), "{place:?}");
            assert_eq!(places.doubt(place, u64::MAX), Some(GapReason::Rewound), "{place:?}");
        }
    }

    #[test]
    fn what_the_window_has_left_has_expired_and_what_never_was_is_rewound() {
        let mut places = places(200, &[(210, 1), (220, 1), (510, 1)]);
        places.evict();
        for (place, reason) in [
            (at(209, 1), GapReason::Expired),
            (at(210, 0), GapReason::Expired),
            (at(101, 1), GapReason::Expired),
            // Before all that is known of the history.
            (Place::new(0, 100, 1), GapReason::Expired),
            (Place::new(1, 501, 1), GapReason::Rewound),
            (Place::new(2, 210, 1), GapReason::Rewound),
            (Place::new(3, 499, 1), GapReason::Rewound),
            (Place::new(0, 101, 1), GapReason::Rewound),
        ] {
            assert_eq!(places.find(place, 2), Found::Lost(reason), "{place:?}");
        }
        assert_eq!(places.find(at(210, 1), 2), Found::At(1), "the last that has left is where it begins");
        assert_eq!(places.of(1, 2), at(210, 1));
        assert_eq!(places.find(places.of(0, 2), 2), Found::Lost(GapReason::Expired));
    }

    // Told earlier, they would get what they have seen once more. A new primary may hold that until it has a
    // standby, so no time is enough.
    #[test]
    fn who_has_seen_what_was_lost_is_told_so_when_all_that_is_before_it_has_come() {
        let end = Place::new(1, 500, 1);
        // Of the tail of timeline 1; of a timeline beside this log's, which has left it at 500 or before.
        for (lost, fork) in
            [(Place::new(1, 520, 1), 500), (Place::new(2, 520, 1), 500), (Place::new(2, 480, 1), 480)]
        {
            let mut places = places(200, &[(210, 1)]);
            for read in [0, 300, fork - 1] {
                places.read = read;
                assert_eq!(places.find(lost, 1), Found::Ahead(lost), "{lost:?} {read}");
                for (known, doubt) in [(fork - 1, Some(GapReason::Rewound)), (fork, None), (u64::MAX, None)] {
                    assert_eq!(places.doubt(lost, known), doubt, "{lost:?} {known}");
                }
            }
            assert_eq!(places.find(end, 1), Found::Ahead(end), "that is of this log");
            places.read = fork;
            assert_eq!(places.find(lost, 1), Found::Lost(GapReason::Rewound));
            let of_items = self::places(200, &[(210, 1), (510, 1)]);
            assert_eq!(of_items.find(lost, 1), Found::Lost(GapReason::Rewound));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        // The model keeps all places that ever were, and looks at each.
        #[test]
        fn every_id_is_found_as_if_all_places_were_looked_at(
            told in prop::collection::vec(prop::option::weighted(0.9, (200_u64..230, 0_u32..3)), 0..40),
            evicted in 0_usize..40,
            asked in prop::collection::vec((195_u64..235, 0_u32..4), 20),
            read in 195_u64..240,
        ) {
            let mut places = places(200, &[]);
            places.read = read;
            let (mut floor, mut last) = (Place::behind(1, 200), Place::behind(1, 200));
            let mut all = Vec::new();
            for place in &told {
                let place = place.map(|(lsn, index)| at(lsn, index));
                let is_new = place.is_none_or(|place| place > last);
                prop_assert_eq!(places.push(place), is_new);
                last = if is_new { place.unwrap_or(last) } else { last };
                all.push(last);
            }
            for place in all.iter().take(evicted) {
                floor = *place;
                places.evict();
            }
            let base = evicted.min(all.len()) as u64 + 1;
            for (lsn, index) in asked {
                let place = at(lsn, index);
                let wanted = if place < floor {
                    Found::Lost(GapReason::Expired)
                } else if place <= last || lsn <= read {
                    Found::At(all.iter().filter(|item| **item <= place).count() as u64)
                } else {
                    Found::Ahead(place)
                };
                prop_assert_eq!(places.find(place, base), wanted);
            }
            // Who has an item goes on after all that have its place.
            for sequence in base - 1..=all.len() as u64 {
                let place = places.of(sequence, base);
                let behind = all.iter().filter(|item| **item <= place).count() as u64;
                prop_assert_eq!(places.find(place, base), Found::At(behind));
            }
        }
    }

    #[test]
    fn what_is_told_twice_is_known_and_what_has_no_place_comes_behind_what_is_before_it() {
        let mut places = places(200, &[]);
        assert_eq!(places.of(0, 1), Place::behind(1, 200), "on the timeline of the log");
        for (place, is_new, is_at) in [
            (Some(at(199, 1)), false, Place::behind(1, 200)),
            (Some(at(210, 2)), true, at(210, 2)),
            (Some(at(210, 2)), false, at(210, 2)),
            (Some(at(210, 1)), false, at(210, 2)),
            (None, true, at(210, 2)),
            (Some(at(210, 3)), true, at(210, 3)),
        ] {
            assert_eq!(places.push(place), is_new, "{place:?}");
            assert_eq!(places.last(), is_at);
        }
        assert_eq!(places.find(at(210, 2), 1), Found::At(5));
    }
}
