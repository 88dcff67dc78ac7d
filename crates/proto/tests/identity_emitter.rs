//! Who raised an event, from the settings of the session (C4.6).
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sse_proto::identity::{
    ClaimNames, Emission, EmitterSettings, Identity, MAX_IDENTITY_BYTES, MAX_ROLES, MAX_SOURCE_BYTES,
};

fn emission(settings: &EmitterSettings<'_>) -> Emission {
    Emission::of(settings, &ClaimNames::default())
}

fn known(id: &str, name: &str, roles: &[&str]) -> Emission {
    Emission::Known(Identity::try_new(Some(id), Some(name), roles).unwrap())
}

fn of_roles(text: &str) -> Emission {
    emission(&EmitterSettings { user_roles: Some(text), ..EmitterSettings::default() })
}

#[test]
fn any_named_setting_displaces_the_claims_as_a_whole() {
    let claims = Some(r#"{"sub": "9", "name": "claimed", "role": "anon"}"#);
    let from_claims = || known("9", "claimed", &["anon"]);
    for (user_id, user_name, user_roles, jwt_claims, expected) in [
        (None, None, None, None, Emission::None),
        (Some(""), Some(""), Some(""), Some(""), Emission::None),
        (None, None, None, claims, from_claims()),
        (Some(""), Some(""), Some(""), claims, from_claims()),
        (Some("1"), None, None, claims, known("1", "", &[])),
        (None, Some("n"), None, claims, known("", "n", &[])),
        (None, None, Some("r"), claims, known("", "", &["r"])),
        (Some("1"), Some("n"), Some("{r,s}"), claims, known("1", "n", &["r", "s"])),
        // A list with nothing in it is empty.
        (None, None, Some("{}"), claims, from_claims()),
        (None, None, Some("[]"), claims, from_claims()),
        (None, None, Some(" , "), claims, from_claims()),
        (None, None, Some(r#"{NULL,""}"#), claims, from_claims()),
        (None, None, Some("{}"), None, Emission::None),
        // The claims are not even looked at.
        (Some("1"), None, None, Some("garbled"), known("1", "", &[])),
        // Values are taken as they are.
        (Some(" 1 "), Some("{n}"), None, None, known(" 1 ", "{n}", &[])),
    ] {
        let settings = EmitterSettings { user_id, user_name, user_roles, jwt_claims };
        assert_eq!(emission(&settings), expected, "{settings:?}");
    }
}

#[test]
fn claims_without_an_identity_are_an_emitter_without_one() {
    for claims in ["{}", r#"{"exp": 1}"#, r#"{"sub": "", "role": null}"#] {
        let settings = EmitterSettings { jwt_claims: Some(claims), ..EmitterSettings::default() };
        assert_eq!(emission(&settings), Emission::None, "{claims}");
    }
}

#[test]
fn claims_that_cannot_be_understood_are_undecidable() {
    let long = format!(r#"{{"x": "{}"}}"#, "x".repeat(MAX_SOURCE_BYTES));
    let deep = "[".repeat(30_000);
    for claims in [
        " ",
        "null",
        "[]",
        "admin",
        r#""admin""#,
        r#"{"sub": "1"} x"#,
        r#"{"sub": "1", "sub": "1"}"#,
        r#"{"sub": {}}"#,
        r#"{"sub": 1.5}"#,
        r#"{"sub": "1\u0000"}"#,
        &long,
        &deep,
    ] {
        let settings = EmitterSettings { jwt_claims: Some(claims), ..EmitterSettings::default() };
        assert_eq!(emission(&settings), Emission::Undecidable, "{:.40}", claims);
    }
}

#[test]
fn roles_are_an_array_literal_a_json_array_or_a_comma_list() {
    for (text, roles) in [
        // Comma lists.
        ("admin", &["admin"][..]),
        ("admin,editor", &["admin", "editor"]),
        (" admin , sales east ,,x,", &["admin", "sales east", "x"]),
        ("null", &["null"]),
        ("a{b}", &["a{b}"]),
        ("back\\slash", &["back\\slash"]),
        // Array literals, as array_out writes them and as array_in reads them.
        ("{admin}", &["admin"]),
        ("{admin,editor}", &["admin", "editor"]),
        (" { admin , sales east } ", &["admin", "sales east"]),
        (
            r#"{"sales, east","the \"boss\"","back\\slash","{x}"}"#,
            &["sales, east", "the \"boss\"", "back\\slash", "{x}"],
        ),
        (r#"{"NULL",NULL,null,\null,nulls}"#, &["NULL", "nulls"]),
        (r#"{a\,b,c\ }"#, &["a,b", "c "]),
        (r"{\null}", &["null"]),
        ("{\"a\nb\"}", &["a\nb"]),
        (r#"{"" , " "}"#, &[" "]),
        (r#"{\}}"#, &["}"]),
        // JSON arrays.
        (r#"["admin"]"#, &["admin"]),
        (r#" ["sales, east", "the \"boss\"", null, ""] "#, &["sales, east", "the \"boss\""]),
        (r#"["\u0061"]"#, &["a"]),
    ] {
        assert_eq!(of_roles(text), known("", "", roles), "{text}");
    }
}

#[test]
fn roles_that_cannot_be_understood_are_undecidable_whatever_else_is_set() {
    let many: Vec<String> = (0..=MAX_ROLES).map(|number| number.to_string()).collect();
    let long = "x".repeat(MAX_IDENTITY_BYTES + 1);
    let deep = "[".repeat(30_000);
    let open = "{".repeat(30_000);
    let commas = ",".repeat(MAX_SOURCE_BYTES + 1);
    for text in [
        "{",
        "{a",
        "{a}b",
        "{a}}",
        "{{a}}",
        "{{a},{b}}",
        "{a},{b}",
        "{a,}",
        "{,a}",
        "{a,,b}",
        "{ , }",
        r#"{"a}"#,
        r#"{"a"b}"#,
        r#"{a"b"}"#,
        r#"{"a" "b"}"#,
        r#"{a\}"#,
        r#"{"a\"}"#,
        "{a{b}",
        "[0:1]={a,b}",
        "[",
        "[a]",
        "[1]",
        "[[\"a\"]]",
        r#"["a"],"#,
        r#"["a\u0000"]"#,
        r#"["\ud800"]"#,
        r#""a, b""#,
        r#"a, "b""#,
        &many.join(","),
        &format!("{{{}}}", many.join(",")),
        &long,
        &deep,
        &open,
        &commas,
    ] {
        for user_id in [None, Some("1")] {
            let settings =
                EmitterSettings { user_id, user_roles: Some(text), jwt_claims: Some("{}"), user_name: None };
            assert_eq!(emission(&settings), Emission::Undecidable, "{:.40}", text);
        }
    }
}

#[test]
fn values_that_are_too_long_are_undecidable_never_cut() {
    for (size, taken) in
        [(MAX_IDENTITY_BYTES - 1, true), (MAX_IDENTITY_BYTES, true), (MAX_IDENTITY_BYTES + 1, false)]
    {
        let long = "x".repeat(size);
        for settings in [
            EmitterSettings { user_id: Some(&long), ..EmitterSettings::default() },
            EmitterSettings { user_name: Some(&long), ..EmitterSettings::default() },
            EmitterSettings { user_roles: Some(&long), ..EmitterSettings::default() },
        ] {
            assert_eq!(matches!(emission(&settings), Emission::Known(_)), taken, "{size}");
            assert_eq!(emission(&settings) == Emission::Undecidable, !taken, "{size}");
        }
    }
}

proptest! {
    #[test]
    fn roles_survive_being_written_as_an_array(roles in prop::collection::vec("[aA,\"\\\\{}\\[\\] \tn\u{e9}]{0,6}", 0..6)) {
        let expected = match Identity::try_new(None, None, &roles).unwrap() {
            identity if identity.is_empty() => Emission::None,
            identity => Emission::Known(identity),
        };
        let quoted = |role: &String| format!("\"{}\"", role.replace('\\', "\\\\").replace('"', "\\\""));
        let literal = format!("{{{}}}", roles.iter().map(quoted).collect::<Vec<_>>().join(","));
        prop_assert_eq!(of_roles(&literal), expected.clone(), "{}", literal);
        prop_assert_eq!(of_roles(&serde_json::to_string(&roles).unwrap()), expected);
        // Every character escaped: what array_in reads without quotes.
        if !roles.is_empty() && roles.iter().all(|role| !role.is_empty()) {
            let escaped = |role: &String| role.chars().flat_map(|char| ['\\', char]).collect::<String>();
            let literal = format!("{{ {} }}", roles.iter().map(escaped).collect::<Vec<_>>().join(" , "));
            prop_assert_eq!(of_roles(&literal), of_roles(&serde_json::to_string(&roles).unwrap()));
        }
    }

    #[test]
    fn no_settings_make_an_emitter_of_nothing(
        user_id in prop::option::of("[a,]{0,2}"),
        user_roles in prop::option::of("[a,{}\\[\\]\" \\\\]{0,6}"),
        jwt_claims in prop::option::of("[{}\"sub:1, ]{0,10}"),
    ) {
        let settings = EmitterSettings {
            user_id: user_id.as_deref(), user_name: None, user_roles: user_roles.as_deref(), jwt_claims: jwt_claims.as_deref(),
        };
        if let Emission::Known(identity) = emission(&settings) {
            prop_assert!(!identity.is_empty());
        }
    }
}
