//! What a token says: until when, for whom, and who somebody is.

use super::*;

// Expired, and without exp.
#[test]
fn a_token_lives_until_its_exp_and_the_skew() {
    for (exp, expected) in [
        (json!(NOW + 1), None),
        (json!(NOW), None),
        (json!(NOW - 29), None),
        (json!(NOW as f64 - 29.5), None),
        (json!(NOW - 30), Some(Disbelief::Expired)),
        (json!(NOW - 31), Some(Disbelief::Expired)),
        (json!(0), Some(Disbelief::Expired)),
        (json!(-1), Some(Disbelief::Claims)),
        (json!(NOW * 1000), Some(Disbelief::Claims)),
        (json!(1e300), Some(Disbelief::Claims)),
        (json!((NOW + 60).to_string()), Some(Disbelief::Claims)),
        (json!(true), Some(Disbelief::Claims)),
        (json!(null), Some(Disbelief::Claims)),
        (json!([NOW + 60]), Some(Disbelief::Claims)),
    ] {
        assert_eq!(disbelief(&json!({"sub": "alice", "exp": exp})), expected, "{exp}");
    }
    assert_eq!(disbelief(&json!({"sub": "alice"})), Some(Disbelief::NoExpiry));
    assert_eq!(disbelief(&json!({"sub": "alice", "EXP": NOW + 60})), Some(Disbelief::NoExpiry));
}

#[test]
fn a_stream_ends_at_exp_or_with_the_skew_that_let_it_in() {
    let ends = |exp: u64| claims(&json!({"exp": exp})).unwrap().expires_at;
    assert_eq!(ends(NOW + 60), at(NOW + 60));
    assert_eq!(ends(NOW - 10), at(NOW + 20));
}

// Not yet valid.
#[test]
fn a_token_from_the_future_is_refused_but_for_the_skew() {
    for claim in ["nbf", "iat"] {
        for (time, expected) in [
            (json!(NOW + 30), None),
            (json!(NOW + 31), Some(Disbelief::NotYetValid)),
            (json!("1"), Some(Disbelief::Claims)),
            (json!(null), Some(Disbelief::Claims)),
        ] {
            assert_eq!(disbelief(&json!({"exp": NOW + 60, claim: time})), expected, "{claim} {time}");
        }
    }
}

// Wrong audience, wrong issuer, and lists and near misses of them.
#[test]
fn issuer_and_audience_are_compared_exactly_when_set() {
    let settings = AuthSettings {
        jwt_issuer: Some("https://id.example".to_owned()),
        jwt_audience: Some("sse".to_owned()),
        ..AuthSettings::default()
    };
    let judge = |iss: Value, aud: Value| {
        let token = tokens::token(&json!({"exp": NOW + 60, "iss": iss, "aud": aud}));
        judge_with(&token, &secret_key(), &settings).map(drop)
    };
    let iss = || json!("https://id.example");
    for aud in [json!("sse"), json!(["a", "sse"])] {
        assert_eq!(judge(iss(), aud), Ok(()));
    }
    for aud in [json!("SSE"), json!("sse "), json!("other"), json!([]), json!(["sse2", "s"]), json!("")] {
        assert_eq!(judge(iss(), aud.clone()), Err(Disbelief::Audience), "{aud}");
    }
    for aud in [json!(1), json!({"sse": 1}), json!(["sse", 1]), json!(null)] {
        assert_eq!(judge(iss(), aud.clone()), Err(Disbelief::Claims), "{aud}");
    }
    for wrong in ["https://id.example/", "https://ID.example", ""] {
        assert_eq!(judge(json!(wrong), json!("sse")), Err(Disbelief::Issuer), "{wrong}");
    }
    let neither = tokens::token(&good());
    assert_eq!(judge_with(&neither, &secret_key(), &settings).err(), Some(Disbelief::Issuer));
    let with_issuer = tokens::token(&json!({"exp": NOW + 60, "iss": iss()}));
    assert_eq!(judge_with(&with_issuer, &secret_key(), &settings).err(), Some(Disbelief::Audience));
    assert_eq!(disbelief(&json!({"exp": NOW + 60, "aud": "anything", "iss": "anybody"})), None, "not set");
}

// Duplicate claims: one program checks the first, another takes the last.
#[test]
fn a_claim_given_twice_refuses_the_token() {
    for text in [
        format!(r#"{{"sub":"alice","sub":"admin","exp":{}}}"#, NOW + 60),
        format!(r#"{{"sub":"alice","exp":1,"exp":{}}}"#, NOW + 60),
        format!(r#"{{"s\u0075b":"alice","sub":"admin","exp":{}}}"#, NOW + 60),
        format!(r#"{{"exp":{},"x":1,"x":1}}"#, NOW + 60),
        format!(r#"{{"exp":{}}} "#, NOW + 60) + "{}",
        "[]".to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        let token = Signer::secret().raw("HS256", r#"{"alg":"HS256"}"#, &text);
        assert_eq!(judge(&token, &secret_key()), Err(Disbelief::Claims), "{text}");
    }
}

// A claim of the wrong type never counts as absent: whoever has a broken list of roles is not somebody
// without roles.
#[test]
fn a_claim_of_the_wrong_type_refuses_the_token() {
    for (claim, value) in [
        ("sub", json!({"id": 1})),
        ("sub", json!(["alice"])),
        ("sub", json!(1.5)),
        ("sub", json!(true)),
        ("name", json!(1)),
        ("roles", json!({"admin": true})),
        ("roles", json!(["admin", 1])),
        ("roles", json!(1)),
        ("jti", json!(1)),
        ("iss", json!(1)),
        ("sub", json!("alice\0")),
    ] {
        let mut claims = json!({"exp": NOW + 60});
        claims[claim] = value.clone();
        assert_eq!(disbelief(&claims), Some(Disbelief::Claims), "{claim} {value}");
    }
}

// A role with a comma, blank, quote or other case stays the one role it is.
#[test]
fn roles_are_taken_as_they_are_written() {
    let roles = ["a,b", "sales team", "the \"boss\"", "ADMIN", "'x'", "{a,b}", "all"];
    let verified = claims(&json!({"exp": NOW + 60, "roles": roles})).unwrap();
    assert_eq!(verified.identity.roles(), roles);
    let verified = claims(&json!({"exp": NOW + 60, "role": "a,b"})).unwrap();
    assert_eq!(verified.identity.roles(), ["a,b"]);
}

#[test]
fn what_a_token_says_is_read() {
    let verified = claims(&json!({
        "user_id": "", "sub": 42, "name": "Alice", "iat": NOW as f64 - 0.5, "exp": NOW + 60,
    }));
    let verified = verified.unwrap();
    assert_eq!(verified.identity.user_id(), Some("42"));
    assert_eq!(verified.identity.user_name(), Some("Alice"));
    assert_eq!(verified.issued_at, Some(UNIX_EPOCH + Duration::from_millis(NOW * 1000 - 500)));
    let verified = claims(&json!({"exp": NOW + 60})).unwrap();
    assert!(verified.identity.is_empty(), "authenticated all the same");
}
