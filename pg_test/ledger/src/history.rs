//! What is recorded of a run: what writers attempted, what was committed, what each reader saw.
//!
//! Times are the [`cluster::Clock`]'s. Not for judging: check/.

use std::collections::BTreeSet;
use std::fmt;

use crate::plan::Listener;

/// When an event is sent (C5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Delivery {
    Commit,
    Immediate,
}

/// Names an event: a writer's numbers rise in the order of raising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) writer: u16,
    pub(crate) delivery: Delivery,
    pub(crate) number: u32,
}

/// An event that a writer set out to raise.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) key: Key,
    pub(crate) audience: usize,
    /// How its transaction was to end.
    pub(crate) kind: &'static str,
    /// Above `sse.max_event_size`: a gap in its place.
    pub(crate) too_large: bool,
    /// Raised in bulk, to fill something.
    pub(crate) is_bulk: bool,
    /// Some of these are all of the smallest window.
    pub(crate) is_large: bool,
    /// Before the transaction began.
    pub(crate) began: u64,
    /// The server has answered that it was raised.
    pub(crate) answered: bool,
}

/// A position in the stream. The stream says that ids are opaque; whoever checks the stream may look inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

impl Position {
    /// `EPOCH-SEQUENCE`, both in hexadecimal.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        let (epoch, sequence) = id.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { epoch: number(epoch)?, sequence: number(sequence)? })
    }

    /// The id of `sse.ready` before the gap that answers an invalid id: no event will ever have it, so it
    /// brings the gap again.
    pub(crate) fn is_never_given(self) -> bool {
        self.sequence == u64::MAX
    }
}

/// What a reader asked to resume after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing: it has no id yet.
    Nothing,
    /// The last id it got.
    Last(Position),
    /// One that it made up.
    Invented,
}

/// Why a gap (C6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    Restarted,
    Expired,
    Overflow,
    TooLarge,
    Slow,
    Unknown,
    /// Followers alone can get it.
    Snapshot,
    /// With a tree of servers alone: it was seen, and a failover has taken it back.
    Rewound,
    /// The log of a server has something that it cannot read.
    Unreadable,
}

impl Reason {
    pub(crate) const ALL: [Self; 9] = [
        Self::Restarted,
        Self::Expired,
        Self::Overflow,
        Self::TooLarge,
        Self::Slow,
        Self::Unknown,
        Self::Snapshot,
        Self::Rewound,
        Self::Unreadable,
    ];

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Expired => "expired",
            Self::Overflow => "overflow",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
            Self::Unknown => "unknown",
            Self::Snapshot => "snapshot",
            Self::Rewound => "rewound",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether the gap has a number in the stream, like an event. Other gaps stand for a jump to the position
    /// they carry.
    pub(crate) const fn is_in_place(self) -> bool {
        matches!(self, Self::Overflow | Self::TooLarge)
    }
}

/// One thing that happened to a reader.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) at: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A stream was answered with 200.
    Opened(Asked),
    /// It was answered with something else.
    Refused(u16),
    Ready(Position),
    Gap {
        at: Position,
        reason: Reason,
        missed: Option<u64>,
    },
    Event {
        at: Position,
        key: Key,
        audience: usize,
        counter: Option<u64>,
    },
    /// Nothing that pg_sse or a writer makes.
    Malformed(String),
    /// The connection is gone; why, for people.
    Closed(String),
}

/// Everything that happened to one reader.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) name: String,
    pub(crate) listener: Listener,
    pub(crate) items: Vec<Item>,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    pub(crate) attempts: Vec<Attempt>,
    /// The rows of the ledger table, as writers and numbers: with delivery at commit, and committed.
    pub(crate) committed: BTreeSet<(u16, u32)>,
    pub(crate) readers: Vec<History>,
}

impl Recording {
    /// The places of large events, as far as any reader has seen them.
    pub(crate) fn large_places(&self) -> BTreeSet<Position> {
        let large = self.attempts.iter().filter(|attempt| attempt.is_large);
        let large: BTreeSet<Key> = large.map(|attempt| attempt.key).collect();
        let place = |item: &Item| match item.what {
            What::Event { at, key, .. } => large.contains(&key).then_some(at),
            _ => None,
        };
        self.readers.iter().flat_map(|reader| &reader.items).filter_map(place).collect()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delivery = match self.delivery {
            Delivery::Commit => "at commit",
            Delivery::Immediate => "immediate",
        };
        write!(f, "event {} of writer {} ({delivery})", self.number, self.writer)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.epoch, self.sequence)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6} s  ", self.at as f64 / 1e6)?;
        match &self.what {
            What::Opened(Asked::Nothing) => f.write_str("opened"),
            What::Opened(Asked::Last(at)) => write!(f, "opened, resuming behind {at}"),
            What::Opened(Asked::Invented) => f.write_str("opened, resuming behind an invented id"),
            What::Refused(status) => write!(f, "refused with status {status}"),
            What::Ready(at) => write!(f, "{at} ready"),
            What::Gap { at, reason, missed } => {
                let missed = missed.map_or("null".to_owned(), |missed| missed.to_string());
                write!(f, "{at} gap {}, missed {missed}", reason.as_str())
            }
            What::Event { at, key, audience, counter } => {
                let counter = counter.map_or(String::new(), |counter| format!(", counter {counter}"));
                write!(f, "{at} {key}, audience {audience}{counter}")
            }
            What::Malformed(text) => write!(f, "malformed: {text}"),
            What::Closed(why) => write!(f, "closed: {why}"),
        }
    }
}
