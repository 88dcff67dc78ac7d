//! The frames between the gateway and a call worker: what is to be run, and what became of it.
//!
//! Both sides are the same library in the same server start, so there is no version in them.
//!
//! Not for how a field is written ([`crate::codec`]), nor for cutting frames into records of a ring.

use super::answer_shape::AnswerShape;
use super::cut::Cut;
use super::keys::{Key, Keys};
use super::row_version::RowVersion;
use super::statement::{Statement, ValueType};
use super::type_kind::MAX_LEVELS;
use crate::caller::Caller;
use crate::codec::{self, DecodeError, EncodeError, Field, Reader, Writer, choices, fields};
use std::borrow::Cow;

/// A [`Statement`], borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementRef<'a> {
    /// See [`Statement::sql`].
    pub sql: &'a str,
    /// See [`Statement::parameters`].
    pub parameters: Vec<Option<&'a str>>,
    /// See [`Statement::types`]; as many as there are parameters.
    pub types: Vec<ValueType>,
    /// See [`Statement::answer`].
    pub answer: AnswerShape,
    /// See [`Statement::columns`].
    pub columns: Vec<&'a str>,
    /// See [`Statement::keys`].
    pub keys: Cow<'a, Keys>,
    /// See [`Statement::rows`].
    pub rows: Vec<RowVersion>,
}

impl<'a> From<&'a Statement> for StatementRef<'a> {
    fn from(statement: &'a Statement) -> Self {
        Self {
            sql: &statement.sql,
            parameters: statement.parameters.iter().map(Option::as_deref).collect(),
            types: statement.types.clone(),
            answer: statement.answer,
            columns: statement.columns.iter().map(String::as_str).collect(),
            keys: Cow::Borrowed(&statement.keys),
            rows: statement.rows.clone(),
        }
    }
}

fields!(StatementRef<'a> { sql, parameters, types, answer, columns, keys, rows });
fields!(ValueType { oid, is_output });
choices!(AnswerShape {
    0 => Nothing, 1 => Text, 2 => Json, 3 => Object, 4 => Array, 5 => ProcedureRow
});
choices!(Keys { 0 => Kept, 1 => Row(keys) });
fields!(Key { from, to, within });

/// Of an answer's columns, of the members of their types, and at last [`Keys::Kept`].
const _: () = assert!(codec::MAX_LEVELS == 1 + MAX_LEVELS + 1);

/// From the gateway to a call worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest<'a> {
    /// The call's number; the answer has the same.
    pub id: u64,
    /// Milliseconds it may take; 0: no limit.
    pub timeout_ms: u32,
    /// `schema.name`, for `pg_stat_activity` and the log.
    pub label: &'a str,
    /// Whether the transaction is READ ONLY (C7.1).
    pub read_only: bool,
    /// Whether it is a snapshot: run with one snapshot of Postgres for all of it, which the answer says, and
    /// followed by the end of the call in the order of events (C7.6).
    pub is_snapshot: bool,
    /// Settings of the call, name and value (C7.2).
    pub settings: Vec<(&'a str, &'a str)>,
    /// What is run.
    pub statement: StatementRef<'a>,
    /// Who is behind scope `caller` for what it raises (C4.2); `None`: nobody is.
    pub caller: Option<Caller<'a>>,
    /// Whether somebody waits for the moment in which its statement begins (C7.8).
    pub tells_begin: bool,
}

fields!(CallRequest<'a> {
    id, timeout_ms, label, read_only, is_snapshot, settings, statement, caller, tells_begin
});

impl<'a> CallRequest<'a> {
    /// Its bytes. They are about as many as a request has, which its peer decides.
    ///
    /// # Errors
    /// [`EncodeError`]
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        codec::encode(self)
    }

    /// Reads what [`CallRequest::encode`] wrote. Texts point into the bytes.
    ///
    /// # Errors
    /// [`DecodeError`]; each variant as it is described there.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let request: Self = codec::decode(bytes)?;
        if request.statement.types.len() != request.statement.parameters.len() {
            return Err(DecodeError::Types);
        }
        Ok(request)
    }
}

/// From a call worker to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAnswer {
    /// The number of the request.
    pub id: u64,
    /// Where its end is in the order of events.
    pub end: EventsEnd,
    /// What a snapshot saw; `None` of every other call, and of one that failed.
    pub cut: Option<Cut>,
    /// What became of it.
    pub outcome: Outcome,
}

