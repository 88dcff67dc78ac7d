//! Where everything is in the stream, as all readers together have seen it.
//!
//! Not for one reader's own view: `streams`.

use std::collections::{BTreeMap, HashMap};

use super::Violation;
use crate::history::{Asked, Key, Position, Reason, Recording, What};

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Event(Key),
    Gap(Reason),
}

#[derive(Debug, Default)]
pub(super) struct Index {
    positions: BTreeMap<Key, Position>,
    /// Items with an id of their own: when the first reader got each.
    gaps: HashMap<Position, u64>,
    /// For each epoch: times, and the highest sequence that any reader had got by then. Both rise.
    progress: HashMap<u64, Vec<(u64, u64)>>,
}

impl Index {
    /// Also reports an id that names two things, and an event that has two ids.
    pub(super) fn new(recording: &Recording, violations: &mut Vec<Violation>) -> Self {
        let mut index = Self::default();
        let mut named: HashMap<Position, (Named, usize)> = HashMap::new();
        let mut receipts: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        for (reader, history) in recording.readers.iter().enumerate() {
            let mut is_fresh = false;
            for (number, item) in history.items.iter().enumerate() {
                if let What::Opened(asked) = item.what {
                    is_fresh = asked == Asked::Nothing;
                }
                let mut complain = |why| violations.push(Violation { reader, item: Some(number), why });
                let (at, what) = match &item.what {
                    What::Event { at, key, .. } => {
                        let known = *index.positions.entry(*key).or_insert(*at);
                        // The same reader's second copy is a double, which is reported elsewhere.
                        if known != *at && named.get(&known).is_some_and(|(_, other)| *other != reader) {
                            complain(format!("{key} has two ids: {at} here, {known} for another reader"));
                        }
                        (*at, Some(Named::Event(*key)))
                    }
                    What::Gap { at, reason, .. } if reason.is_in_place() => {
                        let first_seen = index.gaps.entry(*at).or_insert(item.at);
                        *first_seen = item.at.min(*first_seen);
                        (*at, Some(Named::Gap(*reason)))
                    }
                    What::Gap { at, .. } => (*at, None),
                    // Before a gap it names no place of the stream.
                    What::Ready(at) if is_fresh => (*at, None),
                    _ => continue,
                };
                if let Some(what) = what {
                    let (known, other) = *named.entry(at).or_insert((what, reader));
                    if known != what {
                        let other = &recording.readers[other].name;
                        complain(format!("id {at} names {what} here, and {known} for reader {other}"));
                    }
                }
                receipts.entry(at.epoch).or_default().push((item.at, at.sequence));
            }
        }
        index.progress = receipts.into_iter().map(|(epoch, receipts)| (epoch, rising(receipts))).collect();
        index
    }

    /// The place at which some reader saw an event.
    pub(super) fn position(&self, key: Key) -> Option<Position> {
        self.positions.get(&key).copied()
    }

    /// The last event before this one, of the same writer and delivery, that any reader saw.
    pub(super) fn before(&self, key: Key) -> Option<Position> {
        let first = Key { number: 0, ..key };
        self.positions.range(first..key).next_back().map(|(_, at)| *at)
    }

    /// The next event after this one, of the same writer and delivery, that any reader saw.
    pub(super) fn behind(&self, key: Key) -> Option<(Key, Position)> {
        let last = Key { number: u32::MAX, ..key };
        let mut range =
            self.positions.range((std::ops::Bound::Excluded(key), std::ops::Bound::Included(last)));
        range.next().map(|(key, at)| (*key, *at))
    }

    /// The highest sequence of an epoch that any reader had got at a time. What was raised later comes after
    /// it.
    pub(super) fn received_before(&self, epoch: u64, time: u64) -> Option<u64> {
        let progress = self.progress.get(&epoch)?;
        let count = progress.partition_point(|(at, _)| *at < time);
        Some(progress.get(count.checked_sub(1)?)?.1)
    }

    /// When the first reader got the gap that has this id as its own.
    pub(super) fn first_seen(&self, at: Position) -> Option<u64> {
        self.gaps.get(&at).copied()
    }

    /// The events that some reader saw, and where.
    pub(super) fn seen(&self) -> impl Iterator<Item = (Key, Position)> {
        self.positions.iter().map(|(key, at)| (*key, *at))
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event(key) => key.fmt(f),
            Self::Gap(reason) => write!(f, "a gap ({})", reason.as_str()),
        }
    }
}

fn rising(mut receipts: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    receipts.sort_unstable();
    let mut highest = 0;
    for (_, sequence) in &mut receipts {
        highest = highest.max(*sequence);
        *sequence = highest;
    }
    receipts
}
