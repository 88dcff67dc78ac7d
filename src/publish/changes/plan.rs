//! What one trigger of `sse.publish_change()` publishes: to whom, under which topic, which columns. Also what
//! makes a trigger unfit (C3.5): asked when it is made, and again by every session that fires it, because a
//! column may be renamed, a table get a name that no topic has, or a trigger be made past the check.
//!
//! Not for: keeping plans, and publishing (`changes.rs`).

use std::fmt;

use pgrx::PgSqlErrorCode;
use sse_proto::scope::{Scope, ScopeError};
use sse_proto::word::{LabelError, Topic};

use crate::pg::row::Shape;
use crate::pg::table::{self, Column};
use crate::pg::text::from_server;
use crate::pg::trigger::{Misfit, Trigger};

/// How the changes of one table are published through one trigger.
pub(crate) struct Plan {
    /// Oid of the trigger.
    pub(super) trigger: u32,
    /// The trigger, for people.
    pub(super) description: String,
    pub(super) scope: Scope,
    pub(super) topic: String,
    /// What stands between the operation and the key: `","schema":…,"table":…,"key":`.
    pub(super) names: String,
    shown: Shape,
    key: Option<Shape>,
}

/// Why a trigger publishes nothing.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It does not fire after single rows.
    Misfit(Misfit),
    /// Its first argument is no scope.
    Scope(ScopeError),
    /// Its table's name cannot be a topic.
    Topic { table: String, error: LabelError },
    /// It names a column that the table does not have.
    NoColumn { column: String, table: String, argument: usize },
    /// It names a column twice.
    Twice { column: String, argument: usize },
    /// It names a virtual generated column, which the rows of a trigger do not have.
    Virtual { column: String, argument: usize },
    /// Its table is gone.
    Gone,
}

impl Plan {
    /// The plan of a trigger whose own table has these columns.
    ///
    /// # Errors
    /// [`Unfit`]: it cannot publish.
    pub(super) fn new(trigger: &Trigger, columns: &[Column]) -> Result<Self, Unfit> {
        if let Some(misfit) = trigger.misfit() {
            return Err(Unfit::Misfit(misfit));
        }
        let (scope, listed) = match trigger.arguments.split_first() {
            None => (Scope::Authorize(Vec::new()), &[][..]),
            Some((scope, listed)) => (Scope::parse(&from_server(scope)).map_err(Unfit::Scope)?, listed),
        };
        let made_on = trigger.made_on();
        let (schema, name) = table::name(made_on).ok_or(Unfit::Gone)?;
        let topic = format!("{schema}.{name}");
        if let Err(error) = Topic::parse(&topic) {
            return Err(Unfit::Topic { table: topic, error });
        }
        let mut ordered: Vec<&Column> = columns.iter().collect();
        if made_on != trigger.relation {
            // A partition may have the same columns in another order.
            ordered.sort_by_key(|column| table::place_of(made_on, &column.name));
        }
        let shown = if listed.is_empty() {
            ordered.iter().filter(|column| !column.is_virtual).copied().collect()
        } else {
            listed_columns(listed, &ordered, &topic)?
        };
        let key = key_columns(made_on, &ordered);
        Ok(Self {
            trigger: trigger.oid,
            description: describe(trigger, &topic),
            scope,
            names: format!("\",\"schema\":{},\"table\":{},\"key\":", json(&schema), json(&name)),
            topic,
            shown: Shape::new(&shown),
            key: (!key.is_empty()).then(|| Shape::new(&key)),
        })
    }

    /// The columns that are shown.
    pub(crate) fn shown(&self) -> &Shape {
        &self.shown
    }

    /// The columns of the primary key, if there is one.
    pub(crate) fn key(&self) -> Option<&Shape> {
        self.key.as_ref()
    }
}

/// The trigger for people, with the name of the table that it was made on, or of its own.
pub(super) fn describe(trigger: &Trigger, table: &str) -> String {
    format!("trigger \"{}\" on {}", trigger.name.escape_debug(), table.escape_debug())
}

