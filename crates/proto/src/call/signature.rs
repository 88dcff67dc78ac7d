//! What a call has to know of a routine besides its name: parameters, result, and who may do what with it.
//!
//! Not for reading it from the catalog, nor for the types' own structure ([`TypeKind`]).

use super::row_version::RowVersion;
use super::type_kind::TypeKind;

/// Most parameters of a routine that can be called, of all modes: Postgres takes no more inputs than 100, and
/// no row with more than 1,664 columns. The list in the catalog may be longer all the same, by millions, in
/// one statement of any role that may create functions; such a routine has a problem, and nobody reads the
/// list.
pub const MAX_PARAMETERS: usize = 100 + 1664;

/// Parameters and result of a routine, as the catalog has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// All of them, in the order of the declaration, those of `RETURNS TABLE` included.
    pub parameters: Vec<Parameter>,
    /// What it returns. Of a procedure: [`Shape::Void`]; its answer are its OUT parameters.
    pub result: ResultType,
    /// The row types within its parameters and its result, each once.
    pub rows: Vec<RowVersion>,
    /// `proisstrict`: not executed when an argument is NULL.
    pub strict: bool,
    /// Whether the role of calls has EXECUTE on it and USAGE on its schema.
    pub may_execute: bool,
    /// Whether its owner may EXECUTE `sse.issue_token`, which `@login` needs (C7.5).
    pub owner_may_issue_tokens: bool,
}

impl Signature {
    /// Stands for that of a routine with more than [`MAX_PARAMETERS`]: one more of them than that, and
    /// nothing is known of any.
    pub fn of_too_many_parameters() -> Self {
        Self::of_unknown(Mode::Out, MAX_PARAMETERS + 1)
    }

    /// Stands for that of a function that takes an argument that no snapshot has: nothing else is known of
    /// it.
    pub fn of_an_argument() -> Self {
        Self::of_unknown(Mode::In, 1)
    }

    fn of_unknown(mode: Mode, count: usize) -> Self {
        let unknown = Parameter {
            name: String::new(),
            mode,
            type_oid: 0,
            type_name: String::new(),
            kind: TypeKind::Scalar,
            has_default: false,
        };
        Self {
            parameters: vec![unknown; count],
            result: ResultType { shape: Shape::Void, is_set: false, columns: Vec::new(), kinds: Vec::new() },
            rows: Vec::new(),
            strict: false,
            may_execute: false,
            owner_may_issue_tokens: false,
        }
    }
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty when it has none.
    pub name: String,
    /// Which way it goes.
    pub mode: Mode,
    /// Its type. Statements use the oid alone: a name would have to be looked up, which needs USAGE on the
    /// type's schema (calling the routine does not), and fails when the type is renamed.
    pub type_oid: u32,
    /// The type for people, as SQL writes it: `integer[]`; of other schemas than pg_catalog `schema.name`.
    pub type_name: String,
    /// How its values are read.
    pub kind: TypeKind,
    /// Whether it may be left out. Of OUT and TABLE parameters: `false`.
    pub has_default: bool,
}

impl Parameter {
    /// Whether a request can give a value for it.
    pub fn is_input(&self) -> bool {
        matches!(self.mode, Mode::In | Mode::InOut | Mode::Variadic)
    }
}

/// Which way a parameter goes (`proargmodes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `i`
    In,
    /// `b`
    InOut,
    /// `o`
    Out,
    /// `v`; its type is the array's.
    Variadic,
    /// `t`, a column of `RETURNS TABLE`
    Table,
}

/// What a routine returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultType {
    /// What one row of it is.
    pub shape: Shape,
    /// `proretset`: SETOF or TABLE.
    pub is_set: bool,
    /// Names of the columns of a [`Shape::Composite`], in the order and number of `SELECT * FROM f()`; the
    /// name of its one OUT parameter for the other shapes, if there is one; else empty.
    pub columns: Vec<String>,
    /// The kinds of its values, for the keys of rows inside them (C7.3): for a [`Shape::Composite`] one for
    /// each column, else one. Empty if nothing inside has keys.
    pub kinds: Vec<TypeKind>,
}

/// What one row of a result is. Of a domain: that of its base type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing: `void`, and every procedure.
    Void,
    /// One value.
    Scalar,
    /// One `json` or `jsonb`.
    Json,
    /// One array.
    Array,
    /// A named row type, several OUT parameters, or `RETURNS TABLE` also of one column.
    Composite,
    /// `record` without OUT parameters: nobody knows its columns.
    Record,
    /// `trigger`, `internal`, polymorphic and other pseudo-types but `void`.
    Pseudo,
}

/// Whether calls can run, as the catalog worker found the role that `sse.call_role` names (C7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallRole {
    /// The setting is empty: there are no calls.
    Off,
    /// It may be used.
    Ready {
        /// What the administrator should know, a sentence each.
        warnings: Vec<String>,
    },
    /// It may not be used.
    Refused {
        /// Why.
        reason: String,
        /// The cure.
        hint: String,
    },
}
