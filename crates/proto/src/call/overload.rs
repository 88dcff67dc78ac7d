//! Finds the overload that a request means, and which of its parameters each name is (C7.3).
//!
//! Not for the values: they are looked at when the overload is known.

use super::argument::{ArgumentError, UserParameters, Value};
use super::json;
use super::literal;
use super::name::{USER_PARAMETERS, camel_case, is_camel_case_of};
use super::signature::{Mode, Parameter};
use super::type_kind::TypeKind;
use crate::annotation::RoutineKind;
use crate::route::Call;
use std::borrow::Cow;

/// A call with what each of its parameters gets.
#[derive(Debug)]
pub(super) struct Bound<'c, 'v, 'a> {
    pub(super) call: &'c Call,
    /// In the order of the parameters: those that a statement mentions or leaves out.
    pub(super) arguments: Vec<(&'c Parameter, Argument<'v, 'a>)>,
    /// How many parameters that the request could have given are left to their defaults.
    left: usize,
}

/// What a parameter gets.
#[derive(Debug)]
pub(super) enum Argument<'v, 'a> {
    Given(&'v Value<'a>),
    /// From who calls; `None` is NULL.
    Filled(Option<String>),
    Default,
    /// A user parameter with a default, when the caller is anonymous: left to its default where that is
    /// possible, else NULL.
    Nobody,
    /// An OUT parameter of a procedure.
    Out,
}

impl Argument<'_, '_> {
    /// Whether it need not be mentioned.
    pub(super) fn is_left(&self) -> bool {
        matches!(self, Self::Default | Self::Nobody)
    }
}

/// # Errors
/// The error of the only call; the error of all if it is the same; else [`ArgumentError::NoOverload`] or
/// [`ArgumentError::Ambiguous`].
pub(super) fn choose<'c, 'v, 'a>(
    calls: impl Iterator<Item = &'c Call>,
    given: &'v [(Cow<'a, str>, Value<'a>)],
    user: &UserParameters,
    user_parameters_on: bool,
) -> Result<Bound<'c, 'v, 'a>, ArgumentError> {
    let mut candidates: Vec<Bound<'c, 'v, 'a>> = Vec::new();
    let mut first_error = None;
    for call in calls {
        match Bound::try_new(call, given, user, user_parameters_on || call.user_parameters) {
            Ok(bound) => candidates.push(bound),
            Err(error) => match &first_error {
                Some(first) if *first != error => first_error = Some(ArgumentError::NoOverload),
                _ => first_error = Some(error),
            },
        }
    }
    candidates.sort_by_key(|bound| bound.left);
    let mut candidates = candidates.into_iter();
    let best = candidates.next().ok_or(first_error.unwrap_or(ArgumentError::NoOverload))?;
    if candidates.any(|other| other.left == best.left || other.looks_like(&best)) {
        return Err(ArgumentError::Ambiguous);
    }
    Ok(best)
}

impl<'c, 'v, 'a> Bound<'c, 'v, 'a> {
    fn try_new(
        call: &'c Call,
        given: &'v [(Cow<'a, str>, Value<'a>)],
        user: &UserParameters,
        is_filled: bool,
    ) -> Result<Self, ArgumentError> {
        let parameters = &call.signature.parameters;
        let mut values: Vec<Option<&'v Value<'a>>> = vec![None; parameters.len()];
        for (name, value) in given {
            match values.get_mut(position(parameters, name, is_filled)?) {
                Some(slot @ None) => *slot = Some(value),
                _ => return Err(ArgumentError::Twice(shown(name))),
            }
        }
        let mut arguments = Vec::new();
        let mut left = 0;
        for (parameter, value) in parameters.iter().zip(values) {
            let argument = match (parameter.mode, value) {
                (Mode::Table, _) => continue,
                (Mode::Out, _) if call.kind == RoutineKind::Function => continue,
                (Mode::Out, _) => Argument::Out,
                (_, Some(value)) => Argument::Given(value),
                _ if is_filled && is_user_parameter(parameter) => match user.value(parameter) {
                    None if parameter.has_default => Argument::Nobody,
                    value => Argument::Filled(value),
                },
                _ if parameter.has_default => {
                    left += 1;
                    Argument::Default
                }
                _ => return Err(ArgumentError::Missing(shown_name(parameters, parameter))),
            };
            arguments.push((parameter, argument));
        }
        Ok(Self { call, arguments, left })
    }

