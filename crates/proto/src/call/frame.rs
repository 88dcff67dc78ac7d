//! The frames between the gateway and a call worker: what is to be run, and what became of it.
//!
//! Both sides are the same library in the same server start, so there is no version in them. Integers are
//! little endian; a text is a `u64` length and UTF-8. Decoding trusts nothing: the ring lies in memory that
//! other processes can write to.
//!
//! Not for cutting frames into records of a ring.

mod decode;
mod encode;

use super::answer_shape::AnswerShape;
use super::cut::Cut;
use super::keys::{Key, Keys};
use super::row_version::RowVersion;
use super::statement::{Statement, ValueType};
use super::type_kind::MAX_LEVELS;
use std::borrow::Cow;
use std::fmt;

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
}

/// From a call worker to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAnswer {
    /// The number of the request.
    pub id: u64,
    /// What a snapshot saw; `None` of every other call, and of one that failed.
    pub cut: Option<Cut>,
    /// What became of it.
    pub outcome: Outcome,
}

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
    },
}

/// How the two kinds of an outcome are told apart in a frame.
const DONE: u8 = 0;
const FAILED: u8 = 1;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// They end within a field.
    Truncated,
    /// They go on after the last field.
    Trailing,
    /// A choice within them has no meaning.
    Choice(u8),
    /// A text is not UTF-8.
    Utf8,
    /// There are more or fewer types than parameters.
    Types,
    /// Keys nest deeper than any type does.
    Depth,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the frame ends within a field"),
            Self::Trailing => f.write_str("the frame goes on after its last field"),
            Self::Choice(byte) => write!(f, "the frame has the unknown choice {byte}"),
            Self::Utf8 => f.write_str("a text of the frame is not UTF-8"),
            Self::Types => f.write_str("the frame has not one type for each parameter"),
            Self::Depth => f.write_str("the frame's keys are within each other too far"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests;
