//! Calls out of one line each: `in a int4, in _user_id text =, variadic tags _text, out - jsonb`.
//!
//! Mode, name (`-`: none), type, and `=` for a default. Types are `pg_catalog`'s; one that begins with `_` is an array,
//! `row` a composite type of schema `app`.

#![allow(dead_code, reason = "each test binary uses its own part")]

use sse_proto::annotation::{Access, Method, RoutineKind};
use sse_proto::call::{
    ArgumentError, Given, Mode, Parameter, ResultType, Shape, Signature, Statement, TypeKind, UserParameters,
    statement,
};
use sse_proto::route::Call;

pub(crate) fn parameters(declaration: &str) -> Vec<Parameter> {
    declaration.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parameter).collect()
}

fn parameter(part: &str) -> Parameter {
    let words: Vec<&str> = part.split(' ').collect();
    let (mode, name, type_name) = match words.as_slice() {
        [mode, name, type_name, ..] => (*mode, *name, *type_name),
        _ => panic!("{part:?}"),
    };
    Parameter {
        name: if name == "-" { String::new() } else { name.to_owned() },
        mode: match mode {
            "in" => Mode::In,
            "inout" => Mode::InOut,
            "out" => Mode::Out,
            "variadic" => Mode::Variadic,
            "table" => Mode::Table,
            _ => panic!("{part:?}"),
        },
        type_name: if type_name == "row" {
            "app.\"Row\"".to_owned()
        } else {
            format!("pg_catalog.{type_name}")
        },
        kind: match type_name {
            "json" | "jsonb" => TypeKind::Json,
            "row" => TypeKind::Composite,
            "_box" => TypeKind::Array { delimiter: ';' },
            "anyelement" => TypeKind::Pseudo,
            name if name.starts_with('_') => TypeKind::Array { delimiter: ',' },
            _ => TypeKind::Scalar,
        },
        has_default: words.get(3) == Some(&"="),
    }
}

pub(crate) fn result(shape: Shape, is_set: bool, columns: &[&str]) -> ResultType {
    ResultType { shape, is_set, columns: columns.iter().map(|&column| column.to_owned()).collect() }
}

pub(crate) fn signature(declaration: &str, result: ResultType) -> Signature {
    Signature {
        parameters: parameters(declaration),
        result,
        strict: false,
        may_execute: true,
        owner_may_issue_tokens: true,
    }
}

/// `app.f`, a function that returns a number.
pub(crate) fn function(declaration: &str) -> Call {
    Call {
        oid: 1,
        schema: "app".to_owned(),
        name: "f".to_owned(),
        kind: RoutineKind::Function,
        method: Method::Post,
        access: Access::Unspecified,
        login: false,
        logout: false,
        user_parameters: false,
        user_context: false,
        read_only: false,
        signature: signature(declaration, result(Shape::Scalar, false, &[])),
    }
}

/// `app.f`, a procedure.
pub(crate) fn procedure(declaration: &str) -> Call {
    let signature = signature(declaration, result(Shape::Void, false, &[]));
    Call { kind: RoutineKind::Procedure, signature, ..function("") }
}

/// Somebody with everything.
pub(crate) fn alice() -> UserParameters {
    UserParameters {
        user_id: Some("42".to_owned()),
        user_name: Some("alice".to_owned()),
        user_roles: Some(vec!["a,b".to_owned(), "c\"".to_owned()]),
        user_claims: Some(r#"{"sub":"42"}"#.to_owned()),
        ip_address: Some("192.0.2.1".to_owned()),
    }
}

/// One call with a body.
pub(crate) fn post(call: &Call, body: &str) -> Result<Statement, ArgumentError> {
    post_as(call, body, &UserParameters::default())
}

pub(crate) fn post_as(call: &Call, body: &str, user: &UserParameters) -> Result<Statement, ArgumentError> {
    statement([call].into_iter(), &Given::Body(body.as_bytes()), user, false).map(|(_, statement)| statement)
}

/// One call with a query string.
pub(crate) fn get(call: &Call, query: &str) -> Result<Statement, ArgumentError> {
    let given = Given::parse_query(query)?;
    statement([call].into_iter(), &given, &UserParameters::default(), false).map(|(_, statement)| statement)
}

/// The arguments within the parentheses of `"app"."f"(…)`.
pub(crate) fn arguments(statement: &Statement) -> &str {
    let start = statement.sql.find("\"app\".\"f\"(").expect("the routine is named") + "\"app\".\"f\"(".len();
    let rest = &statement.sql[start..];
    let mut depth = 0;
    let end = rest.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth < 0
    });
    &rest[..end.expect("it is closed")]
}

/// The parameters; `None` is NULL.
pub(crate) fn values(statement: &Statement) -> Vec<Option<&str>> {
    statement.parameters.iter().map(Option::as_deref).collect()
}
