//! What a request gives, and what of it reaches the routine (C7.3).

#![allow(clippy::unwrap_used)]

#[path = "call/fixture.rs"]
mod fixture;

use fixture::{alice, arguments, function, get, oid, post, post_as, procedure, values};
use sse_proto::annotation::RoutineKind;
use sse_proto::call::{ArgumentError, Expected, Given, UserParameters, camel_case, statement};
use sse_proto::route::Call;

fn error(name: &str, variant: fn(String) -> ArgumentError) -> ArgumentError {
    variant(name.to_owned())
}

#[test]
fn names_become_camel_case() {
    for (sql, camel) in [
        ("_message_text", "messageText"),
        ("message_text", "messageText"),
        ("user__id2", "userId2"),
        ("_2fa_code", "2faCode"),
        ("id_2_b", "id2B"),
        ("Weird Name", "weird Name"),
        ("URL", "uRL"),
        ("a_", "a"),
        ("__", "__"),
        ("", ""),
        ("über_ähnlich", "überÄhnlich"),
        ("messageText", "messageText"),
    ] {
        assert_eq!(camel_case(sql), camel, "{sql:?}");
    }
}

#[test]
fn a_parameter_has_two_names_and_takes_one_of_them() {
    let f = function("in _message_text text, in n int4 =");
    for name in ["messageText", "_message_text"] {
        let made = post(&f, &format!(r#"{{"{name}": "x"}}"#)).unwrap();
        assert_eq!((arguments(&made), values(&made)), (r#""_message_text" => $1"#, vec![Some("x")]));
    }
    let both = r#"{"messageText": "x", "_message_text": "y"}"#;
    assert_eq!(post(&f, both), Err(error("_message_text", ArgumentError::Twice)));
    assert_eq!(get(&f, "_message_text=x&messageText=y"), Err(error("messageText", ArgumentError::Twice)));
    for name in ["message_text", "MessageText", "messagetext", "", "$1"] {
        let body = format!(r#"{{"messageText": "x", "{name}": 1}}"#);
        assert_eq!(post(&f, &body), Err(error(name, ArgumentError::Unknown)), "{name:?}");
    }
    assert_eq!(post(&f, "{}"), Err(error("messageText", ArgumentError::Missing)));
}

#[test]
fn names_that_are_alike_in_camel_case_keep_their_sql_names() {
    let f = function("in user_id int4 =, in _user_id text =, in userid int4 =");
    assert_eq!(post(&f, r#"{"userId": 1}"#), Err(error("userId", ArgumentError::AmbiguousName)));
    assert_eq!(arguments(&post(&f, r#"{"user_id": 1}"#).unwrap()), r#""user_id" => $1"#);
    // With user parameters only one of them can be given.
    let f = Call { user_parameters: true, ..f };
    let made = post_as(&f, r#"{"userId": 1}"#, &alice()).unwrap();
    assert_eq!(values(&made), [Some("1"), Some("42")]);
    // An exact name comes first.
    let f = function("in user_id int4 =, in userId int4 =");
    assert_eq!(arguments(&post(&f, r#"{"userId": 1}"#).unwrap()), r#""userId" => $1"#);
}

#[test]
fn the_order_of_a_request_does_not_matter_and_defaults_are_left_out() {
    let f = function("in a int4, in b int4 =, in c text =");
    let made = post(&f, r#"{"c": "x", "a": 1}"#).unwrap();
    assert_eq!(arguments(&made), r#""a" => $1, "c" => $2"#);
    assert_eq!(values(&made), [Some("1"), Some("x")]);
    assert_eq!(made, post(&f, r#"{"a": 1, "c": "x"}"#).unwrap());
    assert_eq!(post(&function(""), "").unwrap().sql, post(&function(""), " {} ").unwrap().sql);
}

#[test]
fn scalars_arrive_as_they_were_written() {
    let f = function("in v numeric");
    for (json, text) in [
        ("5", Some("5")),
        ("-0.10e+2", Some("-0.10e+2")),
        ("123456789012345678901234567890.10", Some("123456789012345678901234567890.10")),
        ("1e400", Some("1e400")),
        ("true", Some("true")),
        ("false", Some("false")),
        ("\"\"", Some("")),
        (r#""a \u00e9 \ud83d\udc18 \" ' \\ \n""#, Some("a é 🐘 \" ' \\ \n")),
        ("null", None),
    ] {
        let made = post(&f, &format!("{{\"v\":{json}}}")).unwrap();
        assert_eq!((arguments(&made), values(&made)), ("\"v\" => $1", vec![text]), "{json}");
    }
    for json in ["{}", "[]", "[1]"] {
        let wrong = ArgumentError::WrongType("v".to_owned(), Expected::One);
        assert_eq!(post(&f, &format!("{{\"v\":{json}}}")), Err(wrong), "{json}");
    }
}

#[test]
fn json_arrives_unread_and_null_is_sql_null() {
    for f in [function("in v json"), procedure("in v jsonb")] {
        for json in ["5", "\"a\\n\"", "{ \"b\" : [1, null] }", "[]", "123456789012345678901234567890"] {
            assert_eq!(values(&post(&f, &format!("{{\"v\":{json}}}")).unwrap()), [Some(json)]);
        }
        assert_eq!(values(&post(&f, "{\"v\":null}").unwrap()), [None]);
    }
    let f = function("in v json");
    assert_eq!(values(&get(&f, "v={\"a\":+1}").unwrap()), [Some("{\"a\": 1}")]);
    for bad in ["", "x", "{\"a\":1,\"a\":2}", "1 2"] {
        assert!(get(&f, &format!("v={bad}")).is_err(), "{bad:?}");
    }
}

#[test]
fn a_statement_says_types_by_oid_and_never_by_name() {
    for call in
        [function("in a int4, in b _text, in c row ="), procedure("in a int4, inout b _text, out c row")]
    {
        let made = post(&call, r#"{"a": 1, "b": null}"#).unwrap();
        assert!(!made.sql.contains("int4") && !made.sql.contains("Row"), "{}", made.sql);
        let types: Vec<(u32, bool)> = made.types.iter().map(|of| (of.oid, of.is_output)).collect();
        let [a, b, c] = ["pg_catalog.int4", "pg_catalog._text", "app.\"Row\""].map(oid);
        let outputs = matches!(call.kind, RoutineKind::Procedure).then_some((c, true));
        assert_eq!(types, [(a, false), (b, false)].into_iter().chain(outputs).collect::<Vec<_>>());
    }
}

#[test]
fn a_query_gives_texts_and_arrays_by_repetition() {
    let f = function("in tags _text =, in n int4 =, in boxes _box =, in place row =");
    for (query, sql, text) in [
        ("tags=a", "\"tags\" => $1", "{a}"),
        ("tags=a&tags=b%2Cc&tags=", "\"tags\" => $1", r#"{a,"b,c",""}"#),
        ("tags=NULL&tags=%22%5C%7B", "\"tags\" => $1", r#"{"NULL","\"\\{"}"#),
        ("n=5", "\"n\" => $1", "5"),
        ("n=", "\"n\" => $1", ""),
        ("&&n", "\"n\" => $1", ""),
        ("n=a%20b+c%2B%C3%A9", "\"n\" => $1", "a b c+é"),
        ("boxes=(1,1)&boxes=(2,2)", "\"boxes\" => $1", r#"{"(1,1)";"(2,2)"}"#),
        ("place=(1,x)", "\"place\" => $1", "(1,x)"),
    ] {
        let made = get(&f, query).unwrap();
        assert_eq!((arguments(&made), values(&made)), (sql, vec![Some(text)]), "{query}");
    }
    assert_eq!(values(&get(&f, "place={\"no\":1}").unwrap()), [Some("(,1,)")]);
    assert_eq!(get(&f, "n=1&n=2"), Err(error("n", ArgumentError::Twice)));
    for (query, expected) in [
        ("n=%ff", ArgumentError::Utf8),
        ("%ff=1", ArgumentError::Utf8),
        ("n=%00", ArgumentError::ZeroByte),
        ("n=%zz", ArgumentError::Encoding),
        ("n=%4", ArgumentError::Encoding),
        ("n=%", ArgumentError::Encoding),
        ("place={\"a\":1,\"a\":1}", error("a", ArgumentError::DuplicateKey)),
    ] {
        assert_eq!(get(&f, query), Err(expected), "{query}");
    }
}

#[test]
fn a_body_is_one_strict_json_object() {
    let f = function("in v jsonb =");
    for (body, expected) in [
        ("[]", ArgumentError::NotObject),
        ("null", ArgumentError::NotObject),
        ("{", ArgumentError::Json),
        ("{}{}", ArgumentError::Json),
        ("{\"v\":NaN}", ArgumentError::Json),
        ("{\"v\":1,\"v\":1}", error("v", ArgumentError::DuplicateKey)),
        ("{\"v\":[{\"a\":{\"b\":1,\"\\u0062\":2}}]}", error("b", ArgumentError::DuplicateKey)),
        ("{\"v\":\"\\u0000\"}", ArgumentError::ZeroByte),
        ("{\"v\":{\"\\u0000\":1}}", ArgumentError::ZeroByte),
        ("{\"v\":\"\\ud800\"}", ArgumentError::Json),
    ] {
        assert_eq!(post(&f, body), Err(expected), "{body}");
    }
    let given = Given::Body(b"{\"v\":\"\xff\"}");
    assert_eq!(statement([&f].into_iter(), &given, &alice(), false), Err(ArgumentError::Utf8));
}

#[test]
fn out_parameters_of_a_procedure_are_named_and_variadic_comes_last() {
    let p = procedure("in a int4, out b int4, inout c jsonb, variadic tags _text");
    let made = post(&p, r#"{"a": 1, "tags": null, "c": 1}"#).unwrap();
    assert_eq!(arguments(&made), "\"a\" => $1, \"b\" => $2, \"c\" => $3, VARIADIC \"tags\" => $4");
    assert_eq!(made.columns, ["b", "c"]);
    assert_eq!(
        post(&p, r#"{"a": 1, "tags": null, "c": 1, "b": 1}"#),
        Err(error("b", ArgumentError::Unknown))
    );
    let f = function("in a int4, out b int4, out c int4, table d int4");
    assert_eq!(arguments(&post(&f, r#"{"a": 1}"#).unwrap()), "\"a\" => $1");
}

/// By names, Postgres finds no routine whose VARIADIC parameter is left out.
#[test]
fn variadic_left_to_its_default_makes_all_positional() {
    let f = function("in a int4, in b int4 =, variadic tags _text =");
    assert_eq!(arguments(&post(&f, r#"{"a": 1}"#).unwrap()), "$1");
    let two = post(&f, r#"{"a": 1, "b": 2}"#).unwrap();
    assert_eq!(arguments(&two), "$1, $2");
    // With it, no other is left to its default.
    assert_eq!(post(&f, r#"{"a": 1, "tags": null}"#), Err(error("b", ArgumentError::Gap)));
    let f = function("in a int4 =, in b int4 =, variadic tags _text =");
    assert_eq!(arguments(&post(&f, "").unwrap()), "");
    assert_eq!(post(&f, r#"{"b": 2}"#), Err(error("a", ArgumentError::Gap)));
}

#[test]
fn parameters_without_a_name_are_numbered_and_go_by_position() {
    let f = function("in - int4, in b int4 =, in - text =, in c text =");
    assert_eq!(arguments(&post(&f, r#"{"$1": 1}"#).unwrap()), "$1");
    let mixed = post(&f, r#"{"$1": 1, "c": "x"}"#).unwrap();
    assert_eq!(arguments(&mixed), "$1, \"c\" => $2");
    let all = post(&f, r#"{"$1": 1, "b": 2, "$3": "x", "c": "y"}"#).unwrap();
    assert_eq!(arguments(&all), "$1, $2, $3, \"c\" => $4");
    assert_eq!(post(&f, r#"{"$1": 1, "$3": "x"}"#), Err(error("b", ArgumentError::Gap)));
    assert_eq!(post(&f, "{}"), Err(error("$1", ArgumentError::Missing)));
    for name in ["$2", "$0", "$01", "$+1", "$5", "$"] {
        let body = format!(r#"{{"$1": 1, "{name}": 2}}"#);
        assert_eq!(post(&f, &body), Err(error(name, ArgumentError::Unknown)), "{name}");
    }
    let p = procedure("out - int4, in - int4, inout - text =");
    let made = post(&p, r#"{"$1": 7}"#).unwrap();
    assert_eq!(arguments(&made), "$1, $2");
    assert_eq!(made.columns, ["column1", "column2"]);
}

#[test]
fn names_of_the_catalog_are_quoted() {
    let mut f = function("in a\"b text");
    (f.schema, f.name) = ("s\"".to_owned(), "select".to_owned());
    let made = post(&f, r#"{"a\"b": 1}"#).unwrap();
    assert!(made.sql.contains(r#""s"""."select"("a""b" => $1)"#), "{}", made.sql);
}

#[test]
fn user_parameters_come_from_who_calls_and_never_from_the_request() {
    let declaration = "in a text, in _user_id text =, in _user_name text, in _user_roles _text =, in _user_claims json =, \
                       in _ip_address inet";
    let on = Call { user_parameters: true, ..function(declaration) };
    let made = post_as(&on, r#"{"a": "x"}"#, &alice()).unwrap();
    assert_eq!(
        values(&made),
        [
            Some("x"),
            Some("42"),
            Some("alice"),
            Some(r#"{"a,b","c\""}"#),
            Some(r#"{"sub":"42"}"#),
            Some("192.0.2.1")
        ]
    );
    assert!(arguments(&made).starts_with("\"a\" => $1, \"_user_id\" => $2"));
    for name in ["userId", "_user_id", "userName", "userRoles", "userClaims", "ipAddress", "_ip_address"] {
        for user in [alice(), UserParameters::default()] {
            let body = format!(r#"{{"a": "x", "{name}": null}}"#);
            assert_eq!(post_as(&on, &body, &user), Err(error(name, ArgumentError::Filled)), "{name}");
        }
    }
    // Nobody: defaults, and NULL where there is none. An empty value is none.
    let empty = UserParameters { user_id: Some(String::new()), ..UserParameters::default() };
    for nobody in [UserParameters::default(), empty] {
        let made = post_as(&on, r#"{"a": "x"}"#, &nobody).unwrap();
        assert_eq!(values(&made), [Some("x"), None, None]);
        assert!(arguments(&made).contains("\"_user_name\" => $2") && !arguments(&made).contains("_user_id"));
    }
    // Where a default cannot be left, nobody is NULL.
    let call = Call { user_parameters: true, ..function("in _user_id text =, variadic tags _text") };
    assert_eq!(values(&post(&call, r#"{"tags": null}"#).unwrap()), [None, None]);
    // The setting does what the annotation does; without both they are parameters like any other.
    let off = function("in _user_id text");
    let given = Given::Body(b"{\"userId\":\"7\"}");
    let asked = |on| statement([&off].into_iter(), &given, &alice(), on).map(|(_, made)| made.parameters);
    assert_eq!(asked(true), Err(error("userId", ArgumentError::Filled)));
    assert_eq!(asked(false), Ok(vec![Some("7".to_owned())]));
}

#[test]
fn roles_take_the_form_of_their_parameter() {
    for (declaration, text) in [
        ("in _user_roles text", r#"["a,b","c\""]"#),
        ("in _user_roles jsonb", r#"["a,b","c\""]"#),
        ("in _user_roles _text", r#"{"a,b","c\""}"#),
        ("in _user_id json", r#""42""#),
    ] {
        let call = Call { user_parameters: true, ..function(declaration) };
        assert_eq!(values(&post_as(&call, "", &alice()).unwrap()), [Some(text)], "{declaration}");
    }
    let call = Call { user_parameters: true, ..function("in _user_roles _text = ") };
    let nobodys = UserParameters { user_roles: Some(Vec::new()), ..UserParameters::default() };
    assert_eq!(values(&post_as(&call, "", &nobodys).unwrap()), [Some("{}")]);
}

#[test]
fn errors_name_parameters_and_never_values() {
    let f = function("in _first_one int4, in _user_id text =");
    for (body, text) in [
        ("{}", "\"firstOne\" is missing"),
        (r#"{"firstOne": {"secret": 1}}"#, "\"firstOne\" takes one text, number or boolean"),
        (r#"{"other": "secret"}"#, "\"other\" is not a parameter"),
        ("{\"a\\u001b\u{202e}\": \"secret\"}", r#""a\u{1b}\u{202e}" is not a parameter"#),
        (r#"{"firstOne": secret}"#, "the arguments are not valid JSON"),
    ] {
        let error = post(&f, body).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.status()), (text, 400), "{body}");
    }
    let long = format!(r#"{{"{}": 1}}"#, "x".repeat(1000));
    assert!(post(&f, &long).unwrap_err().to_string().len() < 200);
}
