//! The statement that runs a call: the routine's name, its arguments as parameters of exactly the declared
//! types, and around it the SQL that turns the result into the answer's text ([`select`](super::select)).
//!
//! Types are given by oid, apart from the SQL: so the routine is found without a conversion, and a role that
//! may call it needs no privilege on the schemas of its types. Casts by name would need that privilege, and
//! fail after a renaming.
//!
//! Identifiers come from the catalog, are always quoted and always have a schema: the search_path of a call
//! is its role's own, and decides nothing here.
//!
//! Not for the answer's bytes: the call worker puts them together as [`AnswerShape`] says.

use super::answer_shape::AnswerShape;
use super::argument::{ArgumentError, Given, UserParameters};
use super::keys::Keys;
use super::name::{answer_names, identifier, push_identifier};
use super::overload::{self, Argument, Bound};
use super::parameter_label::ParameterLabel;
use super::row_version::RowVersion;
use super::select;
use super::signature::{Mode, Parameter};
use super::value;
use crate::annotation::RoutineKind;
use crate::route::Call;
use std::fmt::Write;

/// What a call worker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// One `SELECT` or `CALL`. Depends on the catalog and the names given, never on values, so with the types
    /// it is a key for prepared plans.
    pub sql: String,
    /// `$1`, `$2`, … as texts for the input functions of their types; `None` is NULL.
    pub parameters: Vec<Option<String>>,
    /// The declared type of each parameter.
    pub types: Vec<ValueType>,
    /// What the caller is told of each parameter. Not in a frame: it is who answers the caller that needs it.
    pub labels: Vec<ParameterLabel>,
    /// What becomes of its rows.
    pub answer: AnswerShape,
    /// Of [`AnswerShape::ProcedureRow`]: the names of the row's columns in the answer; else empty.
    pub columns: Vec<String>,
    /// Which keys inside the answer are renamed.
    pub keys: Keys,
    /// The row types whose columns the statement relies on.
    pub rows: Vec<RowVersion>,
}

/// The type of a parameter of a [`Statement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// `pg_type.oid`
    pub oid: u32,
    /// For an OUT parameter: a NULL that is never evaluated, so that even a domain that forbids NULL accepts
    /// it.
    pub is_output: bool,
}

/// Chooses the overload by the names that a request gives and makes its statement.
///
/// `calls` are those of one path and method. Chosen is the one that takes all names given and leaves the
/// fewest parameters to their defaults. User parameters are filled from `user` where the routine asks for it
/// or `user_parameters_on` (the setting) does; else they are ordinary ones.
///
/// # Errors
/// [`ArgumentError`]; each variant as it is described there.
pub fn statement<'c>(
    calls: impl Iterator<Item = &'c Call>,
    given: &Given<'_>,
    user: &UserParameters,
    user_parameters_on: bool,
) -> Result<(&'c Call, Statement), ArgumentError> {
    let given = given.read()?;
    let bound = overload::choose(calls, &given, user, user_parameters_on)?;
    let mut builder = Builder::default();
    builder.expression(&bound)?;
    Ok((bound.call, builder.finish(bound.call)))
}

#[derive(Default)]
struct Builder {
    /// `schema.name(arguments)`
    routine: String,
    parameters: Vec<Option<String>>,
    types: Vec<ValueType>,
    labels: Vec<ParameterLabel>,
    /// Whether an argument is NULL, as far as the request says it.
    has_null: bool,
}

