//! Which of several overloads a request means (C7.3).

#![allow(clippy::unwrap_used)]

#[path = "call/fixture.rs"]
mod fixture;

use fixture::function;
use sse_proto::call::{ArgumentError, Given, UserParameters, statement};
use sse_proto::route::Call;

fn chosen(calls: &[Call], body: &str) -> Result<u32, ArgumentError> {
    let given = Given::Body(body.as_bytes());
    statement(calls.iter(), &given, &UserParameters::default(), false).map(|(call, _)| call.oid)
}

fn overloads(declarations: &[&str]) -> Vec<Call> {
    let numbered = declarations.iter().zip(0..);
    numbered.map(|(declaration, oid)| Call { oid, ..function(declaration) }).collect()
}

#[test]
fn an_overload_is_chosen_by_the_names_given() {
    let calls = overloads(&[
        "",
        "in a int4",
        "in a int4, in b int4",
        "in b text",
        "in c int4, in d int4 =, in e int4 =",
    ]);
    for (body, oid) in [
        ("{}", 0),
        (r#"{"a": 1}"#, 1),
        (r#"{"b": 1, "a": 1}"#, 2),
        (r#"{"b": "x"}"#, 3),
        (r#"{"c": 1}"#, 4),
        (r#"{"c": 1, "e": 1}"#, 4),
    ] {
        assert_eq!(chosen(&calls, body), Ok(oid), "{body}");
    }
    assert_eq!(chosen(&calls, r#"{"a": 1, "c": 1}"#), Err(ArgumentError::NoOverload));
    assert_eq!(chosen(&calls, r#"{"x": 1}"#), Err(ArgumentError::Unknown("x".to_owned())));
    assert_eq!(chosen(&[], "{}"), Err(ArgumentError::NoOverload));
}

#[test]
fn of_overloads_that_fit_the_one_with_the_fewest_defaults_is_meant_unless_postgres_cannot_tell() {
    let calls = overloads(&["in a int4, in b int4 =, in c int4 =", "in a text, in b int4 ="]);
    assert_eq!(chosen(&calls, r#"{"a": 1}"#), Ok(1));
    assert_eq!(chosen(&calls, r#"{"a": 1, "c": 1}"#), Ok(0));
    // As many defaults: nothing says which.
    let calls = overloads(&["in a int4, in b int4 =", "in a text, in c int4 ="]);
    assert_eq!(chosen(&calls, r#"{"a": 1}"#), Err(ArgumentError::Ambiguous));
    // The same types: Postgres says "is not unique".
    let calls = overloads(&["in a int4", "in a int4, in b int4 ="]);
    assert_eq!(chosen(&calls, r#"{"a": 1}"#), Err(ArgumentError::Ambiguous));
    assert_eq!(chosen(&calls, r#"{"a": 1, "b": 1}"#), Ok(1));
}
