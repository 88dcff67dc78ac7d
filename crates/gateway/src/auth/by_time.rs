//! A map from names to moments that forgets the earliest when it is full, whatever order they come in.
//!
//! Each insertion costs the logarithm of the size: it is done under a lock that requests wait for.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::Bound;
use std::time::SystemTime;

/// Bytes that a name takes besides the map's own nodes.
pub(crate) trait Weight {
    fn weight(&self) -> usize {
        0
    }
}

/// A map of at most `max` names, which together have at most `max_weight` of [`Weight`].
#[derive(Debug)]
pub(crate) struct ByTime<K> {
    times: HashMap<K, SystemTime>,
    /// The same, by time.
    order: BTreeSet<(SystemTime, K)>,
    weight: usize,
    max: usize,
    max_weight: usize,
}

/// What an insertion has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// The name was there, at this moment or a later one.
    Known,
    /// The name was not there, or only at an earlier moment.
    New,
    /// There was no room: this name or an earlier one is forgotten.
    Forgetting,
}

impl<K: Clone + Ord + Hash + Weight> ByTime<K> {
    pub(crate) fn new(max: usize, max_weight: usize) -> Self {
        Self { times: HashMap::new(), order: BTreeSet::new(), weight: 0, max, max_weight }
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<SystemTime>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.times.get(name).copied()
    }

    /// Of two moments of one name the later one counts.
    pub(crate) fn insert(&mut self, name: K, at: SystemTime) -> Inserted {
        match self.times.get_mut(&name) {
            Some(known) if *known >= at => return Inserted::Known,
            Some(known) => {
                let before = std::mem::replace(known, at);
                self.order.remove(&(before, name.clone()));
                self.order.insert((at, name));
                return Inserted::New;
            }
            None => {}
        }
        self.weight += name.weight();
        self.times.insert(name.clone(), at);
        self.order.insert((at, name));
        let mut outcome = Inserted::New;
        while self.times.len() > self.max || self.weight > self.max_weight {
            if self.forget_first().is_none() {
                break;
            }
            outcome = Inserted::Forgetting;
        }
        outcome
    }

    /// Makes room for one more name of this weight, so that the new one is not forgotten itself. Says whether
    /// one had to be forgotten.
    pub(crate) fn make_room(&mut self, weight: usize) -> bool {
        let mut has_forgotten = false;
        while (self.times.len() >= self.max || self.weight.saturating_add(weight) > self.max_weight)
            && self.forget_first().is_some()
        {
            has_forgotten = true;
        }
        has_forgotten
    }

    /// Whether a new name at this moment would be forgotten at once, because the map is full and no name in
    /// it is earlier.
    pub(crate) fn has_no_place_for(&self, at: SystemTime) -> bool {
        self.times.len() >= self.max && self.order.first().is_some_and(|(first, _)| *first >= at)
    }

    /// Forgets the earliest of the names whose moment is not after `now`, but at most `most` of them.
    pub(crate) fn forget_until(&mut self, now: SystemTime, most: usize) {
        for _ in 0..most {
            if self.order.first().is_none_or(|(at, _)| *at > now) {
                return;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) -> Option<()> {
        let (_, name) = self.order.pop_first()?;
        self.times.remove(&name);
        self.weight -= name.weight();
        Some(())
    }

    /// The names after `last`, in the order of their moments.
    pub(crate) fn page(&self, last: Option<&(SystemTime, K)>, most: usize) -> Vec<(SystemTime, K)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.order.range((from, Bound::Unbounded)).take(most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    impl Weight for &'static str {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_earliest_is_forgotten_whatever_order_they_come_in() {
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]] {
            let names = ["", "one", "two", "three", "four"];
            let mut map = ByTime::new(3, usize::MAX);
            for n in order {
                map.insert(names[n], at(n as u64));
            }
            let kept: Vec<_> = map.page(None, 9).into_iter().map(|(_, name)| name).collect();
            assert_eq!(kept, ["two", "three", "four"], "{order:?}");
            assert_eq!(map.times.len(), 3);
        }
    }

    #[test]
    fn a_later_moment_replaces_an_earlier_one_and_nothing_else_does() {
        let mut map = ByTime::new(3, usize::MAX);
        assert_eq!(map.insert("a", at(5)), Inserted::New);
        assert_eq!(map.insert("a", at(4)), Inserted::Known);
        assert_eq!(map.insert("a", at(5)), Inserted::Known);
        assert_eq!(map.insert("a", at(6)), Inserted::New);
        assert_eq!((map.get("a"), map.page(None, 9).len()), (Some(at(6)), 1));
    }

    #[test]
    fn weight_is_bounded_as_number_is() {
        let mut map = ByTime::new(9, 6);
        assert_eq!(map.insert("aaa", at(1)), Inserted::New);
        assert_eq!(map.insert("bbb", at(2)), Inserted::New);
        assert_eq!(map.insert("c", at(3)), Inserted::Forgetting);
        assert_eq!((map.get("aaa"), map.weight), (None, 4));
        assert_eq!(map.insert("much too long", at(4)), Inserted::Forgetting);
        assert_eq!((map.times.len(), map.weight), (0, 0));
    }

    #[test]
    fn what_room_was_made_for_is_kept_though_it_is_the_earliest() {
        let mut map = ByTime::new(2, usize::MAX);
        assert!(!map.make_room(1));
        map.insert("a", at(5));
        assert!(!map.make_room(1));
        map.insert("b", at(4));
        assert!(map.has_no_place_for(at(4)) && !map.has_no_place_for(at(5)));
        assert!(map.make_room(1));
        assert!(!map.has_no_place_for(at(1)));
        assert_eq!(map.insert("c", at(1)), Inserted::New);
        assert_eq!(map.page(None, 9), [(at(1), "c"), (at(5), "a")]);
    }

    #[test]
    fn room_is_made_for_the_weight_as_for_the_number() {
        let mut map = ByTime::new(9, 6);
        for (name, n) in [("aa", 7), ("bb", 8), ("cc", 9)] {
            map.insert(name, at(n));
        }
        assert!(map.make_room(3));
        assert_eq!(map.page(None, 9), [(at(9), "cc")], "two had to go");
        assert!(!map.make_room(4));
        assert_eq!(map.insert("dddd", at(1)), Inserted::New);
        assert_eq!(map.page(None, 9), [(at(1), "dddd"), (at(9), "cc")]);
    }

    #[test]
    fn what_is_over_is_forgotten_a_few_at_a_time() {
        let mut map = ByTime::new(9, usize::MAX);
        for (name, n) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            map.insert(name, at(n));
        }
        map.forget_until(at(3), 2);
        assert_eq!(map.page(None, 9).len(), 2);
        map.forget_until(at(3), 2);
        assert_eq!(map.page(None, 9), [(at(4), "d")]);
    }

    #[test]
    fn pages_together_are_all_of_it_once() {
        let mut map = ByTime::new(9, usize::MAX);
        for (name, n) in [("a", 1), ("b", 1), ("c", 3), ("d", 2)] {
            map.insert(name, at(n));
        }
        let mut names = Vec::new();
        let mut last = None;
        loop {
            let page = map.page(last.as_ref(), 2);
            let Some(end) = page.last() else { break };
            last = Some(*end);
            names.extend(page.into_iter().map(|(_, name)| name));
        }
        assert_eq!(names, ["a", "b", "d", "c"]);
    }
}
