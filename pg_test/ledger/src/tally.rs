//! What is recorded of followers, whose streams begin with a snapshot (C7.6), and of the table that they
//! follow, the tally.
//!
//! Times are the [`cluster::Clock`]'s. Not for judging: `check/follow`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::{Position, Reason};
use crate::schedule::Span;

/// Rows and their numbers. Each change raises one of them by one, and is an event with row and number.
pub(crate) type Rows = BTreeMap<u64, u64>;

/// An id on a stream with a snapshot: whoever resumes from a marked one needs another snapshot (C6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) at: Position,
    pub(crate) is_marked: bool,
}

impl Id {
    /// As the [`Position`]'s; an `s` at the end is the mark.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        let plain = id.strip_suffix('s');
        Some(Self { at: Position::parse(plain.unwrap_or(id))?, is_marked: plain.is_some() })
    }
}

/// One thing that happened to a follower.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) at: u64,
    pub(crate) what: Seen,
}

#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A stream was answered: after this id, or for somebody new.
    Opened(Option<Id>),
    Ready(Id),
    Gap {
        id: Id,
        reason: Reason,
    },
    Snapshot {
        id: Id,
        rows: Rows,
    },
    Change {
        id: Id,
        row: u64,
        n: u64,
    },
    /// Nothing that pg_sse or the writer makes.
    Malformed(String),
    Closed,
}

/// Everything that happened to one follower.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed {
    pub(crate) sights: Vec<Sight>,
}

/// All followers of a run, and what is known of the table besides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Each state that the table had, in order; the last is that at the end.
    pub(crate) states: Vec<Rows>,
    /// What was broken when.
    pub(crate) spans: Vec<Span>,
    /// Where events of writers are that move the window on by a good part.
    pub(crate) large: BTreeSet<Position>,
    pub(crate) followed: Vec<Followed>,
}

impl Tally {
    /// How many of what they saw are so.
    pub(crate) fn count(&self, is: impl Fn(&Seen) -> bool) -> u64 {
        self.followed.iter().flat_map(|one| &one.sights).filter(|sight| is(&sight.what)).count() as u64
    }

    pub(crate) fn changes(&self) -> u64 {
        self.count(|what| matches!(what, Seen::Change { .. }))
    }

    pub(crate) fn snapshots(&self) -> u64 {
        self.count(|what| matches!(what, Seen::Snapshot { .. }))
    }

    /// How often there was no snapshot where one should have been.
    pub(crate) fn lacks(&self) -> u64 {
        self.count(|what| matches!(what, Seen::Gap { reason: Reason::Snapshot, .. }))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.at, if self.is_marked { "s" } else { "" })
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6} s  ", self.at as f64 / 1e6)?;
        match &self.what {
            Seen::Opened(None) => f.write_str("opened"),
            Seen::Opened(Some(id)) => write!(f, "opened, resuming behind {id}"),
            Seen::Ready(id) => write!(f, "{id} ready"),
            Seen::Gap { id, reason } => write!(f, "{id} gap {}", reason.as_str()),
            Seen::Snapshot { id, rows } => write!(f, "{id} snapshot {rows:?}"),
            Seen::Change { id, row, n } => write!(f, "{id} row {row} is {n}"),
            Seen::Malformed(text) => write!(f, "malformed: {text}"),
            Seen::Closed => f.write_str("closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_apart_from_the_place() {
        let at = Position { epoch: 0xe, sequence: 0x1f };
        assert_eq!(Id::parse("e-1f"), Some(Id { at, is_marked: false }));
        assert_eq!(Id::parse("e-1fs"), Some(Id { at, is_marked: true }));
        assert_eq!(Id::parse("e-1fss"), None);
        assert_eq!(Id::parse("s"), None);
    }
}
