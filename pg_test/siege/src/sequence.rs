//! Whether the honest events came: each once, in order, and none missing without a gap.
//!
//! Not for when they came: `delays`.

use std::collections::BTreeMap;

/// What the subscriber saw, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// An honest event.
    Event { number: u64, at: u64 },
    /// `sse.gap`, with its reason.
    Gap { reason: String, at: u64 },
    /// A stream has begun.
    Opened { at: u64 },
    /// It ended, or could not be opened; why.
    Closed { why: String, at: u64 },
    /// Something that the honest publisher never sent.
    Strange { text: String, at: u64 },
}

/// What happened to all that was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) seen: u64,
    /// Missing, and a gap says so.
    pub(crate) covered: u64,
    pub(crate) gaps: u64,
    pub(crate) violations: Vec<String>,
}

/// Compares. `published` are the numbers whose statement succeeded, and when each was sent.
///
/// An `overflow` is told before the next event (C3.6), so what was already in the ring may come between the
/// gap and the loss: a gap covers what was sent before the gap came. An event that was sent later and is
/// missing was lost after it.
pub(crate) fn account(items: &[Item], published: &BTreeMap<u64, u64>) -> Account {
    let mut account = Account::default();
    let (mut next, mut covered_until) = (0, 0);
    for item in items {
        match item {
            Item::Event { number, at } => {
                let number = *number;
                if number < next {
                    let what = format!("event {number} came twice or too late (at {} ms)", at / 1000);
                    account.violations.push(what);
                    continue;
                }
                account.missing(published.range(next..number), covered_until);
                account.seen += 1;
                next = number + 1;
            }
            Item::Gap { at, .. } => {
                account.gaps += 1;
                covered_until = *at;
            }
            Item::Strange { text, at } => {
                account.violations.push(format!("{text:?} came (at {} ms)", at / 1000));
            }
            Item::Opened { .. } | Item::Closed { .. } => {}
        }
    }
    account.missing(published.range(next..), covered_until);
    account
}

impl Account {
    fn missing<'p>(&mut self, missing: impl Iterator<Item = (&'p u64, &'p u64)>, covered_until: u64) {
        let (covered, lost): (Vec<_>, Vec<_>) = missing.partition(|(_, sent)| **sent <= covered_until);
        self.covered += covered.len() as u64;
        if let (Some((first, sent)), Some((last, _))) = (lost.first(), lost.last()) {
            let count = lost.len();
            let what = format!(
                "{count} events from {first} to {last} were lost without a gap (from {} ms)",
                *sent / 1000
            );
            self.violations.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Item {
        Item::Event { number, at: 0 }
    }

    /// Told after the first `count` events were sent.
    fn gap_after(count: u64) -> Item {
        Item::Gap { reason: "overflow".to_owned(), at: count * 10 }
    }

    fn published(numbers: impl Iterator<Item = u64>) -> BTreeMap<u64, u64> {
        numbers.map(|number| (number, number * 10 + 5)).collect()
    }

    fn violations(items: &[Item], count: u64) -> Vec<String> {
        account(items, &published(0..count)).violations
    }

    #[test]
    fn what_is_complete_and_in_order_passes() {
        let account = account(&[event(0), event(1), event(2)], &published(0..3));
        assert_eq!((account.seen, account.violations.len()), (3, 0));
    }

    #[test]
    fn a_loss_needs_a_gap_that_came_after_it_was_sent_and_before_the_next_event() {
        assert_eq!(violations(&[event(0), event(2)], 3).len(), 1);
        assert_eq!(violations(&[event(0), gap_after(2), event(2)], 3).len(), 0);
        assert_eq!(violations(&[gap_after(2), event(0), event(2)], 3).len(), 0, "0 was in the ring");
        assert_eq!(violations(&[gap_after(1), event(0), event(2)], 3).len(), 1, "1 was sent behind the gap");
        assert_eq!(violations(&[event(0), event(2), gap_after(3)], 3).len(), 1, "told too late");
        assert_eq!(violations(&[event(0), event(1)], 3).len(), 1, "the last one is missing");
    }

    #[test]
    fn one_that_failed_in_the_database_is_not_missed() {
        assert!(account(&[event(0), event(2)], &published([0, 2].into_iter())).violations.is_empty());
    }

    #[test]
    fn twice_and_out_of_order_are_found() {
        assert_eq!(violations(&[event(0), event(0), event(1)], 2).len(), 1);
        assert_eq!(violations(&[event(0), event(2), event(1)], 3).len(), 2, "lost there, and late here");
    }
}
