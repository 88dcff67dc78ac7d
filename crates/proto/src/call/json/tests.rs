#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn members_keep_their_order_and_their_text() {
    let text =
        " {\"b\" : 1.50 , \"\\u0061\":[ 1,2 ] ,\"c\":{\"d\":null},\"e\":\"\\n\",\"f\":\"é\",\"\":false}\n";
    let found = members(text).unwrap();
    let raw: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, value.raw())).collect();
    let wanted = [
        ("b", "1.50"),
        ("a", "[ 1,2 ]"),
        ("c", "{\"d\":null}"),
        ("e", "\"\\n\""),
        ("f", "\"é\""),
        ("", "false"),
    ];
    assert_eq!(raw, wanted);
    assert_eq!(found[3].1, Json::String("\n".into(), "\"\\n\""));
    assert_eq!((members(""), members(" \n")), (Ok(vec![]), Ok(vec![])));
}

/// Attack: a body so deep that reading it ends the process, here or in Postgres.
#[test]
fn nesting_ends_at_its_limit() {
    for (depth, is_read) in [(1, true), (MAX_DEPTH - 1, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false)] {
        assert_eq!(value(&nested(depth)).is_ok(), is_read, "{depth}");
        let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_eq!(value(&objects).is_ok(), is_read, "{depth}");
    }
    assert_eq!(value(&nested(1_000_000)), Err(JsonError::Depth));
    assert_eq!(members(&format!("{{\"a\":{}}}", nested(MAX_DEPTH))), Err(JsonError::Depth));
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "-",
        "0x1",
        "NaN",
        "Infinity",
        "tru",
        "nul",
        "True",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\u12\"",
        "\"\t\"",
        "\"\u{1f}\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{1:1}",
        "[",
        "{",
        "]",
        "}",
        "[}",
        "{]",
        "1 1",
        "\u{feff}1",
        "\u{a0}1",
        "1\u{0b}",
        "// x\n1",
        "\"\\",
        "\"\\\\",
        "\"\\é\"",
    ] {
        assert_eq!(value(text), Err(JsonError::Syntax), "{text:?}");
    }
    assert_eq!(
        (value(""), value("\"\0\""), value("\"\\u0000\"")),
        (Err(JsonError::Syntax), Err(JsonError::Syntax), Err(JsonError::ZeroByte))
    );
    for text in ["[\"\\u0000\"]", "{\"a\":[{\"\\u0000\":1}]}", "[\"\\ud800\"]"] {
        let wanted = if text.contains("u0000") { JsonError::ZeroByte } else { JsonError::Syntax };
        assert_eq!(value(text), Err(wanted), "{text}");
    }
}

#[test]
fn numbers_of_any_size_are_kept() {
    let long = "9".repeat(10_000);
    for number in ["0", "-0", "0.0", "1e999999", "1E-5", "-12.50e+3", &long] {
        assert_eq!(value(number), Ok(Json::Number(number)));
    }
    let (digits, most) = ("9".repeat(300), "[-1e308]");
    for inside in [format!("[{digits}]"), format!("{{\"a\":{digits}.5}}"), most.to_owned()] {
        assert_eq!(value(&inside).unwrap().raw(), inside);
    }
    assert_eq!(value("[1e309]"), Err(JsonError::Syntax));
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| quoted(&text)),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(" ,"))),
            proptest::collection::vec(("[ab\u{e9}]{0,2}", inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(name, value)| format!("{}: {value}", quoted(&name))).collect();
                format!("{{{}}}", members.join(",\n"))
            }),
        ]
    })
}

/// What the usual reader makes of a text, where it and ours must agree.
fn judged_by_serde(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}

proptest! {
    #[test]
    fn json_is_read_unless_it_is_ambiguous(text in json()) {
        match value(&text) {
            Ok(found) => prop_assert_eq!(found.raw(), &text),
            Err(JsonError::Duplicate(_)) => prop_assert!(text.contains('{'), "no object"),
            Err(JsonError::ZeroByte) => prop_assert!(text.contains("\\u0000")),
            Err(error) => prop_assert!(false, "{error:?}: {text}"),
        }
    }

    #[test]
    fn what_the_usual_reader_refuses_is_refused(text in json(), at in any::<prop::sample::Index>(), c in "[\\[\\]{}:,\"\\\\0-9eE.+ tn\u{e9}-]") {
        let mut text = text;
        let mut position = at.index(text.len() + 1);
        while !text.is_char_boundary(position) {
            position -= 1;
        }
        text.insert_str(position, &c);
        match value(&text) {
            Ok(_) => prop_assert!(judged_by_serde(&text) || text.contains(['e', 'E']), "{text}"),
            Err(JsonError::Syntax) => prop_assert!(!judged_by_serde(&text), "{text}"),
            Err(_) => {}
        }
    }

    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        let _ = (value(&text), members(&text));
    }
}