/// Where the end of a call is in the order of events (`record::Kind::CallEnd`): after all that it has
/// published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsEnd {
    /// Nowhere: it has published nothing.
    NoEvents,
    /// In the ring.
    Told,
    /// There was no room in the ring. Whoever has the answer tells it: all of the call's events are in the
    /// ring by then.
    Untold,
}

choices!(EventsEnd { 0 => NoEvents, 1 => Told, 2 => Untold });

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran, and is committed.
    Done {
        /// Rows it gave.
        rows: u64,
        /// The body, as [`AnswerShape`] says.
        body: Vec<u8>,
        /// Whether there is nothing to answer: no row, or NULL.
        is_null: bool,
    },
    /// It failed; a procedure may have committed before that.
    Failed {
        /// SQLSTATE.
        sqlstate: [u8; 5],
        /// The primary message. For people only where `raised`.
        message: String,
        /// Whether the routine's own RAISE said it.
        raised: bool,
        /// Whether the statement may have been made for an older catalog, and nothing of it is in force or
        /// was sent.
        outdated: bool,
        /// Which of the statement's parameters was being read when it failed, from 0. `None`: none was, or
        /// the routine has run.
        argument: Option<u32>,
    },
}

/// How the two kinds of an outcome are told apart in a frame.
const DONE: u8 = 0;
const FAILED: u8 = 1;

impl Field<'_> for Cut {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let (xmin, xmax, running) = self.parts();
        xmin.write(writer)?;
        xmax.write(writer)?;
        writer.list(running)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (xmin, xmax, running): (_, _, Vec<u64>) = (reader.read()?, reader.read()?, reader.read()?);
        let count = running.len();
        let cut = Self::new(xmin, xmax, running);
        // Only what is written in one way is read, so that a frame that is read is the one that was written.
        if cut.parts().2.len() == count { Ok(cut) } else { Err(DecodeError::Choice(1)) }
    }
}

impl CallAnswer {
    /// Its bytes.
    ///
    /// # Errors
    /// [`EncodeError`]
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = self.encode_head()?;
        Writer::Appends(&mut bytes).bytes(self.tail())?;
        Ok(bytes)
    }

    /// Its bytes up to [`CallAnswer::tail`]: some tens, and eight for each transaction of a cut.
    ///
    /// # Errors
    /// [`EncodeError`]
    pub fn encode_head(&self) -> Result<Vec<u8>, EncodeError> {
        let mut head = Vec::new();
        let mut writer = Writer::Appends(&mut head);
        self.id.write(&mut writer)?;
        self.end.write(&mut writer)?;
        self.cut.write(&mut writer)?;
        match &self.outcome {
            Outcome::Done { rows, is_null, .. } => {
                writer.byte(DONE)?;
                rows.write(&mut writer)?;
                is_null.write(&mut writer)?;
            }
            Outcome::Failed { sqlstate, raised, outdated, argument, .. } => {
                writer.byte(FAILED)?;
                sqlstate.write(&mut writer)?;
                raised.write(&mut writer)?;
                outdated.write(&mut writer)?;
                argument.write(&mut writer)?;
            }
        }
        writer.length(self.tail().len())?;
        Ok(head)
    }

    /// The last part of its bytes, unencoded: the body or the message. It may be large and need not be
    /// copied.
    pub fn tail(&self) -> &[u8] {
        match &self.outcome {
            Outcome::Done { body, .. } => body,
            Outcome::Failed { message, .. } => message.as_bytes(),
        }
    }

    /// Reads what [`CallAnswer::encode`] wrote, in the memory that it is in: a large answer is there once.
    ///
    /// # Errors
    /// [`DecodeError`]; each variant as it is described there.
    pub fn decode(mut bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&bytes);
        let (id, end, cut) = (reader.read()?, reader.read()?, reader.read()?);
        let [kind] = reader.array()?;
        let mut outcome = match kind {
            DONE => Outcome::Done { rows: reader.read()?, is_null: reader.read()?, body: Vec::new() },
            FAILED => Outcome::Failed {
                sqlstate: reader.read()?,
                raised: reader.read()?,
                outdated: reader.read()?,
                argument: reader.read()?,
                message: String::new(),
            },
            other => return Err(DecodeError::Choice(other)),
        };
        let tail = reader.bytes()?.len();
        reader.end()?;
        bytes.drain(..bytes.len() - tail);
        match &mut outcome {
            Outcome::Done { body, .. } => *body = bytes,
            Outcome::Failed { message, .. } => {
                *message = String::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
            }
        }
        Ok(Self { id, end, cut, outcome })
    }
}

#[cfg(test)]
mod tests;