    /// Whether Postgres could not tell the two calls apart: the same names with the same types. Which of them
    /// needs fewer defaults makes no difference to it (CREATE FUNCTION, "Overloading").
    fn looks_like(&self, other: &Self) -> bool {
        let sent = |bound: &Self| {
            let is_sent = |argument: &&(&'c Parameter, Argument<'v, 'a>)| !argument.1.is_left();
            let mut sent: Vec<(&str, u32)> = bound
                .arguments
                .iter()
                .filter(is_sent)
                .map(|(parameter, _)| (parameter.name.as_str(), parameter.type_oid))
                .collect();
            sent.sort_unstable();
            sent
        };
        sent(self) == sent(other)
    }
}

/// The parameter that a name of the request means. The exact SQL name comes first; then camelCase.
fn position(parameters: &[Parameter], name: &str, is_filled: bool) -> Result<usize, ArgumentError> {
    let inputs = || parameters.iter().enumerate().filter(|(_, parameter)| parameter.is_input());
    let is_open = |parameter: &Parameter| !(is_filled && is_user_parameter(parameter));
    if let Some(number) = name.strip_prefix('$') {
        let unnamed = inputs().enumerate().find(|(input, (_, parameter))| {
            parameter.name.is_empty() && number.parse() == Ok(input + 1) && !number.starts_with(['0', '+'])
        });
        if let Some((_, (position, _))) = unnamed {
            return Ok(position);
        }
    }
    let named = || inputs().filter(|(_, parameter)| !parameter.name.is_empty());
    if let Some((position, parameter)) = named().find(|(_, parameter)| parameter.name == name) {
        return if is_open(parameter) { Ok(position) } else { Err(ArgumentError::Filled(shown(name))) };
    }
    let mut is_filled_by_us = false;
    let mut found = None;
    for (position, parameter) in named().filter(|(_, parameter)| is_camel_case_of(name, &parameter.name)) {
        match (is_open(parameter), found) {
            (false, _) => is_filled_by_us = true,
            (true, None) => found = Some(position),
            (true, Some(_)) => return Err(ArgumentError::AmbiguousName(shown(name))),
        }
    }
    match found {
        Some(position) => Ok(position),
        None if is_filled_by_us => Err(ArgumentError::Filled(shown(name))),
        None => Err(ArgumentError::Unknown(shown(name))),
    }
}

/// How a parameter is called in a message.
pub(super) fn shown_name(parameters: &[Parameter], parameter: &Parameter) -> String {
    if !parameter.name.is_empty() {
        return camel_case(&parameter.name);
    }
    let mut inputs = parameters.iter().filter(|other| other.is_input());
    let place = inputs.position(|other| std::ptr::eq(other, parameter));
    place.map_or_else(String::new, |place| format!("${}", place + 1))
}

/// A name from a request, shortened for a message.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

fn is_user_parameter(parameter: &Parameter) -> bool {
    USER_PARAMETERS.contains(&parameter.name.as_str())
}

impl UserParameters {
    /// The text for one of [`USER_PARAMETERS`], as the type of the parameter takes it.
    fn value(&self, parameter: &Parameter) -> Option<String> {
        let present = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let text = match parameter.name.as_str() {
            "_user_id" => present(&self.user_id)?,
            "_user_name" => present(&self.user_name)?,
            "_ip_address" => present(&self.ip_address)?,
            "_user_claims" => return present(&self.user_claims),
            _ => return self.roles(&parameter.kind),
        };
        Some(if parameter.kind == TypeKind::Json { json::quoted(&text) } else { text })
    }

    /// A text gets the same JSON array as `request.user_roles`.
    fn roles(&self, kind: &TypeKind) -> Option<String> {
        let roles = self.user_roles.as_ref()?;
        let bytes = roles.iter().map(String::len).sum();
        match kind {
            TypeKind::Array { delimiter, .. } => {
                literal::array(roles.iter(), *delimiter, super::value::limit(bytes)).ok()
            }
            _ => Some(serde_json::Value::from(roles.clone()).to_string()),
        }
    }
}
