//! What verified claims say of who somebody is, and what is refused.
#![allow(clippy::unwrap_used)]

use sse_proto::identity::{
    ClaimNames, ClaimNamesError, Claims, Identity, IdentityError, MAX_IDENTITY_BYTES, MAX_ROLES,
    MAX_SOURCE_BYTES, Part,
};

fn read(json: &str) -> Result<Identity, IdentityError> {
    Identity::from_claims(Claims::parse(json)?.as_map(), &ClaimNames::default())
}

fn person(id: &str, name: &str, roles: &[&str]) -> Result<Identity, IdentityError> {
    Identity::try_new(Some(id), Some(name), roles)
}

#[test]
fn the_first_claim_present_wins() {
    for (json, id, name, roles) in [
        (r#"{}"#, "", "", &[][..]),
        (r#"{"aud": "x", "exp": 1}"#, "", "", &[]),
        (r#"{"user_id": "1", "sub": "2"}"#, "1", "", &[]),
        (r#"{"sub": "2", "user_id": "1"}"#, "1", "", &[]),
        (r#"{"sub": "2"}"#, "2", "", &[]),
        (r#"{"user_name": "a", "name": "b"}"#, "", "a", &[]),
        (r#"{"name": "b"}"#, "", "b", &[]),
        (r#"{"user_roles": ["r", "s"], "roles": ["t"], "role": "u"}"#, "", "", &["r", "s"]),
        (r#"{"roles": ["t"], "role": "u"}"#, "", "", &["t"]),
        (r#"{"role": "u"}"#, "", "", &["u"]),
        (r#"{"User_Id": "1", "SUB": "2"}"#, "", "", &[]),
    ] {
        assert_eq!(read(json), person(id, name, roles), "{json}");
    }
}

#[test]
fn an_empty_claim_is_as_if_it_were_not_there() {
    for (json, id, name, roles) in [
        (r#"{"user_id": "", "sub": "2"}"#, "2", "", &[][..]),
        (r#"{"user_id": null, "sub": 2}"#, "2", "", &[]),
        (r#"{"user_name": null, "name": "b"}"#, "", "b", &[]),
        (r#"{"user_roles": [], "roles": ["", null], "role": "u"}"#, "", "", &["u"]),
        (r#"{"user_roles": ["", "r", null]}"#, "", "", &["r"]),
        (r#"{"user_roles": ""}"#, "", "", &[]),
    ] {
        assert_eq!(read(json), person(id, name, roles), "{json}");
    }
}

#[test]
fn a_whole_number_is_a_user_id_and_no_other_number_is() {
    for (number, id) in [
        ("42", Some("42")),
        ("0", Some("0")),
        ("-7", Some("-7")),
        ("18446744073709551615", Some("18446744073709551615")),
        ("-9223372036854775808", Some("-9223372036854775808")),
        ("18446744073709551616", None),
        ("42.0", None),
        ("4.2e1", None),
        ("1e3", None),
        ("-0", None),
    ] {
        let expected = id.map_or(Err(IdentityError::WrongType(Part::UserId)), |id| person(id, "", &[]));
        assert_eq!(read(&format!(r#"{{"user_id": {number}}}"#)), expected, "{number}");
    }
}

#[test]
fn a_claim_of_the_wrong_type_refuses_the_token() {
    // Attack: a claim of the wrong type, so that the identity falls back to another claim or to fewer roles.
    use Part::{UserId, UserName, UserRoles};
    for (json, part) in [
        (r#"{"user_id": true, "sub": "2"}"#, UserId),
        (r#"{"user_id": ["1"], "sub": "2"}"#, UserId),
        (r#"{"user_id": {"id": "1"}}"#, UserId),
        (r#"{"sub": [] }"#, UserId),
        (r#"{"user_name": 5}"#, UserName),
        (r#"{"user_name": {}, "name": "b"}"#, UserName),
        (r#"{"user_roles": 5, "role": "u"}"#, UserRoles),
        (r#"{"user_roles": {"admin": true}}"#, UserRoles),
        (r#"{"user_roles": ["r", 5]}"#, UserRoles),
        (r#"{"user_roles": [["admin"]]}"#, UserRoles),
        (r#"{"user_roles": ["", {}]}"#, UserRoles),
    ] {
        assert_eq!(read(json), Err(IdentityError::WrongType(part)), "{json}");
    }
    // One that is not looked at may be anything.
    assert_eq!(read(r#"{"user_id": "1", "sub": {}}"#), person("1", "", &[]));
}

#[test]
fn a_role_claim_of_text_is_one_role() {
    // Attack: a role with a comma, space or quote that would become several, or another one.
    for role in ["admin,editor", "sales east", "the \"boss\"", "{admin}", "[\"admin\"]", "role:admin"] {
        let json = format!(r#"{{"role": {}}}"#, serde_json::Value::from(role));
        assert_eq!(read(&json), person("", "", &[role]), "{role}");
    }
}

#[test]
fn duplicate_roles_count_once_and_the_first_spelling_stays() {
    let identity = read(r#"{"roles": ["Admin", "x", "admin", "ADMIN", "x", "É", "é"]}"#).unwrap();
    assert_eq!(identity.roles(), ["Admin", "x", "É", "é"]);
}

#[test]
fn claims_are_an_object_that_names_nothing_twice() {
    // Attack: duplicate claims, of which another program saw the first and we the last.
    for json in [
        "",
        " ",
        "null",
        "5",
        "\"x\"",
        "[]",
        r#"[["sub", "1"]]"#,
        "{",
        "{}{}",
        r#"{"sub": "1",}"#,
        r#"{"sub": "1", "sub": "2"}"#,
        r#"{"sub": "1", "s\u0075b": "1"}"#,
        r#"{"sub": "\ud800"}"#,
    ] {
        assert_eq!(Claims::parse(json), Err(IdentityError::Claims), "{json}");
    }
}

#[test]
fn deeply_nested_claims_are_refused_not_recursed_into() {
    // Attack: a stack overflow through nesting, in the gateway or in a backend.
    let nested = |depth: usize| format!(r#"{{"x": {}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(Claims::parse(&nested(100)).is_ok());
    assert_eq!(Claims::parse(&nested(30_000)), Err(IdentityError::Claims));
    let open = "{\"x\":".repeat(10_000);
    assert_eq!(Claims::parse(&open), Err(IdentityError::Claims));
}

#[test]
fn a_text_of_claims_is_read_up_to_its_limit() {
    let sized = |size: usize| format!(r#"{{"x": "{}"}}"#, "x".repeat(size - r#"{"x": ""}"#.len()));
    for (size, taken) in
        [(MAX_SOURCE_BYTES - 1, true), (MAX_SOURCE_BYTES, true), (MAX_SOURCE_BYTES + 1, false)]
    {
        assert_eq!(Claims::parse(&sized(size)).is_ok(), taken, "{size}");
    }
    // Attack: a payload of one megabyte.
    assert_eq!(Claims::parse(&sized(1 << 20)), Err(IdentityError::TooLong));
}

#[test]
fn an_identity_has_so_many_roles_and_not_one_more() {
    // Attack: a token of 10,000 roles.
    for (count, taken) in [(MAX_ROLES - 1, true), (MAX_ROLES, true), (MAX_ROLES + 1, false), (10_000, false)]
    {
        let roles: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let claims = serde_json::json!({ "roles": roles });
        let identity = Identity::from_claims(claims.as_object().unwrap(), &ClaimNames::default());
        let expected = if taken { Ok(count) } else { Err(IdentityError::TooManyRoles) };
        assert_eq!(identity.map(|identity| identity.roles().len()), expected, "{count}");
    }
    assert_eq!(Identity::try_new(None, None, &vec![""; MAX_ROLES + 1]), Err(IdentityError::TooManyRoles));
}

#[test]
fn an_identity_holds_so_many_bytes_and_not_one_more() {
    for (size, taken) in
        [(MAX_IDENTITY_BYTES - 1, true), (MAX_IDENTITY_BYTES, true), (MAX_IDENTITY_BYTES + 1, false)]
    {
        let long = "x".repeat(size - 2);
        for identity in [
            Identity::try_new(Some(&long), Some("n"), &["r"]),
            Identity::try_new(Some("i"), Some(&long), &["r"]),
            Identity::try_new(Some("i"), Some("n"), &[&long]),
        ] {
            assert_eq!(identity.is_ok(), taken, "{size}");
            assert!(taken || identity == Err(IdentityError::TooLong));
        }
    }
}

#[test]
fn the_character_nul_refuses_the_token() {
    // Attack: "admin\0x", which a C string, and so a setting of Postgres, ends at "admin".
    for json in [
        r#"{"sub": "admin\u0000x"}"#,
        r#"{"name": "admin\u0000"}"#,
        r#"{"role": "\u0000"}"#,
        r#"{"roles": ["ok", "admin\u0000x"]}"#,
    ] {
        assert_eq!(read(json), Err(IdentityError::ZeroByte), "{json}");
    }
}

#[test]
fn names_of_claims_are_a_comma_list() {
    assert_eq!(
        ClaimNames::parse("user_id, sub", "user_name, name", "user_roles, roles, role"),
        Ok(ClaimNames::default())
    );
    for (text, names) in [
        ("", &[][..]),
        (" , ,", &[]),
        ("sub", &["sub"]),
        (" sub ,\tuid,sub", &["sub", "uid"]),
        ("https://example.com/roles, a b", &["https://example.com/roles", "a b"]),
    ] {
        assert_eq!(ClaimNames::parse_list(text).unwrap(), names, "{text:?}");
    }
    assert_eq!(ClaimNames::parse_list("a\nb"), Err(ClaimNamesError::Character));
    assert_eq!(ClaimNames::parse("", "", "a\u{7f}"), Err((Part::UserRoles, ClaimNamesError::Character)));
    for (count, taken) in [(15, true), (16, true), (17, false)] {
        let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
        assert_eq!(ClaimNames::parse_list(&names.join(",")).is_ok(), taken, "{count}");
    }
}

#[test]
fn a_list_without_names_leaves_the_part_out() {
    let names = ClaimNames::parse("sub", "", "").unwrap();
    let claims = Claims::parse(r#"{"sub": "1", "name": 5, "roles": ["admin"]}"#).unwrap();
    assert_eq!(Identity::from_claims(claims.as_map(), &names), person("1", "", &[]));
}

#[test]
fn claims_and_errors_do_not_show_values() {
    let claims = Claims::parse(r#"{"sub": "hunter2"}"#).unwrap();
    assert!(!format!("{claims:?}").contains("hunter2"));
    let Err(error) = read(r#"{"sub": ["hunter2"]}"#) else { panic!() };
    assert!(!error.to_string().contains("hunter2"));
}