/// At most this many bytes of a name are told that no column can have.
const MAX_SHOWN_BYTES: usize = 200;

/// In the order in which they are named.
fn listed_columns<'a>(
    listed: &[Vec<u8>],
    columns: &[&'a Column],
    table: &str,
) -> Result<Vec<&'a Column>, Unfit> {
    let mut shown: Vec<&Column> = Vec::with_capacity(listed.len());
    // The scope is the first argument.
    for (argument, name) in (2..).zip(listed) {
        let found = columns.iter().find(|column| column.name.to_bytes() == name.as_slice());
        let column = from_server(name.get(..MAX_SHOWN_BYTES).unwrap_or(name));
        let Some(found) = found else {
            return Err(Unfit::NoColumn { column, table: table.to_owned(), argument });
        };
        if found.is_virtual {
            return Err(Unfit::Virtual { column, argument });
        }
        if shown.iter().any(|one| one.name == found.name) {
            return Err(Unfit::Twice { column, argument });
        }
        shown.push(found);
    }
    Ok(shown)
}

/// Those of the table that the trigger was made on: a partition may have another key of its own, which names
/// a row among those of all partitions no better.
fn key_columns<'a>(made_on: u32, columns: &[&'a Column]) -> Vec<&'a Column> {
    let names = table::primary_key(made_on);
    let is_of_key = |column: &&Column| names.contains(&column.name);
    columns.iter().copied().filter(is_of_key).collect()
}

/// A JSON string.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Unfit {
    /// The SQLSTATE of the statement that makes such a trigger.
    pub(crate) fn code(&self) -> PgSqlErrorCode {
        match self {
            Self::Misfit(_) | Self::Gone => PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION,
            Self::Scope(ScopeError::OutOfMemory) => PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            Self::Scope(_) => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::Topic { .. } => PgSqlErrorCode::ERRCODE_INVALID_NAME,
            Self::NoColumn { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            Self::Twice { .. } => PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN,
            Self::Virtual { .. } => PgSqlErrorCode::ERRCODE_INVALID_COLUMN_REFERENCE,
        }
    }

    /// What its author can do.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Misfit(_) => "Make it AFTER INSERT OR UPDATE OR DELETE ON the table FOR EACH ROW.".to_owned(),
            Self::Scope(_) => "The first argument of sse.publish_change() says who receives the changes, the others name the columns that are shown.".to_owned(),
            Self::Topic { .. } => "The topic of the changes is the table's schema and name, with a dot between them.".to_owned(),
            Self::NoColumn { argument, .. } | Self::Twice { argument, .. } => format!(
                "It is argument {argument} of sse.publish_change(): the first is the scope, the others name the columns that are shown, as the catalog writes them."
            ),
            Self::Virtual { argument, .. } => format!(
                "It is argument {argument} of sse.publish_change(). A virtual generated column is computed when it is read; the rows that a trigger gets do not have it."
            ),
            Self::Gone => "Its table does not exist any more.".to_owned(),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misfit(misfit) => {
                let misfit = match misfit {
                    Misfit::Before => "a BEFORE trigger",
                    Misfit::InsteadOf => "an INSTEAD OF trigger",
                    Misfit::Statement => "a trigger FOR EACH STATEMENT",
                    Misfit::Truncate => "a trigger for TRUNCATE",
                };
                write!(f, "sse.publish_change() cannot be called by {misfit}")
            }
            Self::Scope(error) => write!(f, "argument 1 of sse.publish_change() is not valid: {error}"),
            Self::Topic { table, error } => {
                write!(f, "the name of table {} cannot be a topic: {error}", table.escape_debug())
            }
            Self::NoColumn { column, table, .. } => {
                write!(f, "table {} has no column \"{}\"", table.escape_debug(), column.escape_debug())
            }
            Self::Twice { column, .. } => write!(f, "column \"{}\" is named twice", column.escape_debug()),
            Self::Virtual { column, .. } => {
                write!(f, "column \"{}\" is a virtual generated column", column.escape_debug())
            }
            Self::Gone => f.write_str("the table of sse.publish_change() is gone"),
        }
    }
}
