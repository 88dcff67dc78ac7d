//! HTTP calls of routines (contract section 7): from the arguments of a request to a statement, and the
//! frames in which it travels to a call worker and its answer back.
//!
//! A statement depends on the catalog, on the names that a request gives and on the kind of their values; its
//! values travel as parameters. Nothing that a request says is ever part of SQL.
//!
//! Where the contract leaves room, these are the rules:
//! - A parameter without a name is `$1`, `$2`, … by its place among those that take a value.
//! - An exact SQL name comes before camelCase; a camelCase name of two parameters means neither.
//! - JSON `null` is NULL, also for a `json` parameter. `?a=` is the empty text.
//! - From a query string, an array has one dimension and at least one element, and a row is its literal,
//!   `(1,x)`, or a JSON object; with a `bytea` in it, only the latter. A parameter given twice that is no
//!   array is a mistake.
//! - Members of a row are called as parameters are. One that is left out is NULL: a column of a type has no
//!   default.
//! - An element of an array of `json` is any JSON value, an array among them; so such an array has one
//!   dimension.
//! - For an anonymous caller user parameters have their defaults; without a default they are NULL. Roles are
//!   an array, or the JSON array of `request.user_roles` where the parameter is no array.
//! - Postgres does not prefer the overload with fewer defaults where the types are the same, and neither does
//!   pg_sse.
//!
//! Not for who may call ([`crate::admission`]), for which routines have which path ([`crate::route`]), nor
//! for running anything.

mod answer_shape;
mod argument;
mod callable;
mod cut;
mod failure;
mod frame;
mod json;
mod keys;
mod literal;
mod name;
mod overload;
mod parameter_label;
mod row_types;
mod row_version;
mod select;
mod signature;
mod statement;
mod tenure;
mod type_kind;
mod value;

pub use crate::codec::{DecodeError, EncodeError};
pub use answer_shape::AnswerShape;
pub use argument::{ArgumentError, Expected, Given, UserParameters};
pub(crate) use callable::problems;
pub use cut::Cut;
pub use failure::{
    CANCELLED, OUT_OF_TIME, failure_detail, failure_status, failure_title, tells_argument, tells_message,
};
pub use frame::{CallAnswer, CallRequest, EventsEnd, Outcome, StatementRef};
pub use keys::{Keys, NoMemory};
pub use name::{USER_PARAMETERS, answer_names, camel_case};
pub use parameter_label::ParameterLabel;
pub use row_types::RowTypes;
pub use row_version::{ColumnDigest, RowVersion};
pub use signature::{CallRole, MAX_PARAMETERS, Mode, Parameter, ResultType, Shape, Signature};
pub use statement::{Statement, ValueType, statement};
pub use tenure::Tenure;
pub use type_kind::{MAX_LEVELS, MAX_MEMBERS, Member, RowType, TypeKind};
