//! What pg_sse writes into the write-ahead log (C10): the events of a transaction, events that are sent at
//! once, and marks.
//!
//! # Format
//!
//! Postgres' side of a record is that of a logical message (`replication/message.h`), because every server
//! can replay one, with or without the library: [`MESSAGE_HEAD_BYTES`] bytes, made by [`message_head`] and
//! checked by [`payload`]. Two things in it keep others out. The oid of the database is 0: SQL can only write
//! messages of the session's database, so nobody who may run SQL can forge a record (C10.6), and logical
//! decoding passes over those of other databases. And the message has the length 0: what is ours stands
//! *after* it, where `pg_waldump` does not look.
//!
//! Ours begins with the version and the kind, a byte each; then, integers little endian:
//!
//! * [`LogRecord::Events`]: the delivery and flags (a byte each), the writer's place in the process array
//!   (u32), and bytes to the end. The bytes of all parts in their order are the *body*: records of the ring
//!   ([`crate::record`]), each after its length (u32). A record may be cut anywhere.
//! * [`LogRecord::Mark`]: a position (u64).
//!
//! The log outlives the library that wrote it, so [`VERSION`] changes with every change of this format, and
//! of the records within. An unknown version is an error as any other is.
//!
//! Not for which transaction a part belongs to, and when it has committed: [`Assembler`].

mod assembler;

pub use assembler::{Assembler, Complete, Content, Events, Limits, Loss, MAX_BODIES};

use std::fmt;
use std::ops::Range;

/// Of everything in a record of ours.
pub const VERSION: u8 = 1;

/// Most bytes of a body in one part. A record of the log is copied while a lock is held that all writers
/// need, and PostgreSQL 15 writes records of a gigabyte that it cannot read back.
pub const MAX_PART_BYTES: usize = 256 * 1024;

/// Postgres' part of a record: the header of a logical message and our prefix.
pub const MESSAGE_HEAD_BYTES: usize = MESSAGE_HEADER_BYTES + PREFIX.len();

/// What stands in front of the bytes of a part.
pub const PART_HEAD_BYTES: usize = 8;

/// What stands in front of each record of a body.
pub const LENGTH_BYTES: usize = 4;

/// `offsetof(xl_logical_message, message)`: an oid, a flag, three bytes of padding and two `Size`.
const MESSAGE_HEADER_BYTES: usize = 24;

/// Of the message; the length of a prefix counts its NUL.
const PREFIX: &[u8] = b"pg_sse\0";

const EVENTS: u8 = 1;
const MARK: u8 = 2;

const FIRST: u8 = 1;
const LAST: u8 = 2;
const IGNORES_STANDBYS: u8 = 4;

/// When the events of a body are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// With the commit record of the transaction that wrote them.
    Commit,
    /// Their transaction has committed already, and changed nothing: with their last part.
    Lazy,
    /// At once, whatever becomes of the transaction: with their last part.
    Immediate,
}

/// A part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// When its events are told.
    pub delivery: Delivery,
    /// The place of the writer in the process array.
    pub place: u32,
    /// The body begins with it.
    pub is_first: bool,
    /// The body ends with it.
    pub is_last: bool,
    /// Its events are told before the synchronous standbys have them: whoever publishes them does not wait
    /// for these either (C10.4). The last part of a body decides.
    pub ignores_standbys: bool,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// One record of ours, decoded. Its bytes point into the record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRecord<'a> {
    /// Events.
    Events(Part<'a>),
    /// Whoever has a part before `start` has its commit record before this one.
    Mark {
        /// A position.
        start: u64,
    },
}

/// Why a record of ours cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRecordError {
    /// Another version of pg_sse wrote it.
    Version(u8),
    /// There is no such kind of record, of delivery, or of record of the ring; or an unknown flag.
    Choice(u8),
    /// It ends too early.
    Truncated,
    /// Something follows.
    TrailingBytes,
    /// A part of a transaction, without a transaction.
    NoTransaction,
}

impl fmt::Display for LogRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "its version is {version}, this library reads {VERSION}"),
            Self::Choice(byte) => write!(f, "there is no choice {byte}"),
            Self::Truncated => f.write_str("it ends too early"),
            Self::TrailingBytes => f.write_str("something follows its end"),
            Self::NoTransaction => f.write_str("it belongs to a transaction, and has no xid"),
        }
    }
}

impl std::error::Error for LogRecordError {}

