//! Why a routine with an `HTTP` line cannot be called, as far as its signature shows it (C2.5, C7.1, C7.5).
//!
//! Not for mistakes of the comment itself: these stop its streams too, and the problems found here do not.

use super::signature::{MAX_PARAMETERS, Mode, Shape, Signature};
use super::type_kind::TypeKind;
use crate::annotation::{Annotation, Problem, RoutineKind};

/// The problems, for `sse.endpoints`. Without one the routine can be called. Long because it is one list.
pub(crate) fn problems(kind: RoutineKind, signature: &Signature, annotation: &Annotation) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |word: &str, message: &str| problems.push(Problem::new(0, word, message));
    if signature.parameters.len() > MAX_PARAMETERS {
        add("HTTP", "it has too many parameters: expected at most 1,764, those of RETURNS TABLE included");
        return problems;
    }
    match signature.result.shape {
        Shape::Record => {
            add(
                "record",
                "the columns of this result are not known: expected RETURNS TABLE or OUT parameters",
            );
        }
        Shape::Pseudo => {
            add(
                "HTTP",
                "a routine that returns a pseudo-type (trigger, internal, anyelement) cannot be called",
            );
        }
        Shape::Void | Shape::Scalar | Shape::Json | Shape::Array | Shape::Composite => {}
    }
    for parameter in &signature.parameters {
        let is_passed = parameter.is_input() || parameter.mode == Mode::Out && kind == RoutineKind::Procedure;
        let message = match parameter.kind {
            _ if !is_passed => continue,
            TypeKind::Pseudo => "no request can give a value of this pseudo-type: expected a type of its own",
            TypeKind::TooLarge => {
                "the row types within this type have too many members: expected at most 10,000, and 50 levels"
            }
            _ => continue,
        };
        add(&parameter.type_name, message);
    }
    if annotation.login {
        let is_output = |mode| matches!(mode, Mode::Out | Mode::InOut);
        let has_row = match kind {
            RoutineKind::Function => !signature.result.columns.is_empty(),
            RoutineKind::Procedure => signature.parameters.iter().any(|parameter| is_output(parameter.mode)),
        };
        if !has_row {
            add(
                "@login",
                "the columns of its first row become claims: expected RETURNS TABLE or OUT parameters",
            );
        }
        if !signature.owner_may_issue_tokens {
            add(
                "@login",
                "the routine's owner may not make tokens: expected GRANT EXECUTE ON FUNCTION sse.issue_token",
            );
        }
    }
    if !signature.may_execute {
        add(
            "HTTP",
            "the role of sse.call_role may not call it: expected GRANT EXECUTE, and USAGE on its schema",
        );
    }
    problems
}
