//! Whether the honest events came: each once, in order, and none missing without a gap.
//!
//! Not for when they came: `delays`.

use std::collections::BTreeSet;

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

/// What came of all that was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) seen: u64,
    /// Missing, and a gap says so.
    pub(crate) covered: u64,
    pub(crate) gaps: u64,
    pub(crate) violations: Vec<String>,
}

/// Compares. `published` are the numbers whose statement succeeded.
pub(crate) fn account(items: &[Item], published: &BTreeSet<u64>) -> Account {
    let mut account = Account::default();
    let (mut next, mut is_covered) = (0, false);
    for item in items {
        match item {
            Item::Event { number, at } => {
                let number = *number;
                if number < next {
                    let what = format!("event {number} came twice or too late (at {} ms)", at / 1000);
                    account.violations.push(what);
                    continue;
                }
                account.missing(published.range(next..number).count(), is_covered, next, number);
                account.seen += 1;
                (next, is_covered) = (number + 1, false);
            }
            Item::Gap { .. } => {
                account.gaps += 1;
                is_covered = true;
            }
            Item::Strange { text, at } => {
                account.violations.push(format!("{text:?} came (at {} ms)", at / 1000));
            }
            Item::Opened { .. } | Item::Closed { .. } => {}
        }
    }
    account.missing(published.range(next..).count(), is_covered, next, u64::MAX);
    account
}

impl Account {
    fn missing(&mut self, count: usize, is_covered: bool, from: u64, before: u64) {
        if count == 0 {
            return;
        }
        if is_covered {
            self.covered += count as u64;
            return;
        }
        let until = if before == u64::MAX { "the end".to_owned() } else { before.to_string() };
        self.violations.push(format!("{count} events from {from} to before {until} were lost without a gap"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Item {
        Item::Event { number, at: 0 }
    }

    fn gap() -> Item {
        Item::Gap { reason: "overflow".to_owned(), at: 0 }
    }

    fn violations(items: &[Item], count: u64) -> Vec<String> {
        account(items, &(0..count).collect()).violations
    }

    #[test]
    fn what_is_complete_and_in_order_passes() {
        let items = [event(0), event(1), event(2)];
        let account = account(&items, &(0..3).collect());
        assert_eq!((account.seen, account.violations.len()), (3, 0));
    }

    #[test]
    fn a_loss_needs_a_gap_at_its_place() {
        assert_eq!(violations(&[event(0), event(2)], 3).len(), 1);
        assert_eq!(violations(&[event(0), gap(), event(2)], 3).len(), 0);
        assert_eq!(violations(&[gap(), event(0), event(2)], 3).len(), 1);
        assert_eq!(violations(&[event(0), event(1)], 3).len(), 1, "the last one is missing");
    }

    #[test]
    fn one_that_failed_in_the_database_is_not_missed() {
        let published = [0, 2].into_iter().collect();
        assert!(account(&[event(0), event(2)], &published).violations.is_empty());
    }

    #[test]
    fn twice_and_out_of_order_are_found() {
        assert_eq!(violations(&[event(0), event(0), event(1)], 2).len(), 1);
        assert_eq!(violations(&[event(0), event(2), event(1)], 3).len(), 2, "lost there, and late here");
    }
}
