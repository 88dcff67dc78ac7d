//! What is within arrays and rows of a request (C7.3): it follows the rules of parameters, at any depth.

#![allow(clippy::unwrap_used)]

#[path = "call/fixture.rs"]
mod fixture;

use fixture::{function, get, kind, post, row, values};
use sse_proto::call::{ArgumentError, Expected, TypeKind};
use sse_proto::route::Call;
use std::sync::Arc;

fn array(element: TypeKind) -> TypeKind {
    TypeKind::Array { delimiter: ',', element: Arc::new(element) }
}

/// A function of one parameter `v`.
fn taking(kind: TypeKind) -> Call {
    let mut call = function("in v int4");
    call.signature.parameters[0].kind = kind;
    call
}

/// The text that goes to the input function.
fn text(kind: &TypeKind, json: &str) -> Result<String, ArgumentError> {
    let made = post(&taking(kind.clone()), &format!("{{\"v\":{json}}}"))?;
    Ok(values(&made)[0].unwrap_or("NULL").to_owned())
}

fn wrong(place: &str, expected: Expected) -> Result<String, ArgumentError> {
    Err(ArgumentError::WrongType(place.to_owned(), expected))
}

#[test]
fn arrays_and_rows_become_the_literals_that_postgres_reads() {
    let texts = kind("_text");
    let place = kind("row");
    for (of, json, wanted) in [
        (&texts, "[]", "{}"),
        (
            &texts,
            r#"["a","b c","{}","\"","\\","NULL",null,"","a,b"]"#,
            r#"{a,"b c","{}","\"","\\","NULL",NULL,"","a,b"}"#,
        ),
        (&texts, "[[1,2],[true,-0.10e+2]]", "{{1,2},{true,-0.10e+2}}"),
        (&texts, "[ [ [ 1 ] ] ]", "{{{1}}}"),
        (&texts, "[[]]", "{{}}"),
        (&texts, "[1,123456789012345678901234567890]", "{1,123456789012345678901234567890}"),
        (&kind("_box"), r#"["(1,1)","(2,2)"]"#, r#"{"(1,1)";"(2,2)"}"#),
        (&kind("_jsonb"), r#"[{"a":1},2,"x",[3,[4]],null]"#, r#"{"{\"a\":1}",2,"\"x\"","[3,[4]]",NULL}"#),
        (&place, "{}", "(,,)"),
        (&place, r#"{"no":null,"streetName":"a, \"b\" (\\)"}"#, r#"("a, \"b\" (\\)",,)"#),
        (&place, r#"{"tags":["x",null],"street_name":""}"#, r#"("",,"{x,NULL}")"#),
        (
            &array(place.clone()),
            r#"[{"no":1},null,{"tags":["a b"]}]"#,
            r#"{"(,1,)",NULL,"(,,\"{\\\"a b\\\"}\")"}"#,
        ),
        (&row(&[]), "{}", "()"),
        (&row(&[("a", "text")]), "{\"a\":null}", "()"),
        (&row(&[("a", "text")]), "{\"a\":\"\"}", "(\"\")"),
        (&array(array(kind("int4"))), "[[1,2],[3]]", r#"{"{1,2}","{3}"}"#),
    ] {
        assert_eq!(text(of, json).as_deref(), Ok(wanted), "{json}");
    }
}

#[test]
fn a_member_has_two_names_takes_one_of_them_and_is_null_without() {
    let inner = row(&[("the_text", "text"), ("_no", "int4")]);
    let TypeKind::Composite(members) =
        row(&[("the_part", "text"), ("a_b", "int4"), ("_a_b", "int4"), ("aB", "int4")])
    else {
        panic!("a row")
    };
    let mut members = members.members().to_vec();
    members[0].kind = array(inner);
    let outer = TypeKind::Composite(Arc::new(sse_proto::call::RowType::new(members)));
    for (json, wanted) in [
        (r#"{"thePart":[{"theText":"x","no":1}]}"#, r#"("{\"(x,1)\"}",,,)"#),
        (r#"{"the_part":[{"the_text":"x","_no":1}]}"#, r#"("{\"(x,1)\"}",,,)"#),
        (r#"{"a_b":1,"_a_b":2,"aB":3}"#, "(,1,2,3)"),
    ] {
        assert_eq!(text(&outer, json).as_deref(), Ok(wanted), "{json}");
    }
    for (json, error) in [
        (
            r#"{"thePart":[{"theText":"x","the_text":1}]}"#,
            ArgumentError::Twice("v.thePart.the_text".to_owned()),
        ),
        (r#"{"thePart":[{"thetext":"x"}]}"#, ArgumentError::UnknownMember("v.thePart.thetext".to_owned())),
        (r#"{"thePart":[{"":"x"}]}"#, ArgumentError::UnknownMember("v.thePart.".to_owned())),
        (r#"{"nonsense":1}"#, ArgumentError::UnknownMember("v.nonsense".to_owned())),
    ] {
        assert_eq!(text(&outer, json), Err(error), "{json}");
    }
    let alike = row(&[("a_b", "int4"), ("_a_b", "int4")]);
    assert_eq!(text(&alike, r#"{"aB":1}"#), Err(ArgumentError::AmbiguousName("v.aB".to_owned())));
    assert_eq!(text(&alike, r#"{"a_b":1}"#).as_deref(), Ok("(1,)"));
}

#[test]
fn a_value_within_is_of_its_type() {
    let place = kind("row");
    for (of, json, refused) in [
        (&place, "[]", wrong("v", Expected::Object)),
        (&place, "\"(a,1,)\"", wrong("v", Expected::Object)),
        (&place, "{\"no\":{}}", wrong("v.no", Expected::One)),
        (&place, "{\"no\":[1]}", wrong("v.no", Expected::One)),
        (&place, "{\"tags\":\"{x}\"}", wrong("v.tags", Expected::Array)),
        (&array(place.clone()), "[1]", wrong("v", Expected::Object)),
        (&kind("_text"), "[{}]", wrong("v", Expected::One)),
        (&kind("_text"), "[1,[2]]", wrong("v", Expected::One)),
        (&kind("_text"), "[[1],2]", wrong("v", Expected::Array)),
        (&kind("_text"), "[[1],null]", wrong("v", Expected::Array)),
    ] {
        assert_eq!(text(of, json), refused, "{json}");
    }
    assert!(text(&kind("_text"), &format!("{}1{}", "[".repeat(5), "]".repeat(5))).is_ok());
    assert!(text(&kind("_text"), &format!("{}1{}", "[".repeat(6), "]".repeat(6))).is_ok());
    for levels in [7, 8, 60] {
        let json = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(text(&kind("_text"), &json), wrong("v", Expected::FewerDimensions), "{levels}");
    }
}

/// Postgres takes a text without `\x` for the bytes themselves: base64 would be stored as its letters.
#[test]
fn a_bytea_is_hexadecimal_in_every_position() {
    let bytes = kind("bytea");
    let within = row(&[("id", "int4"), ("data", "bytea")]);
    for (of, json, place) in [
        (&bytes, "\"aGVsbG8=\"", "v"),
        (&bytes, "\"\"", "v"),
        (&bytes, "\"\\\\Xab\"", "v"),
        (&bytes, "5", "v"),
        (&kind("_bytea"), "[\"\\\\xab\",\"ab\"]", "v"),
        (&within, "{\"data\":\"ab\"}", "v.data"),
        (&array(within.clone()), "[{\"data\":true}]", "v.data"),
    ] {
        assert_eq!(text(of, json), wrong(place, Expected::Bytes), "{json}");
    }
    assert_eq!(text(&bytes, "\"\\\\xab\"").as_deref(), Ok("\\xab"));
    assert_eq!(text(&within, "{\"data\":\"\\\\xab\"}").as_deref(), Ok("(,\"\\\\xab\")"));
    for (of, query, expected) in [
        (&bytes, "v=ab", Expected::Bytes),
        (&kind("_bytea"), "v=%5Cxab&v=ab", Expected::Bytes),
        (&within, "v=(1,ab)", Expected::Object),
        (&array(within.clone()), "v=(1,%5Cxab)", Expected::Object),
        (&array(array(bytes.clone())), "v={ab}", Expected::Bytes),
    ] {
        let refused = ArgumentError::WrongType("v".to_owned(), expected);
        assert_eq!(get(&taking(of.clone()), query), Err(refused), "{query}");
    }
    let made = get(&taking(within), "v={\"data\":\"\\\\xab\"}").unwrap();
    assert_eq!(values(&made), [Some("(,\"\\\\xab\")")]);
}

/// Attack: quotes double with every level, so a short body asks for gigabytes of a literal.
#[test]
fn a_literal_is_bounded_by_what_was_given() {
    let mut deep = kind("text");
    let (mut before, mut behind) = (String::new(), String::new());
    for _ in 0..30 {
        let member = sse_proto::call::Member { name: "a".to_owned(), kind: deep };
        deep = TypeKind::Composite(Arc::new(sse_proto::call::RowType::new(vec![member])));
        before.push_str("{\"a\":");
        behind.push('}');
    }
    let refused = text(&deep, &format!("{before}\"{}\"{behind}", "\\\"".repeat(1000)));
    assert!(matches!(refused, Err(ArgumentError::TooLarge(_))), "{refused:?}");
    // One byte below the bound, at it, and above: an array of empty rows of many columns, `{(,,),(,,)}`.
    let columns: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    let wide = row(&columns.iter().map(|name| (name.as_str(), "int4")).collect::<Vec<_>>());
    let fits = |rows: usize| text(&array(wide.clone()), &format!("[{}]", vec!["{}"; rows].join(",")));
    // Each row gives 3 bytes and takes 1,004 with its quotes and comma: 16 × 3 n + 1 MiB = 1,004 n at
    // 1,096.8.
    assert!(fits(1096).is_ok());
    assert!(matches!(fits(1097), Err(ArgumentError::TooLarge(_))));
}
