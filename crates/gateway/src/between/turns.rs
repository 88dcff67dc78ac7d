//! Whose turn it is among many that wait: of all parties, one that has the fewest running; of those, the one
//! whose last turn is longest ago; its own, in the order in which they came.
//!
//! So whoever has a thousand waiting keeps nobody else waiting for longer than one of them takes, also where
//! only one runs at a time. The price: while a long one of a party runs, its further ones wait until those of
//! parties with fewer running have had their turn, as long as such parties come. A party that comes anew
//! takes its place after those that have not had their turn since: otherwise parties that come all the time
//! would go before one that waits.
//!
//! Every step costs a few look-ups, however many wait.
//!
//! Not for how many may wait or run: that is known to whoever has the places.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

pub(crate) struct Turns<P> {
    parties: HashMap<P, Party>,
    /// Those that have something waiting, in the order in which they get their turn.
    order: BTreeSet<(Place, P)>,
    /// Turns so far.
    turns: u64,
}

#[derive(Default)]
struct Party {
    running: usize,
    last_turn: u64,
    /// By number: numbers rise.
    waiting: BTreeSet<u64>,
}

/// How many of a party run, which was its last turn, and its oldest that waits.
type Place = (usize, u64, u64);

impl Party {
    fn place(&self) -> Option<Place> {
        self.waiting.first().map(|oldest| (self.running, self.last_turn, *oldest))
    }
}

impl<P> Default for Turns<P> {
    fn default() -> Self {
        Self { parties: HashMap::new(), order: BTreeSet::new(), turns: 0 }
    }
}

impl<P: Copy + Ord + Hash> Turns<P> {
    /// Lets one wait.
    pub(crate) fn enter(&mut self, party: P, number: u64) {
        self.change(party, |party| {
            party.waiting.insert(number);
        });
    }

    /// One waits no longer, without having had its turn.
    pub(crate) fn leave(&mut self, party: P, number: u64) {
        self.change(party, |party| {
            party.waiting.remove(&number);
        });
    }

    /// Whose turn it is.
    pub(crate) fn next(&self) -> Option<(P, u64)> {
        self.order.first().map(|((.., number), party)| (*party, *number))
    }

    /// One that waited has its turn, and runs from now on.
    pub(crate) fn begin(&mut self, party: P, number: u64) {
        self.turns += 1;
        let turn = self.turns;
        self.change(party, |party| {
            party.waiting.remove(&number);
            party.running += 1;
            party.last_turn = turn;
        });
    }

    /// One of a party runs no longer.
    pub(crate) fn end(&mut self, party: P) {
        self.change(party, |party| party.running = party.running.saturating_sub(1));
    }

    /// How many of a party wait.
    pub(crate) fn waiting(&self, party: P) -> usize {
        self.parties.get(&party).map_or(0, |party| party.waiting.len())
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.parties.is_empty() && self.order.is_empty()
    }

    fn change(&mut self, key: P, change: impl FnOnce(&mut Party)) {
        let turns = self.turns;
        let party = self.parties.entry(key).or_insert_with(|| Party { last_turn: turns, ..Party::default() });
        let before = party.place();
        change(party);
        let after = party.place();
        let is_idle = after.is_none() && party.running == 0;
        if before != after {
            if let Some(place) = before {
                self.order.remove(&(place, key));
            }
            if let Some(place) = after {
                self.order.insert((place, key));
            }
        }
        if is_idle {
            self.parties.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out turns, one at a time, until nothing waits.
    fn order(turns: &mut Turns<char>) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some((party, number)) = turns.next() {
            turns.begin(party, number);
            turns.end(party);
            order.push(number);
        }
        order
    }

    #[test]
    fn who_comes_anew_does_not_go_before_one_that_has_waited_all_the_time() {
        let mut turns = Turns::default();
        (1..=3).for_each(|number| turns.enter('a', number));
        turns.begin('a', 1);
        turns.end('a');
        for (number, party) in (10..).zip("bcdefgh".chars()) {
            turns.enter(party, number);
        }
        assert_eq!(order(&mut turns)[..2], [2, 10]);
    }

    #[test]
    fn the_fewest_running_go_first_and_one_that_leaves_takes_no_turn() {
        let mut turns = Turns::default();
        for number in 1..=4 {
            turns.enter('a', number);
        }
        turns.begin('a', 1);
        turns.enter('b', 5);
        assert_eq!(turns.next(), Some(('b', 5)));
        turns.leave('b', 5);
        turns.leave('a', 2);
        assert_eq!((turns.next(), turns.waiting('a'), turns.waiting('b')), (Some(('a', 3)), 2, 0));
        turns.leave('a', 3);
        turns.leave('a', 4);
        turns.end('a');
        assert!(turns.is_empty() && turns.next().is_none());
    }
}
