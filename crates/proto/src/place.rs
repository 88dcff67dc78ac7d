//! Where an event is in the write-ahead log (`sse.durability = wal`, C10.2), and which timelines a server's
//! log goes back over: what says whether a place that somebody has seen is one of this log.
//!
//! A place is the same on every server of a replication tree, so it is the id of its event.
//!
//! Not for the text of an id ([`crate::sse::EventId`]), nor for reading a log.

use crate::codec::{DecodeError, EncodeError, Field, Reader, Writer, fields};

/// A place in the log, in the order of the log: within one history the position and the index decide. The
/// timeline is compared last, and only so that places that are equal are the same; whether it is one of this
/// log's says [`History::standing`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The end of the commit record; of what was sent at once or is told without a commit, of its own record.
    pub lsn: u64,
    /// Number of the event within that position, from 1.
    pub index: u32,
    /// The timeline on which the record at that position begins.
    pub timeline: u32,
}

impl Place {
    /// The index of no event: after all that is at a position.
    pub const BEHIND_ALL: u32 = u32::MAX;

    /// The place of an event.
    pub const fn new(timeline: u32, lsn: u64, index: u32) -> Self {
        Self { lsn, index, timeline }
    }

    /// After all events up to this position.
    pub const fn behind(timeline: u32, lsn: u64) -> Self {
        Self::new(timeline, lsn, Self::BEHIND_ALL)
    }
}

fields!(Place { timeline, lsn, index });

/// A part of a history: one timeline, and from where to where the log is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its number.
    pub timeline: u32,
    /// Where it begins; 0 for the first one that there was, and where that is not known.
    pub begin: u64,
    /// Where it ends, the last position that still belongs to it; [`u64::MAX`] of the present one.
    pub end: u64,
}

fields!(Span { timeline, begin, end });

/// The timelines of a log, the present one first. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History(Vec<Span>);

/// What a place is to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is of this log, if it is anywhere.
    Holds,
    /// This log has gone another way: what was there has never happened.
    Rewound,
    /// It is older than what is known of the history.
    Forgotten,
}

impl History {
    /// Timelines that are kept. Each is a failover; what is older than so many is as good as expired.
    pub const MAX_SPANS: usize = 64;

    /// Of these spans, newest first; the oldest ones are left out beyond [`History::MAX_SPANS`]. `None`:
    /// there is none.
    pub fn new(mut spans: Vec<Span>) -> Option<Self> {
        spans.truncate(Self::MAX_SPANS);
        (!spans.is_empty()).then_some(Self(spans))
    }

    /// One timeline that has always been.
    pub fn of(timeline: u32) -> Self {
        Self(vec![Span { timeline, begin: 0, end: u64::MAX }])
    }

    /// The timeline that the log is on.
    pub fn timeline(&self) -> u32 {
        self.0.first().map_or(0, |span| span.timeline)
    }

    /// Newest first.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// On which timeline a record is that begins here; the oldest one that is known if it is older.
    pub fn timeline_at(&self, begin: u64) -> u32 {
        let at = self.0.iter().find(|span| span.begin <= begin).or(self.0.last());
        at.map_or(0, |span| span.timeline)
    }

    /// Whether a place that somebody has seen is one of this log.
    pub fn standing(&self, place: Place) -> Standing {
        if let Some(span) = self.0.iter().find(|span| span.timeline == place.timeline) {
            let is_within = span.begin <= place.lsn && place.lsn <= span.end;
            return if is_within { Standing::Holds } else { Standing::Rewound };
        }
        match self.0.last() {
            Some(oldest)
                if oldest.begin > 0 && place.timeline < oldest.timeline && place.lsn <= oldest.begin =>
            {
                Standing::Forgotten
            }
            _ => Standing::Rewound,
        }
    }
}

impl<'a> Field<'a> for History {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.list(&self.0)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let spans: Vec<Span> = reader.read()?;
        if spans.len() > Self::MAX_SPANS {
            return Err(DecodeError::Spans);
        }
        Self::new(spans).ok_or(DecodeError::Spans)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::{decode, encode};
    use proptest::prelude::*;

