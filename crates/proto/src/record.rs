//! The record: what a backend puts into the ring and the gateway takes out, bytes that need nothing else to
//! be understood.
//!
//! Everything that decides who gets an event was resolved when it was raised (scope, access rule, topic,
//! execution id, emitter), so the gateway looks at no catalog for it, and a comment that changes later
//! changes nothing that was already raised.
//!
//! # Format
//!
//! Integers are little endian, lengths and counts `u32`. *Text* is a length and UTF-8; *optional text* is
//! text in which length 0 means absent (C4.6: empty values are absent). The first byte is the kind. Nothing
//! may follow the last field.
//!
//! ```text
//! 3 catalog begin     u64 generation
//! 5 catalog end       u64 generation, u32 count
//! 10 catalog routine  u64 generation, u32 oid, u8 kind, u8 flags, text schema, name, comment, signature
//! 11 call role        u64 generation, u8: 0 off, 1 ready + count, for each warning: text,
//!                     2 refused + text reason, hint
//! 18 event            u64 ticket, u64 xid, envelope, text data
//! 19 too large        u64 ticket, u64 xid, envelope
//!
//! envelope            scope, access, optional text topic, event, execution id, emitter
//! scope               u8: 0 all, 1 authorize + values, 2 matching, 3 nobody
//! access              u8: 0 unspecified, 1 anonymous, 2 authorize + values
//! values              count, for each: u8 (0 any, 1 id, 2 name, 3 role), text
//! emitter             u8: 0 none, 1 + optional text user id, user name, count, for each role: text
//! signature           u8: 0 none, 1 + u8 flags, count, for each parameter: text name, u8 mode,
//!                     u8 has default, text type, type kind, then u8 shape, u8 is set,
//!                     count, for each column: text
//! type kind           u8: 0 scalar, 1 json, 2 composite, 3 pseudo, 4 array + u32 delimiter
//! ```
//!
//! The *ticket* says in which order transactions were about to commit ([`crate::order`]), 0 = sent at once.
//! It is not known yet when a record is written, so it has a fixed place: [`encode_into`] leaves 0 there,
//! [`set_ticket`] fills it in when the transaction has committed, and [`decode`] passes over it.
//!
//! The *xid* is the transaction's own, as `pg_current_xact_id()` says it, 0 = none: the event was sent at
//! once, or the transaction has changed nothing. It is filled in together with the ticket ([`set_xid`]), and
//! belongs to the envelope ([`Envelope::xid`]).
//!
//! Both sides are the same library in the same server start, so there is no version in it; a changed layout
//! takes new kind numbers all the same, and `golden_bytes` in the tests is there to make that change a
//! decision.
//!
//! Not for: finding records in the ring (`sse_ring`), nor for what a browser gets ([`crate::sse`]).

mod decode;
mod encode;
mod stamp;

pub use decode::decode;
pub use encode::encode_into;
pub use stamp::{set_ticket, set_xid, ticket};

use crate::annotation::Access;
use crate::call::CallRole;
use crate::route::Routine;
use crate::scope::Scope;
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;

/// First byte of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something that was raised.
    Event = 18,
    /// Something that was raised and is longer than `sse.max_event_size`: a gap for the subscribers that
    /// would have got it.
    TooLarge = 19,
    /// The catalog worker begins to hand over the routines.
    CatalogBegin = 3,
    /// It has handed over all.
    CatalogEnd = 5,
    /// One routine.
    CatalogRoutine = 10,
    /// The role of calls.
    CallRole = 11,
}

impl Kind {
    /// The kind of these bytes, from the first of them alone; the rest may still be wrong.
    pub const fn of(record: &[u8]) -> Option<Self> {
        match record {
            [3, ..] => Some(Self::CatalogBegin),
            [5, ..] => Some(Self::CatalogEnd),
            [10, ..] => Some(Self::CatalogRoutine),
            [11, ..] => Some(Self::CallRole),
            [18, ..] => Some(Self::Event),
            [19, ..] => Some(Self::TooLarge),
            _ => None,
        }
    }
}

