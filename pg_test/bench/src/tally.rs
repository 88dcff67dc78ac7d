//! What all streams have received: how far each publisher's events have come, what is wrong, and how long
//! each delivery took.
//!
//! Not for sockets: crowd.rs.

use std::collections::VecDeque;

use crate::marker::Marker;

/// What must not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Events that were jumped over: lost, or late.
    pub(crate) skipped: u64,
    /// Events that came once more, or after a later one.
    pub(crate) repeated: u64,
    /// Markers that were cut.
    pub(crate) unreadable: u64,
    /// Streams that ended.
    pub(crate) closed: u64,
}

/// One publisher's events, from the first on that not every stream has.
#[derive(Debug, Default)]
struct Way {
    complete: u64,
    /// How many streams have got each.
    got: VecDeque<u32>,
}

/// Of a crowd of streams.
#[derive(Debug)]
pub(crate) struct Tally {
    streams: u32,
    ways: Vec<Way>,
    /// The number that each stream expects next: by stream, then by publisher.
    expected: Vec<u64>,
    pub(crate) faults: Faults,
    pub(crate) deliveries: u64,
    /// Of each delivery, in microseconds.
    pub(crate) delays: Vec<u32>,
}

impl Tally {
    pub(crate) fn new(streams: u32, publishers: usize) -> Self {
        Self {
            streams,
            ways: (0..publishers).map(|_| Way::default()).collect(),
            expected: vec![0; streams as usize * publishers],
            faults: Faults::default(),
            deliveries: 0,
            delays: Vec::new(),
        }
    }

    /// A stream has got an event at `now`.
    pub(crate) fn receive(&mut self, stream: usize, marker: Marker, now: u64) {
        let publishers = self.ways.len();
        let Some(way) = self.ways.get_mut(marker.publisher) else {
            self.faults.unreadable += 1;
            return;
        };
        let expected = &mut self.expected[stream * publishers + marker.publisher];
        if marker.number < *expected {
            self.faults.repeated += 1;
            return;
        }
        self.faults.skipped += marker.number - *expected;
        *expected = marker.number + 1;
        self.deliveries += 1;
        self.delays.push(u32::try_from(now.saturating_sub(marker.sent)).unwrap_or(u32::MAX));
        let Ok(place) = usize::try_from(marker.number.saturating_sub(way.complete)) else { return };
        if way.got.len() <= place {
            way.got.resize(place + 1, 0);
        }
        way.got[place] += 1;
        while way.got.front() == Some(&self.streams) {
            way.got.pop_front();
            way.complete += 1;
        }
    }

    /// How many of a publisher's events every stream has got.
    pub(crate) fn complete(&self, publisher: usize) -> u64 {
        self.ways[publisher].complete
    }

    /// How many events of all publishers every stream has got.
    pub(crate) fn all_complete(&self) -> u64 {
        self.ways.iter().map(|way| way.complete).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Marker {
        Marker { publisher: 0, number, sent: 0 }
    }

    #[test]
    fn an_event_is_complete_when_every_stream_has_it() {
        let mut tally = Tally::new(2, 1);
        tally.receive(0, event(0), 5);
        tally.receive(0, event(1), 5);
        assert_eq!(tally.complete(0), 0);
        tally.receive(1, event(0), 5);
        assert_eq!(tally.complete(0), 1);
        tally.receive(1, event(1), 5);
        assert_eq!((tally.complete(0), tally.deliveries, tally.faults), (2, 4, Faults::default()));
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_counted() {
        let mut tally = Tally::new(1, 1);
        tally.receive(0, event(0), 5);
        tally.receive(0, event(2), 5);
        assert_eq!(tally.faults, Faults { skipped: 1, ..Faults::default() });
        tally.receive(0, event(1), 5);
        tally.receive(0, event(2), 5);
        assert_eq!(tally.faults, Faults { skipped: 1, repeated: 2, ..Faults::default() });
    }
}
