//! Any request for fixed signatures: refused, or a statement whose SQL has nothing of the request in it. Any
//! bytes as a frame: refused, or exactly the frame that they encode.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::annotation::{Access, Method, RoutineKind};
use sse_proto::call::{
    CallAnswer, CallRequest, Given, Member, Mode, Parameter, ResultType, RowType, Shape, Signature,
    Statement, StatementRef, TypeKind, UserParameters, statement,
};
use sse_proto::route::Call;
use std::sync::Arc;

fuzz_target!(|input: (&[u8], &str, bool)| {
    let (body, query, user_parameters_on) = input;
    // An identity has no zero bytes.
    let name = query.replace('\0', "");
    let user = UserParameters {
        user_id: Some(name.clone()),
        user_roles: Some(vec![name]),
        ..UserParameters::default()
    };
    let calls = calls();
    let given = Given::parse_query(query);
    for given in given.iter().chain([&Given::Body(body)]) {
        for calls in [&calls[..], &calls[..1], &calls[1..2], &calls[2..]] {
            match statement(calls.iter(), given, &user, user_parameters_on) {
                Ok((call, made)) => check(call, &made),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!text.chars().any(char::is_control) && text.len() < 1000, "{text:?}");
                }
            }
        }
    }
    if let Ok(request) = CallRequest::decode(body) {
        assert_eq!(request.encode().as_deref(), Ok(body));
    }
    if let Ok(answer) = CallAnswer::decode(body.to_vec()) {
        assert_eq!(answer.encode().as_deref(), Ok(body));
    }
});

/// The SQL is made of these pieces and nothing else, whatever was asked.
// Long because it is one list of pieces.
fn check(call: &Call, made: &Statement) {
    let pieces = [
        "SELECT ",
        "CALL ",
        "COALESCE(",
        "pg_catalog.to_json(",
        "OPERATOR(pg_catalog.#>>) '{}'::pg_catalog._text",
        "pg_catalog.row_to_json(",
        "::pg_catalog.text",
        "NULL",
        "'null'",
        "VARIADIC ",
        " FROM ",
        " AS ",
        "OFFSET 0",
        " WHERE ",
        "IS DISTINCT FROM NULL",
        " => ",
        ", ",
        "r.v",
        "r(v)",
        "r.*",
        "s.v",
        "t.*",
        "(",
        ")",
        " ",
        ".",
        "v",
        "s",
        "t",
        "r",
    ];
    let own = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut names = vec![own(&call.schema), own(&call.name), "\"bC\"".to_owned(), "\"d\"".to_owned()];
    for parameter in &call.signature.parameters {
        names.push(own(&parameter.name));
    }
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let (sql, count) = (&made.sql, made.parameters.len());
    let mut rest = sql.as_str();
    while !rest.is_empty() {
        let mut known = names.iter().map(String::as_str).chain(pieces);
        if let Some(piece) = known.find(|piece| rest.starts_with(piece)) {
            rest = &rest[piece.len()..];
            continue;
        }
        let number = rest.strip_prefix('$').unwrap_or_else(|| panic!("{rest:?} in {sql}"));
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        let number_of: usize = number[..digits].parse().unwrap_or_else(|_| panic!("{rest:?} in {sql}"));
        assert!((1..=count).contains(&number_of), "{sql}");
        rest = &number[digits..];
    }
    assert_eq!(made.types.len(), count);
    assert!(made.parameters.iter().flatten().all(|text| !text.contains('\0')), "a zero byte");
    // Whatever an answer is: its keys are exchanged, and nothing else happens to it.
    for parameter in made.parameters.iter().flatten() {
        let _ = made.keys.exchange(parameter.clone().into_bytes());
    }
    let request = CallRequest {
        id: 1,
        timeout_ms: 1,
        label: "",
        read_only: false,
        is_snapshot: false,
        settings: Vec::new(),
        statement: StatementRef::from(made),
        caller: None,
        tells_begin: true,
    };
    let bytes = request.encode().expect("what was made can be encoded");
    assert_eq!(CallRequest::decode(&bytes).as_ref(), Ok(&request));
}

fn calls() -> Vec<Call> {
    let parameter = |name: &str, mode, type_name: &str, kind, has_default| Parameter {
        name: name.to_owned(),
        mode,
        type_oid: 25,
        type_name: type_name.to_owned(),
        kind,
        has_default,
    };
    let array = |element| TypeKind::Array { delimiter: ',', element: Arc::new(element) };
    let member = |name: &str, kind| Member { name: name.to_owned(), kind };
    let row = |members| TypeKind::Composite(Arc::new(RowType::new(members)));
    let inner = row(vec![member("the_text", TypeKind::Scalar), member("a_b", TypeKind::Bytes)]);
    let outer = row(vec![
        member("parts", array(inner)),
        member("aB", TypeKind::Json),
        member("a_b", TypeKind::Scalar),
    ]);
    let all = |mode| {
        vec![
            parameter("_a_b", mode, "pg_catalog.int4", TypeKind::Scalar, false),
            parameter("_user_id", Mode::In, "pg_catalog.json", TypeKind::Json, true),
            parameter("_user_roles", Mode::In, "pg_catalog._text", array(TypeKind::Scalar), true),
            parameter("", Mode::In, "app.\"Row\"", outer.clone(), true),
            parameter("x\"y", Mode::In, "pg_catalog.jsonb", TypeKind::Json, true),
            parameter("b_c", Mode::Out, "pg_catalog.int4", TypeKind::Scalar, false),
            parameter("d", Mode::Variadic, "pg_catalog._int4", array(TypeKind::Scalar), true),
        ]
    };
    let call = |oid, kind, parameters, shape, is_set| Call {
        oid,
        schema: "a\"pp".to_owned(),
        name: "select".to_owned(),
        kind,
        method: Method::Post,
        access: Access::Unspecified,
        login: false,
        logout: false,
        user_parameters: oid == 2,
        user_context: false,
        read_only: false,
        signature: Signature {
            rows: Vec::new(),
            parameters,
            result: ResultType {
                shape,
                is_set,
                columns: vec!["b_c".to_owned(), "d".to_owned()],
                kinds: vec![outer.clone(), TypeKind::Json],
            },
            strict: oid == 3,
            may_execute: true,
            owner_may_issue_tokens: true,
        },
    };
    vec![
        call(1, RoutineKind::Function, all(Mode::In), Shape::Composite, false),
        call(2, RoutineKind::Procedure, all(Mode::InOut), Shape::Void, false),
        call(3, RoutineKind::Function, all(Mode::In), Shape::Scalar, true),
        call(4, RoutineKind::Function, Vec::new(), Shape::Composite, true),
    ]
}
