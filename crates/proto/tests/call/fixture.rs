//! Calls out of one line each: `in a int4, in _user_id text =, variadic tags _text, out - jsonb`.
//!
//! Mode, name (`-`: none), type, and `=` for a default. Types are `pg_catalog`'s; one that begins with `_` is
//! an array, `row` a composite type of schema `app`, with the columns `street_name`, `no` and `tags`.
//!
//! What stands for the oid of a type is made of its name ([`oid`]).

#![allow(dead_code, reason = "each test binary uses its own part")]

use sse_proto::annotation::{Access, Method, RoutineKind};
use sse_proto::call::{
    ArgumentError, Given, Member, Mode, Parameter, ResultType, RowType, Shape, Signature, Statement,
    TypeKind, UserParameters, statement,
};
use sse_proto::route::Call;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

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
        type_oid: oid(&full_name(type_name)),
        type_name: full_name(type_name),
        kind: kind(type_name),
        has_default: words.get(3) == Some(&"="),
    }
}

fn full_name(type_name: &str) -> String {
    match type_name {
        "row" => "app.\"Row\"".to_owned(),
        "_row" => "app.\"_Row\"".to_owned(),
        _ => format!("pg_catalog.{type_name}"),
    }
}

/// Stands for the oid of a type of that name.
pub(crate) fn oid(type_name: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    type_name.hash(&mut hasher);
    hasher.finish() as u32
}

pub(crate) fn kind(type_name: &str) -> TypeKind {
    match type_name {
        "json" | "jsonb" => TypeKind::Json,
        "bytea" => TypeKind::Bytes,
        "row" => row(&[("street_name", "text"), ("no", "int4"), ("tags", "_text")]),
        "anyelement" => TypeKind::Pseudo,
        name => match name.strip_prefix('_') {
            Some(element) => TypeKind::Array {
                delimiter: if element == "box" { ';' } else { ',' },
                element: Arc::new(kind(element)),
            },
            None => TypeKind::Scalar,
        },
    }
}

/// A row type of members and their types.
pub(crate) fn row(members: &[(&str, &str)]) -> TypeKind {
    let member = |(name, of): &(&str, &str)| Member { name: (*name).to_owned(), kind: kind(of) };
    TypeKind::Composite(Arc::new(RowType::new(members.iter().map(member).collect())))
}

pub(crate) fn result(shape: Shape, is_set: bool, columns: &[&str]) -> ResultType {
    let columns = columns.iter().map(|&column| column.to_owned()).collect();
    ResultType { shape, is_set, columns, kinds: Vec::new() }
}

pub(crate) fn signature(declaration: &str, result: ResultType) -> Signature {
    Signature {
        rows: Vec::new(),
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
