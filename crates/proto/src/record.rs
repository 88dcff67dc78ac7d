//! The record: what a backend puts into the ring and the gateway takes out, bytes that need nothing else to
//! be understood.
//!
//! Everything that decides who gets an event was resolved when it was raised (scope, access rule, topic,
//! execution id, emitter), so the gateway looks at no catalog for it, and a comment that changes later
//! changes nothing that was already raised.
//!
//! # Format
//!
//! The first byte is the kind; `record/fields.rs` has what follows it, field by field, and [`crate::codec`]
//! how a field is written. An *optional text* is a text whose length 0 means that it is absent (C4.6).
//! Nothing may follow the last field.
//!
//! The *ticket* says in which order transactions were about to commit ([`crate::order`]), 0 = sent at once.
//! It is not known yet when a record is written, so it has a fixed place: [`encode_into`] leaves 0 there,
//! [`set_ticket`] fills it in when the transaction has committed, and [`decode`] passes over it.
//!
//! The *xid* is the transaction's own, as `pg_current_xact_id()` says it, 0 = none: the event was sent at
//! once, or the transaction has changed nothing. It is filled in together with the ticket ([`set_xid`]), and
//! belongs to the envelope ([`Envelope::xid`]).
//!
//! After these two, in events alone, is *when it was raised*, in nanoseconds of the clock of this machine
//! that never goes back, 0 = not known: at once, or when its transaction had committed ([`set_raised_at`]).
//! It is for measuring how long the way of an event takes, and nothing else; [`decode`] passes over it.
//!
//! The *end of a call* comes after all events of the call, and is handed on after all of them
//! ([`crate::order::Order::follow`]).
//!
//! The *end of a snapshot* is what the run of a snapshot sends at its commit (C7.6): like any transaction's
//! event it is handed on after those of all transactions that it saw.
//!
//! A *canary* is an event of nobody that shows that the way is free ([`crate::order::Order::follow`] holds it
//! after what is held); it has no place in the sequence.
//!
//! With `sse.durability = wal` (C10), events come from the process that reads the log, each *placed*: before
//! its record is its place in the log ([`place`] tells, [`append_placed`] writes). Ends and canaries are
//! placed, too: by who sends them, with the position after which they have to come, and nothing else of the
//! place. What the log is, is told beside that ([`Record::LogState`]).
//!
//! Both sides are the same library in the same server start, so there is no version in it.
//!
//! Not for: finding records in the ring (`sse_ring`), nor for what a browser gets ([`crate::sse`]).

mod fields;
mod placed;
mod stamp;

pub use crate::codec::{DecodeError, EncodeError};
pub use placed::{Inner, PLACE_BYTES, append_placed, place};
pub use stamp::{raised_at, set_raised_at, set_ticket, set_xid, snapshot_end, ticket};

use crate::annotation::Access;
use crate::call::CallRole;
use crate::caller::Caller;
use crate::client_file::ClientFile;
use crate::codec;
use crate::place::{History, Place};
use crate::route::Routine;
use crate::scope::Scope;
use std::borrow::Cow;
use std::num::NonZeroU64;

/// First byte of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something that was raised.
    Event = 28,
    /// Something that was raised and is longer than `sse.max_event_size`: a gap for the subscribers that
    /// would have got it.
    TooLarge = 26,
    /// A call has ended that has published something; all of its events came before.
    CallEnd = 22,
    /// The run of a snapshot has ended; the events of all transactions that it saw come before.
    SnapshotEnd = 24,
    /// Shows that events can come this way.
    Canary = 27,
    /// The catalog worker begins to hand over the routines.
    CatalogBegin = 25,
    /// It has handed over all.
    CatalogEnd = 5,
    /// One routine.
    CatalogRoutine = 10,
    /// The role of calls.
    CallRole = 11,
    /// A part of a file for clients.
    CatalogClient = 13,
    /// Another record, and its place in the log.
    Placed = 29,
    /// What the log is that events come from.
    LogState = 30,
    /// Something is missing in the log.
    LogGap = 31,
}

