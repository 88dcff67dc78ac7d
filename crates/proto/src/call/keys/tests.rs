#![allow(clippy::unwrap_used)]

use super::*;
use crate::call::{Member, RowType};
use proptest::prelude::*;
use std::sync::Arc;

fn row(members: &[(&str, TypeKind)]) -> TypeKind {
    let member = |(name, kind): &(&str, TypeKind)| Member { name: (*name).to_owned(), kind: kind.clone() };
    TypeKind::Composite(Arc::new(RowType::new(members.iter().map(member).collect())))
}

fn array(element: TypeKind) -> TypeKind {
    TypeKind::Array { delimiter: ',', element: Arc::new(element) }
}

fn exchanged(kind: &TypeKind, json: &str) -> String {
    let made = Keys::of_kind(kind).exchange(json.as_bytes().to_vec()).unwrap();
    String::from_utf8(made).unwrap()
}

#[test]
fn keys_of_rows_are_camel_case_at_any_depth_and_json_is_left_alone() {
    let inner = row(&[("the_text", TypeKind::Scalar), ("raw_doc", TypeKind::Json)]);
    let outer = row(&[("id", TypeKind::Scalar), ("the_parts", array(inner.clone())), ("one_part", inner)]);
    assert_eq!(
        exchanged(
            &outer,
            r#"{"id":"the_parts","the_parts":[[{"the_text":"[{\"the_text\":1}]","raw_doc":{"the_text": [1, {"the_text":2}]}},null]],"one_part":null}"#
        ),
        r#"{"id":"the_parts","theParts":[[{"theText":"[{\"the_text\":1}]","rawDoc":{"the_text": [1, {"the_text":2}]}},null]],"onePart":null}"#
    );
    for json in ["null", "[]", "{}", "", "[null, [ ]]", " { } "] {
        assert_eq!(exchanged(&outer, json), json);
    }
}

#[test]
fn keys_that_would_be_alike_and_unknown_ones_are_kept() {
    let kind = row(&[("a_b", TypeKind::Scalar), ("aB", TypeKind::Scalar), ("c_\"d", TypeKind::Scalar)]);
    assert_eq!(
        exchanged(&kind, r#"{"a_b":1,"aB":2,"c_\"d":3,"new_one":{"a_b":1}}"#),
        r#"{"a_b":1,"aB":2,"c\"d":3,"new_one":{"a_b":1}}"#
    );
}

#[test]
fn a_wide_row_costs_one_pass() {
    let names: Vec<String> = (0..1600).map(|n| format!("the_column_number_{n}")).collect();
    let kind = row(&names.iter().map(|name| (name.as_str(), TypeKind::Scalar)).collect::<Vec<_>>());
    let object: Vec<String> = names.iter().map(|name| format!("\"{name}\":1")).collect();
    let json = format!("[{}]", vec![format!("{{{}}}", object.join(",")); 200].join(","));
    let made = exchanged(&kind, &json);
    assert_eq!(made.matches("\"theColumnNumber1599\":1}").count(), 200);
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in any::<Vec<u8>>(), text in "[\\[\\]{}\",:\\\\a_ ]{0,60}") {
        let inner = row(&[("a_a", TypeKind::Scalar)]);
        let kind = row(&[("a", TypeKind::Scalar), ("a_", array(inner))]);
        let _ = Keys::of_kind(&kind).exchange(bytes);
        let _ = Keys::of_kind(&kind).exchange(text.into_bytes());
    }
}