    fn span(timeline: u32, begin: u64, end: u64) -> Span {
        Span { timeline, begin, end }
    }

    #[test]
    fn places_are_in_the_order_of_the_log_whatever_their_timelines_are() {
        let places = [
            Place::new(9, 1, 1),
            Place::new(1, 1, 2),
            Place::behind(1, 1),
            Place::new(2, 2, 0),
            Place::new(1, 2, 1),
            Place::new(1, u64::MAX, 1),
        ];
        assert!(places.is_sorted());
    }

    #[test]
    fn a_place_holds_up_to_the_end_of_its_timeline_and_not_a_byte_more() {
        let history = History::new(vec![span(4, 500, u64::MAX), span(2, 100, 500), span(1, 0, 100)]).unwrap();
        for (timeline, lsn, standing) in [
            (1, 1, Standing::Holds),
            (1, 100, Standing::Holds),
            (1, 101, Standing::Rewound),
            (2, 99, Standing::Rewound),
            (2, 101, Standing::Holds),
            (2, 500, Standing::Holds),
            (2, 501, Standing::Rewound),
            (3, 200, Standing::Rewound),
            (4, 501, Standing::Holds),
            (4, u64::MAX, Standing::Holds),
            (5, 501, Standing::Rewound),
            (0, 1, Standing::Rewound),
        ] {
            assert_eq!(history.standing(Place::new(timeline, lsn, 1)), standing, "{timeline} {lsn}");
        }
        let at: Vec<u32> = [0, 99, 100, 499, 500, u64::MAX].map(|lsn| history.timeline_at(lsn)).into();
        assert_eq!((history.timeline(), at), (4, vec![1, 1, 2, 2, 4, 4]));
    }

    #[test]
    fn what_is_older_than_the_known_history_is_forgotten_and_not_called_rewound() {
        let history = History::new(vec![span(9, 500, u64::MAX), span(7, 300, 500)]).unwrap();
        for (timeline, lsn, standing) in [
            (6, 299, Standing::Forgotten),
            (6, 300, Standing::Forgotten),
            (6, 301, Standing::Rewound),
            (8, 299, Standing::Rewound),
            (7, 400, Standing::Holds),
        ] {
            assert_eq!(history.standing(Place::new(timeline, lsn, 1)), standing, "{timeline} {lsn}");
        }
        assert_eq!(history.timeline_at(1), 7);
    }

    #[test]
    fn a_history_has_one_to_64_timelines() {
        assert_eq!(History::new(Vec::new()), None);
        assert_eq!(decode::<History>(&[0, 0, 0, 0]), Err(DecodeError::Spans));
        for count in [63, 64, 65] {
            let spans: Vec<Span> = (0..count).map(|n| span(100 - n, 0, u64::MAX)).collect();
            let bytes = encode(&spans).unwrap();
            assert_eq!(decode::<History>(&bytes).is_ok(), count <= 64, "{count}");
            let history = History::new(spans).unwrap();
            assert_eq!(history.spans().len(), count.min(64) as usize);
            assert_eq!(history.timeline(), 100, "the oldest are left out");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_place_on_the_timeline_of_its_record_holds(
            ends in proptest::collection::btree_set(1_u64..10_000, 0..5), begin in 0_u64..20_000, length in 1_u64..100,
        ) {
            let mut spans = Vec::new();
            let mut from = 0;
            for (number, end) in ends.iter().chain([&u64::MAX]).enumerate() {
                spans.insert(0, span(number as u32 + 1, from, *end));
                from = *end;
            }
            let history = History::new(spans).unwrap();
            // No record lies across the end of a timeline.
            let end = ends.iter().find(|end| **end > begin).map_or(u64::MAX, |end| *end);
            let place = Place::new(history.timeline_at(begin), end.min(begin + length), 1);
            prop_assert_eq!(history.standing(place), Standing::Holds);
        }
    }
}