impl Kind {
    /// The kind of these bytes, from the first of them alone; the rest may still be wrong.
    pub const fn of(record: &[u8]) -> Option<Self> {
        match record {
            [5, ..] => Some(Self::CatalogEnd),
            [10, ..] => Some(Self::CatalogRoutine),
            [11, ..] => Some(Self::CallRole),
            [13, ..] => Some(Self::CatalogClient),
            [22, ..] => Some(Self::CallEnd),
            [24, ..] => Some(Self::SnapshotEnd),
            [25, ..] => Some(Self::CatalogBegin),
            [26, ..] => Some(Self::TooLarge),
            [27, ..] => Some(Self::Canary),
            [28, ..] => Some(Self::Event),
            [29, ..] => Some(Self::Placed),
            [30, ..] => Some(Self::LogState),
            [31, ..] => Some(Self::LogGap),
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
    /// The HTTP call that raised it; `None`: no call did (C4.2).
    pub caller: Option<Caller<'a>>,
    /// The transaction that committed it; `None` when it was sent at once, has not committed yet, or has
    /// changed nothing.
    pub xid: Option<NonZeroU64>,
}

impl Envelope<'_> {
    /// For everybody, and by nobody; the fields say what differs.
    pub const fn for_all() -> Self {
        Self {
            scope: Cow::Owned(Scope::All),
            access: Cow::Owned(Access::Unspecified),
            topic: None,
            event: None,
            execution_id: None,
            emitter: None,
            caller: None,
            xid: None,
        }
    }
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
    /// A call has ended that has published something.
    CallEnd {
        /// The call's number.
        call: u64,
    },
    /// The run of a snapshot has ended.
    SnapshotEnd {
        /// See the head of this file.
        ticket: u64,
        /// See the head of this file. The run may have changed something outside of tables.
        xid: u64,
        /// The number of its call.
        call: u64,
    },
    /// Shows that events can come this way.
    Canary {
        /// Of canaries the latest has the highest.
        number: u64,
    },
    /// First of a catalog.
    CatalogBegin {
        /// The number of the reading; a later one has a higher number. Two of them may be on their way at the
        /// same time, even of the same generation: this is what tells their records apart.
        reading: u64,
        /// State of the catalog that follows.
        generation: u64,
    },
    /// One routine of a catalog.
    CatalogRoutine {
        /// The reading it belongs to.
        reading: u64,
        /// The routine.
        routine: Routine,
    },
    /// The role that calls run as; somewhere within a catalog.
    CallRole {
        /// The reading it belongs to.
        reading: u64,
        /// The role.
        role: CallRole,
    },
    /// A part of a file that `sse.serve_client` serves, in their order, after a catalog.
    CatalogClient {
        /// The reading it belongs to.
        reading: u64,
        /// The file.
        file: ClientFile,
        /// The part; an empty one is after the last. Of a file that is too large there is only this one.
        part: &'a str,
    },
    /// Last of a catalog; complete if `count` routines of this reading came before.
    CatalogEnd {
        /// The reading that ends.
        reading: u64,
        /// Number of its routines.
        count: u32,
    },
    /// Another record, and its place in the log.
    Placed {
        /// Of an event its own, which is greater than that of the one told before. Of what has none, the
        /// position after which it comes: timeline and index are 0.
        place: Place,
        /// The other record. An event says when it was raised ([`raised_at`]) only if that was on this
        /// machine since the reader of the log has started; else it says 0.
        record: Inner<'a>,
    },
    /// What the log is that events come from: told before the first of them, and again whenever it changes,
    /// before the first event of which the change speaks.
    LogState {
        /// Its timelines.
        history: History,
        /// All events of the log after this place are told. The lower it is, the more ids of before hold: if
        /// it is known that there was no event between the last one and where the reader has begun, it is the
        /// place of that last event.
        begin: Place,
        /// Everything that was in the log when its reader started has been told.
        caught_up: bool,
    },
    /// Something is missing in the log.
    LogGap {
        /// Why.
        loss: LogLoss,
        /// Where; what is before it in the log has been told before it.
        place: Place,
    },
}

/// Why something is missing in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLoss {
    /// The log does not reach back so far, or this part of it was removed before it was read.
    Expired,
    /// This version cannot read what is there.
    Unreadable,
}

impl Record<'_> {
    /// Its bytes, for who has no buffer for [`encode_into`].
    ///
    /// # Errors
    /// Those of [`encode_into`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = Vec::new();
        encode_into(self, &mut bytes).map(|()| bytes)
    }

    /// What the first byte of its encoding says.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Event { .. } => Kind::Event,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::CallEnd { .. } => Kind::CallEnd,
            Self::SnapshotEnd { .. } => Kind::SnapshotEnd,
            Self::Canary { .. } => Kind::Canary,
            Self::CatalogBegin { .. } => Kind::CatalogBegin,
            Self::CatalogRoutine { .. } => Kind::CatalogRoutine,
            Self::CallRole { .. } => Kind::CallRole,
            Self::CatalogClient { .. } => Kind::CatalogClient,
            Self::CatalogEnd { .. } => Kind::CatalogEnd,
            Self::Placed { .. } => Kind::Placed,
            Self::LogState { .. } => Kind::LogState,
            Self::LogGap { .. } => Kind::LogGap,
        }
    }
}

/// Appends a record to `out`. Allocates only what `out` lacks, and only in ways that can fail: it runs inside
/// Postgres' log hook, which must not abort.
///
/// # Errors
/// [`EncodeError`]; `out` is then as it was.
pub fn encode_into(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    codec::append(record, out)
}

/// Decodes one record. Copies only the values of lists and the texts of a routine.
///
/// # Errors
/// [`DecodeError`]; each variant as it is described there.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    codec::decode(bytes)
}

#[cfg(test)]
mod tests;
