//! Which parts belong together, and when they are complete: what was read from the log, in its order, becomes
//! events in the order in which they are told.
//!
//! Parts of a transaction are matched with its commit record by xid; those of a lazy or immediate body by the
//! writer's place, because one process writes one such body at a time. A process may end in the middle of
//! one, and a server may end between a part and its commit: what was begun is replaced by the next beginning,
//! and all of it forgotten at [`Assembler::forget_all`].
//!
//! Memory is bounded by [`Limits`] and by [`MAX_BODIES`]. What does not fit is a [`Loss`], told where its
//! events would have been told.
//!
//! Not for reading the log, nor for whether a transaction that has committed is visible yet.

use std::collections::BTreeMap;

use super::{Delivery, LENGTH_BYTES, LogRecordError, Part};
use crate::record::Kind;

/// Bodies that are waited for at the same time. A server has at most as many processes
/// (`MAX_BACKENDS`), so more can only come from a log that is not in order: then they are lost at once.
pub const MAX_BODIES: usize = 1 << 18;

/// How much memory may be in use, in bytes that were read; while it grows, up to twice as much for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one body.
    pub body_bytes: usize,
    /// For all of them together.
    pub all_bytes: usize,
}

/// Collects parts until they are complete.
#[derive(Debug)]
pub struct Assembler {
    limits: Limits,
    bodies: BTreeMap<Key, Body>,
    /// The lengths of all bodies.
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Transaction(u32),
    Lazy(u32),
    Immediate(u32),
}

#[derive(Debug)]
struct Body {
    place: u32,
    ignores_standbys: bool,
    collected: Result<Vec<u8>, Loss>,
}

/// What is to be told now.
#[derive(Debug, PartialEq, Eq)]
pub struct Complete {
    /// The place of the writer in the process array.
    pub place: u32,
    /// The transaction that may not be visible yet; 0: there is none to wait for.
    pub xid: u32,
    /// The position of all its events: the end of the commit record, or of the last part.
    pub end: u64,
    /// It is told before the synchronous standbys have it.
    pub ignores_standbys: bool,
    /// What it publishes.
    pub content: Content,
}

/// What a complete body is.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Events.
    Events(Events),
    /// There were events, and they are lost.
    Lost(Loss),
}

/// Why events are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There was no memory for them, or a limit was passed.
    TooLarge,
    /// Their first part was not read.
    NoBeginning,
    /// They cannot be read.
    Broken(LogRecordError),
}

/// The records of a complete body, which was looked through.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Events {
    body: Vec<u8>,
}

impl Events {
    fn read(body: Vec<u8>) -> Result<Self, LogRecordError> {
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            let record = next(&mut rest).ok_or(LogRecordError::Truncated)?;
            match Kind::of(record) {
                Some(Kind::Event | Kind::TooLarge) => {}
                _ => return Err(LogRecordError::Choice(record.first().copied().unwrap_or(0))),
            }
        }
        Ok(Self { body })
    }

    /// The records of the ring, events and those that are too large, in order. The first has the index 1.
    pub fn records(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut rest = self.body.as_slice();
        (1..u32::MAX).map_while(move |index| next(&mut rest).map(|record| (index, record)))
    }
}

/// The next record of a body; `None`: there is none, or not all of it.
fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let (record, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(record)
}

impl Assembler {
    /// Nothing is collected yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, bodies: BTreeMap::new(), bytes: 0 }
    }

    /// Other limits from now on; what is collected stays.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A part was read. `xid` is that of the log's record, 0 for none, and `end` its end.
    pub fn part(&mut self, xid: u32, end: u64, part: &Part<'_>) -> Option<Complete> {
        let key = match part.delivery {
            Delivery::Commit if xid == 0 => {
                return Some(lost(part.place, end, Loss::Broken(LogRecordError::NoTransaction)));
            }
            Delivery::Commit => Key::Transaction(xid),
            Delivery::Lazy => Key::Lazy(part.place),
            Delivery::Immediate => Key::Immediate(part.place),
        };
        let begun = self.take(key).map(|body| body.collected);
        if begun.is_none() && self.bodies.len() >= MAX_BODIES {
            return Some(lost(part.place, end, Loss::TooLarge));
        }
        let collected = match begun {
            _ if part.is_first => Ok(Vec::new()),
            Some(collected) => collected,
            None => Err(Loss::NoBeginning),
        };
        let collected = self.collect(collected, part.bytes);
        let body = Body { place: part.place, ignores_standbys: part.ignores_standbys, collected };
        match part.delivery {
            Delivery::Lazy | Delivery::Immediate if part.is_last => Some(body.complete(0, end)),
            _ => {
                self.put(key, body);
                None
            }
        }
    }

    /// The commit record of a transaction was read, which ends here. `None`: it has nothing of ours.
    pub fn commit(&mut self, xid: u32, end: u64) -> Option<Complete> {
        self.take(Key::Transaction(xid)).map(|body| body.complete(xid, end))
    }

    /// The abort record of a transaction was read.
    pub fn abort(&mut self, xid: u32) {
        self.take(Key::Transaction(xid));
    }

    /// A record was read after which nothing continues that was begun before: `XLOG_CHECKPOINT_SHUTDOWN`,
    /// `XLOG_END_OF_RECOVERY`.
    pub fn forget_all(&mut self) {
        self.bodies.clear();
        self.bytes = 0;
    }

    /// The bytes that are collected.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bodies that are not complete.
    pub fn waiting(&self) -> usize {
        self.bodies.len()
    }

    fn take(&mut self, key: Key) -> Option<Body> {
        let body = self.bodies.remove(&key)?;
        self.bytes -= body.bytes();
        Some(body)
    }

    fn put(&mut self, key: Key, body: Body) {
        self.bytes += body.bytes();
        self.bodies.insert(key, body);
    }

    /// `collected` is not counted in `self.bytes` here.
    fn collect(&self, collected: Result<Vec<u8>, Loss>, bytes: &[u8]) -> Result<Vec<u8>, Loss> {
        let mut collected = collected?;
        let length = collected.len() + bytes.len();
        if length > self.limits.body_bytes
            || self.bytes + length > self.limits.all_bytes
            || collected.try_reserve(bytes.len()).is_err()
        {
            return Err(Loss::TooLarge);
        }
        collected.extend_from_slice(bytes);
        Ok(collected)
    }
}

impl Body {
    fn bytes(&self) -> usize {
        self.collected.as_ref().map_or(0, Vec::len)
    }

    fn complete(self, xid: u32, end: u64) -> Complete {
        let content = match self.collected {
            Ok(body) => match Events::read(body) {
                Ok(events) => Content::Events(events),
                Err(error) => Content::Lost(Loss::Broken(error)),
            },
            Err(loss) => Content::Lost(loss),
        };
        Complete { place: self.place, xid, end, ignores_standbys: self.ignores_standbys, content }
    }
}

fn lost(place: u32, end: u64, loss: Loss) -> Complete {
    Complete { place, xid: 0, end, ignores_standbys: false, content: Content::Lost(loss) }
}