/// What decides who gets an event, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Scope: the annotation's, or the hint's in its place (C4.2, C4.3).
    pub scope: Cow<'a, Scope>,
    /// The `@authorize` rule of the routine, which decides for `matching` when there is no emitter (C4.2).
    pub access: Cow<'a, Access>,
    /// Topic (C4.5).
    pub topic: Option<&'a str>,
    /// The `event:` field; `None` is what `onmessage` gets.
    pub event: Option<&'a str>,
    /// Execution id (C4.4).
    pub execution_id: Option<&'a str>,
    /// Identity of the session that raised it (C4.6).
    pub emitter: Option<Emitter<'a>>,
    /// The transaction that committed it; `None` when it was sent at once, has not committed yet, or has
    /// changed nothing.
    pub xid: Option<NonZeroU64>,
}

/// Identity of the session that raised an event (C4.6). Empty values are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emitter<'a> {
    /// User id.
    pub user_id: Option<&'a str>,
    /// User name.
    pub user_name: Option<&'a str>,
    /// Roles. A list of its own, so that a decoded record borrows from nothing but its bytes.
    pub roles: Vec<&'a str>,
}

/// A record, decoded. Texts point into its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// An event.
    Event {
        /// Who gets it.
        envelope: Envelope<'a>,
        /// The message text.
        data: &'a str,
    },
    /// An event whose data was refused for its size.
    TooLarge {
        /// Who would have got it.
        envelope: Envelope<'a>,
    },
    /// First of a catalog.
    CatalogBegin {
        /// State of the catalog that follows.
        generation: u64,
    },
    /// One routine of a catalog.
    CatalogRoutine {
        /// The catalog it belongs to.
        generation: u64,
        /// The routine.
        routine: Routine,
    },
    /// The role that calls run as; somewhere within a catalog.
    CallRole {
        /// The catalog it belongs to.
        generation: u64,
        /// The role.
        role: CallRole,
    },
    /// Last of a catalog; complete if `count` routines of this generation came before.
    CatalogEnd {
        /// The catalog that ends.
        generation: u64,
        /// Number of its routines.
        count: u32,
    },
}

impl Record<'_> {
    /// What the first byte of its encoding says.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Event { .. } => Kind::Event,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::CatalogBegin { .. } => Kind::CatalogBegin,
            Self::CatalogRoutine { .. } => Kind::CatalogRoutine,
            Self::CallRole { .. } => Kind::CallRole,
            Self::CatalogEnd { .. } => Kind::CatalogEnd,
        }
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// They end within a field.
    Truncated,
    /// They go on after the last field.
    Trailing,
    /// Their kind is unknown.
    Kind(u8),
    /// A choice within them (a scope, an access rule, a flag) has no meaning.
    Choice(u8),
    /// A text is not UTF-8.
    Utf8,
    /// A topic, event name or execution id is longer than [`crate::word::MAX_LABEL_BYTES`], or has a
    /// character that could open a field of the stream.
    Label,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the record ends within a field"),
            Self::Trailing => f.write_str("the record goes on after its last field"),
            Self::Kind(byte) => write!(f, "the record has the unknown kind {byte}"),
            Self::Choice(byte) => write!(f, "the record has the unknown choice {byte}"),
            Self::Utf8 => f.write_str("a text of the record is not UTF-8"),
            Self::Label => f.write_str("a topic, event name or execution id of the record is out of range"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Why a record could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// There is no memory for it.
    OutOfMemory,
    /// A text or list is too long for its `u32`, or a label is one that [`decode`] would refuse. The types of
    /// [`crate::word`] do not let that happen.
    Unrepresentable,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "there is no memory for the record",
            Self::Unrepresentable => "a field of the record is out of range",
        })
    }
}

impl std::error::Error for EncodeError {}

/// Whether a topic or an execution id may be in a record.
fn is_label(text: &str) -> bool {
    text.len() <= crate::word::MAX_LABEL_BYTES && !text.chars().any(char::is_control)
}

/// Whether an event name may be in a record: nothing that could end its line or begin another one.
fn is_event_name(text: &str) -> bool {
    is_label(text) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