impl Builder {
    /// Positional arguments first, as many as parameters without a name require; then the others by name, and
    /// VARIADIC last, as SQL demands.
    fn expression(&mut self, bound: &Bound<'_, '_, '_>) -> Result<(), ArgumentError> {
        let _ = write!(self.routine, "{}.{}(", identifier(&bound.call.schema), identifier(&bound.call.name));
        let positional = positional(bound);
        // With VARIADIC in a call, Postgres fills in no defaults.
        let is_variadic_given = bound
            .arguments
            .iter()
            .any(|(parameter, argument)| parameter.mode == Mode::Variadic && !argument.is_left());
        let parameters = &bound.call.signature.parameters;
        let arguments = || bound.arguments.iter().enumerate();
        let is_last = |parameter: &Parameter| parameter.mode == Mode::Variadic;
        let (early, late): (Vec<_>, Vec<_>) =
            arguments().partition(|(_, (parameter, _))| !is_last(parameter));
        let mut is_first = true;
        for (position, (parameter, argument)) in early.into_iter().chain(late) {
            let cannot_be_left = position < positional || is_variadic_given;
            if argument.is_left() && !cannot_be_left {
                continue;
            }
            let label = ParameterLabel::of(parameters, parameter, argument);
            let text = match argument {
                Argument::Default => return Err(ArgumentError::Gap(label.name)),
                Argument::Nobody | Argument::Out => None,
                Argument::Filled(text) => text.clone(),
                Argument::Given(value) => value::text_of(value, &parameter.kind, &label.name)?,
            };
            if !is_first {
                self.routine.push_str(", ");
            }
            is_first = false;
            if parameter.mode == Mode::Variadic {
                self.routine.push_str("VARIADIC ");
            }
            if position >= positional {
                push_identifier(&mut self.routine, &parameter.name);
                self.routine.push_str(" => ");
            }
            self.labels.push(label);
            self.value(text, parameter, matches!(argument, Argument::Out));
        }
        self.routine.push(')');
        Ok(())
    }

    fn value(&mut self, text: Option<String>, parameter: &Parameter, is_output: bool) {
        self.has_null |= text.is_none() && !is_output;
        self.parameters.push(text);
        self.types.push(ValueType { oid: parameter.type_oid, is_output });
        let _ = write!(self.routine, "${}", self.parameters.len());
    }

    fn finish(self, call: &Call) -> Statement {
        let (sql, answer) = match call.kind {
            RoutineKind::Function => select::of(&self.routine, &call.signature.result, call.login),
            RoutineKind::Procedure => (format!("CALL {}", self.routine), AnswerShape::Nothing),
        };
        let columns = match call.kind {
            RoutineKind::Function => Vec::new(),
            RoutineKind::Procedure => procedure_columns(call),
        };
        let answer = match answer {
            // Postgres does not run the function, and returns no row; `[]` would say that it ran.
            _ if call.signature.strict && self.has_null && !call.login => AnswerShape::Nothing,
            _ if !columns.is_empty() => AnswerShape::ProcedureRow,
            answer => answer,
        };
        let result = &call.signature.result;
        let keys = match (answer, call.kind) {
            // Claims have their SQL names, also within (C7.5).
            _ if call.login => Keys::Kept,
            (AnswerShape::Nothing | AnswerShape::Text, _) => Keys::Kept,
            (_, RoutineKind::Function) => Keys::of_result(result, &answer_names(&result.columns)),
            (_, RoutineKind::Procedure) => Keys::of_outputs(&call.signature, &columns),
        };
        let has_keys = !matches!(answer, AnswerShape::Nothing | AnswerShape::Text);
        let rows = &call.signature.rows;
        // Claims say who somebody is, so outdated columns are never tolerated.
        let rows = rows.iter().map(|row| RowVersion { is_argument: row.is_argument || call.login, ..*row });
        let rows = rows.filter(|row| row.is_argument || has_keys).collect();
        let Self { parameters, types, labels, .. } = self;
        Statement { sql, parameters, types, labels, answer, columns, keys, rows }
    }
}

/// How many arguments must be given by position: all up to the last one without a name; or all, if a VARIADIC
/// parameter is left to its default, because then Postgres finds no routine by names.
fn positional(bound: &Bound<'_, '_, '_>) -> usize {
    let is_variadic_left = bound
        .arguments
        .iter()
        .any(|(parameter, argument)| parameter.mode == Mode::Variadic && argument.is_left());
    let is_bound_to_place = |(parameter, argument): &(&Parameter, Argument<'_, '_>)| {
        !argument.is_left() && (parameter.name.is_empty() || is_variadic_left)
    };
    bound.arguments.iter().rposition(is_bound_to_place).map_or(0, |last| last + 1)
}

/// The columns of the row that a CALL gives: Postgres calls those without a name `column1`, by their place.
/// The claims of `@login` have their SQL names (C7.5).
fn procedure_columns(call: &Call) -> Vec<String> {
    let is_output = |parameter: &&Parameter| matches!(parameter.mode, Mode::Out | Mode::InOut);
    let outputs = call.signature.parameters.iter().filter(is_output);
    let columns: Vec<String> = outputs
        .enumerate()
        .map(|(position, parameter)| match parameter.name.as_str() {
            "" => format!("column{}", position + 1),
            name => name.to_owned(),
        })
        .collect();
    if call.login { columns } else { answer_names(&columns) }
}