/// What Postgres needs in front of ours ([`MESSAGE_HEAD_BYTES`]). `is_transactional` is for those who look at
/// the log; pg_sse does not read it.
pub fn message_head(is_transactional: bool) -> [u8; MESSAGE_HEAD_BYTES] {
    let mut head = [0; MESSAGE_HEAD_BYTES];
    let fields: [&[u8]; 5] =
        [&[0; 4], &[u8::from(is_transactional), 0, 0, 0], &PREFIX.len().to_ne_bytes(), &[0; 8], PREFIX];
    for (to, from) in head.iter_mut().zip(fields.into_iter().flatten()) {
        *to = *from;
    }
    head
}

/// What is ours in the data of a logical message; `None`: it is not ours, whatever its prefix says.
pub fn payload(message: &[u8]) -> Option<&[u8]> {
    let (head, payload) = message.split_first_chunk()?;
    (*head == message_head(true) || *head == message_head(false)).then_some(payload)
}

/// Whether a logical message has our prefix, be it ours or not.
pub fn has_our_prefix(message: &[u8]) -> bool {
    message.get(MESSAGE_HEADER_BYTES..).is_some_and(|rest| rest.starts_with(PREFIX))
}

/// What stands in front of the bytes of a part, which it does not look at.
pub fn part_head(part: &Part<'_>) -> [u8; PART_HEAD_BYTES] {
    let flags = [(part.is_first, FIRST), (part.is_last, LAST), (part.ignores_standbys, IGNORES_STANDBYS)];
    let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
    let [a, b, c, d] = part.place.to_le_bytes();
    [VERSION, EVENTS, part.delivery.number(), flags, a, b, c, d]
}

/// The bytes of [`LogRecord::Mark`].
pub fn mark(start: u64) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = start.to_le_bytes();
    [VERSION, MARK, a, b, c, d, e, f, g, h]
}

/// How a body of this many bytes is cut: at least one part, each of at most [`MAX_PART_BYTES`].
pub fn parts(body_bytes: usize) -> impl Iterator<Item = Range<usize>> {
    let count = body_bytes.div_ceil(MAX_PART_BYTES).max(1);
    (0..count).map(move |part| {
        let start = part * MAX_PART_BYTES;
        start..body_bytes.min(start + MAX_PART_BYTES)
    })
}

/// What is ours, decoded ([`payload`]). Copies nothing.
///
/// # Errors
/// [`LogRecordError`]; each variant as it is described there.
pub fn decode(payload: &[u8]) -> Result<LogRecord<'_>, LogRecordError> {
    let mut rest = payload;
    let version = byte(&mut rest)?;
    if version != VERSION {
        return Err(LogRecordError::Version(version));
    }
    let record = match byte(&mut rest)? {
        EVENTS => {
            let delivery = Delivery::of(byte(&mut rest)?)?;
            let flags = byte(&mut rest)?;
            if flags & !(FIRST | LAST | IGNORES_STANDBYS) != 0 {
                return Err(LogRecordError::Choice(flags));
            }
            let place = u32::from_le_bytes(chunk(&mut rest)?);
            let (is_first, is_last) = (flags & FIRST != 0, flags & LAST != 0);
            let ignores_standbys = flags & IGNORES_STANDBYS != 0;
            let bytes = std::mem::take(&mut rest);
            LogRecord::Events(Part { delivery, place, is_first, is_last, ignores_standbys, bytes })
        }
        MARK => LogRecord::Mark { start: u64::from_le_bytes(chunk(&mut rest)?) },
        other => return Err(LogRecordError::Choice(other)),
    };
    if rest.is_empty() { Ok(record) } else { Err(LogRecordError::TrailingBytes) }
}

impl Delivery {
    const fn number(self) -> u8 {
        match self {
            Self::Commit => 0,
            Self::Lazy => 1,
            Self::Immediate => 2,
        }
    }

    const fn of(number: u8) -> Result<Self, LogRecordError> {
        match number {
            0 => Ok(Self::Commit),
            1 => Ok(Self::Lazy),
            2 => Ok(Self::Immediate),
            other => Err(LogRecordError::Choice(other)),
        }
    }
}

fn byte(rest: &mut &[u8]) -> Result<u8, LogRecordError> {
    chunk(rest).map(|[byte]| byte)
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], LogRecordError> {
    let (chunk, after) = rest.split_first_chunk().ok_or(LogRecordError::Truncated)?;
    *rest = after;
    Ok(*chunk)
}
