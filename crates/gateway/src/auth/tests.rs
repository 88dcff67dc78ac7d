#![allow(clippy::unwrap_used)]
//! Attacks on tokens, and what tokens may look like. Each test that begins with an attack names it.

#[path = "../../tests/support/tokens.rs"]
pub(super) mod tokens;

use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::keys::{Effort, Key};
use super::refusal::Refusal;
use super::verify::{MAX_TOKEN_BYTES, Verified, verify};
use super::{AuthSettings, Secret};
use tokens::{SECRET, Signer, encode, pem};

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn secret_key() -> Vec<Key> {
    vec![Key::from_secret(&Secret::try_new(SECRET).unwrap())]
}

fn judge_with(token: &str, keys: &[Key], settings: &AuthSettings) -> Result<Verified, Refusal> {
    verify(token, keys, settings, at(NOW), &mut Effort::default())
}

fn judge(token: &str, keys: &[Key]) -> Result<(), Refusal> {
    judge_with(token, keys, &AuthSettings::default()).map(drop)
}

/// Claims signed with the secret.
fn claims(claims: &Value) -> Result<Verified, Refusal> {
    judge_with(&tokens::token(claims), &secret_key(), &AuthSettings::default())
}

fn refusal(value: &Value) -> Option<Refusal> {
    claims(value).err()
}

fn good() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

fn jwks(keys: &[Value]) -> Vec<Key> {
    Key::parse_file(&json!({"keys": keys}).to_string()).unwrap()
}

#[test]
fn every_algorithm_of_the_contract_verifies_with_pem_and_jwks() {
    let signers = [
        (Signer::rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (Signer::p256(), &["ES256"]),
        (Signer::p384(), &["ES384"]),
        (Signer::ed25519(), &["EdDSA"]),
    ];
    let all: Vec<Value> =
        signers.iter().zip(0..).map(|((signer, _), n)| signer.jwk(&format!("k{n}"))).collect();
    let all = jwks(&all);
    let pems: String = signers.iter().map(|(signer, _)| signer.pem()).collect();
    let pems = Key::parse_file(&pems).unwrap();
    for (n, (signer, algorithms)) in signers.iter().enumerate() {
        for algorithm in *algorithms {
            let token = signer.token(algorithm, &good());
            assert_eq!(judge(&token, &Key::parse_file(&signer.pem()).unwrap()), Ok(()), "{algorithm}");
            assert_eq!(judge(&token, &pems), Ok(()), "{algorithm}");
            assert_eq!(judge(&token, &all), Ok(()), "{algorithm} without kid");
            let token = signer.token_with_kid(algorithm, &format!("k{n}"), &good());
            assert_eq!(judge(&token, &all), Ok(()), "{algorithm} with kid");
        }
    }
    for algorithm in ["HS256", "HS384", "HS512"] {
        assert_eq!(judge(&Signer::secret().token(algorithm, &good()), &secret_key()), Ok(()), "{algorithm}");
    }
}

// Algorithm confusion: the public key, which everybody has, used as an HMAC secret.
#[test]
fn a_public_key_is_no_secret() {
    for signer in [Signer::rsa(), Signer::p256(), Signer::ed25519()] {
        let text = signer.pem();
        let keys = Key::parse_file(&text).unwrap();
        let bodies = [text.as_bytes().to_vec(), text.trim().as_bytes().to_vec()];
        let raw = match &signer {
            Signer::Rsa(pair) => aws_lc_rs::signature::KeyPair::public_key(&**pair).as_ref().to_vec(),
            Signer::P256(pair) => aws_lc_rs::signature::KeyPair::public_key(pair).as_ref().to_vec(),
            Signer::Ed25519(pair) => aws_lc_rs::signature::KeyPair::public_key(pair).as_ref().to_vec(),
            _ => unreachable!(),
        };
        for secret in bodies.into_iter().chain([raw]) {
            for algorithm in ["HS256", "HS384", "HS512"] {
                let forged = Signer::Hmac(secret.clone()).token(algorithm, &good());
                assert_eq!(judge(&forged, &keys), Err(Refusal::Signature), "{algorithm}");
                // Nor beside a real secret.
                let both = [keys.clone(), secret_key()].concat();
                assert_eq!(judge(&forged, &both), Err(Refusal::Signature), "{algorithm}");
            }
        }
    }
}

// Algorithm confusion between the public-key algorithms: each key is for its own alone.
#[test]
fn a_key_verifies_only_with_the_algorithms_of_its_kind() {
    let keys = Key::parse_file(&Signer::rsa().pem()).unwrap();
    for (signer, algorithm) in
        [(Signer::p256(), "ES256"), (Signer::ed25519(), "EdDSA"), (Signer::rsa(), "RS256")]
    {
        assert_eq!(judge(&signer.token(algorithm, &good()), &keys), Err(Refusal::Signature), "{algorithm}");
    }
    let rsa = Signer::rsa();
    let mut restricted = rsa.jwk("a");
    restricted["alg"] = json!("PS256");
    let keys = jwks(&[restricted]);
    assert_eq!(judge(&rsa.token("PS256", &good()), &keys), Ok(()));
    assert_eq!(judge(&rsa.token("RS256", &good()), &keys), Err(Refusal::Signature));
    // The header says one thing, the signature is another.
    let header = r#"{"alg":"RS256"}"#;
    let keys = Key::parse_file(&rsa.pem()).unwrap();
    assert_eq!(judge(&rsa.raw("PS256", header, &good().to_string()), &keys), Err(Refusal::Signature));
}

// alg none, in every spelling, with and without a signature.
#[test]
fn none_is_the_algorithm_of_no_key() {
    let keys = [secret_key(), Key::parse_file(&Signer::rsa().pem()).unwrap()].concat();
    for alg in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS1"] {
        let header = json!({"alg": alg}).to_string();
        let signed = Signer::secret().raw("HS256", &header, &good().to_string());
        assert_eq!(judge(&signed, &keys), Err(Refusal::Signature), "{alg}");
        let unsigned = format!("{}.{}.", encode(header.as_bytes()), encode(good().to_string().as_bytes()));
        assert_eq!(judge(&unsigned, &keys), Err(Refusal::Signature), "{alg}");
        assert_eq!(judge(unsigned.trim_end_matches('.'), &keys), Err(Refusal::Malformed), "{alg}");
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":1}"#, r#"{"alg":["HS256"]}"#, "[]", "", "x"] {
        let token = Signer::secret().raw("HS256", header, &good().to_string());
        assert_eq!(judge(&token, &keys), Err(Refusal::Malformed), "{header}");
    }
}

#[test]
fn without_a_key_every_token_is_refused() {
    assert_eq!(judge(&tokens::token(&good()), &[]), Err(Refusal::Signature));
}

// Wrong kid: a token that names a key we do not have, or another key than the one that signed it.
#[test]
fn a_token_is_verified_with_the_key_it_names() {
    let (a, b) = (Signer::p256(), Signer::p256());
    let keys = jwks(&[a.jwk("a"), b.jwk("b")]);
    for (kid, expected) in [
        ("a", Ok(())),
        ("b", Err(Refusal::Signature)),
        ("c", Err(Refusal::Signature)),
        ("A", Err(Refusal::Signature)),
        ("", Err(Refusal::Signature)),
    ] {
        assert_eq!(judge(&a.token_with_kid("ES256", kid, &good()), &keys), expected, "{kid}");
    }
    assert_eq!(judge(&b.token("ES256", &good()), &keys), Ok(()), "a token without kid is tried with each");
    let token = Signer::secret().token_with_kid("HS256", "whatever", &good());
    assert_eq!(judge(&token, &secret_key()), Ok(()), "a secret has no kid to differ from");
    let header = r#"{"alg":"ES256","kid":1}"#;
    assert_eq!(judge(&a.raw("ES256", header, &good().to_string()), &keys), Err(Refusal::Malformed));
}

// A key that comes with the token: jwk, jku and x5u are the attacker's own.
#[test]
fn a_key_in_the_header_is_not_believed() {
    let attacker = Signer::p256();
    let header = json!({"alg": "ES256", "jwk": attacker.jwk("x"), "jku": "https://evil.example/keys"});
    let token = attacker.raw("ES256", &header.to_string(), &good().to_string());
    assert_eq!(judge(&token, &Key::parse_file(&Signer::p256().pem()).unwrap()), Err(Refusal::Signature));
}

// Headers that change what a token means, and tokens made for something else.
#[test]
fn critical_headers_and_other_types_are_refused() {
    for (header, expected) in [
        (r#"{"alg":"HS256","crit":["exp"]}"#, Err(Refusal::Malformed)),
        (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Err(Refusal::Malformed)),
        (r#"{"alg":"HS256","alg":"none"}"#, Err(Refusal::Malformed)),
        (r#"{"alg":"none","alg":"HS256"}"#, Err(Refusal::Malformed)),
        (r#"{"alg":"HS256","kid":"a","kid":"b"}"#, Err(Refusal::Malformed)),
        (r#"{"alg":"HS256","typ":"logout+jwt"}"#, Err(Refusal::Malformed)),
        (r#"{"alg":"HS256","typ":"at+JWT"}"#, Ok(())),
        (r#"{"alg":"HS256","typ":"application/jwt"}"#, Ok(())),
        (r#"{"alg":"HS256","x":"y"}"#, Ok(())),
    ] {
        let token = Signer::secret().raw("HS256", header, &good().to_string());
        assert_eq!(judge(&token, &secret_key()), expected, "{header}");
    }
}

// Expired, and without exp.
#[test]
fn a_token_lives_until_its_exp_and_the_skew() {
    for (exp, expected) in [
        (json!(NOW + 1), None),
        (json!(NOW), None),
        (json!(NOW - 29), None),
        (json!(NOW as f64 - 29.5), None),
        (json!(NOW - 30), Some(Refusal::Expired)),
        (json!(NOW - 31), Some(Refusal::Expired)),
        (json!(0), Some(Refusal::Expired)),
        (json!(-1), Some(Refusal::Claims)),
        (json!(NOW * 1000), Some(Refusal::Claims)),
        (json!(1e300), Some(Refusal::Claims)),
        (json!((NOW + 60).to_string()), Some(Refusal::Claims)),
        (json!(true), Some(Refusal::Claims)),
        (json!(null), Some(Refusal::Claims)),
        (json!([NOW + 60]), Some(Refusal::Claims)),
    ] {
        assert_eq!(refusal(&json!({"sub": "alice", "exp": exp})), expected, "{exp}");
    }
    assert_eq!(refusal(&json!({"sub": "alice"})), Some(Refusal::NoExpiry));
    assert_eq!(refusal(&json!({"sub": "alice", "EXP": NOW + 60})), Some(Refusal::NoExpiry));
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
            (json!(NOW + 31), Some(Refusal::NotYetValid)),
            (json!("1"), Some(Refusal::Claims)),
            (json!(null), Some(Refusal::Claims)),
        ] {
            assert_eq!(refusal(&json!({"exp": NOW + 60, claim: time})), expected, "{claim} {time}");
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
        assert_eq!(judge(iss(), aud.clone()), Err(Refusal::Audience), "{aud}");
    }
    for aud in [json!(1), json!({"sse": 1}), json!(["sse", 1]), json!(null)] {
        assert_eq!(judge(iss(), aud.clone()), Err(Refusal::Claims), "{aud}");
    }
    for wrong in ["https://id.example/", "https://ID.example", ""] {
        assert_eq!(judge(json!(wrong), json!("sse")), Err(Refusal::Issuer), "{wrong}");
    }
    let neither = tokens::token(&good());
    assert_eq!(judge_with(&neither, &secret_key(), &settings).err(), Some(Refusal::Issuer));
    let with_issuer = tokens::token(&json!({"exp": NOW + 60, "iss": iss()}));
    assert_eq!(judge_with(&with_issuer, &secret_key(), &settings).err(), Some(Refusal::Audience));
    assert_eq!(refusal(&json!({"exp": NOW + 60, "aud": "anything", "iss": "anybody"})), None, "not set");
}

// Truncated, extended, re-encoded, and flipped bit by bit.
#[test]
fn a_token_that_was_touched_is_refused() {
    let token = tokens::token(&good());
    assert_eq!(judge(&token, &secret_key()), Ok(()));
    for len in 0..token.len() {
        assert!(judge(&token[..len], &secret_key()).is_err(), "first {len} bytes");
    }
    for touched in [
        format!("{token}."),
        format!("{token}x"),
        format!("{token}="),
        format!(".{token}"),
        format!("{token}.{token}"),
        token.replace('.', ".."),
        format!(" {token}"),
        format!("{token}\n"),
    ] {
        assert!(judge(&touched, &secret_key()).is_err(), "{touched:?}");
    }
    let bytes = token.into_bytes();
    for n in 0..bytes.len() {
        for bit in 0..7 {
            let mut flipped = bytes.clone();
            flipped[n] ^= 1 << bit;
            let flipped = String::from_utf8(flipped).unwrap();
            assert!(judge(&flipped, &secret_key()).is_err(), "bit {bit} of byte {n}");
        }
    }
}

// Other claims under a signature that was made for these.
#[test]
fn claims_cannot_be_exchanged() {
    let token = tokens::token(&good());
    let admin = encode(json!({"sub": "admin", "exp": NOW + 60}).to_string().as_bytes());
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(judge(&format!("{}.{admin}.{}", parts[0], parts[2]), &secret_key()), Err(Refusal::Signature));
}

// A 1 MB token, one of 10,000 roles, and the limit itself.
#[test]
fn a_token_above_eight_kilobytes_is_refused_unread() {
    let padded = |pad: usize| tokens::token(&json!({"exp": NOW + 60, "x": "y".repeat(pad)}));
    let fitting = (0..).map(|n| 6000 + n).find(|pad| padded(*pad).len() >= MAX_TOKEN_BYTES).unwrap();
    let at_limit = (0..=4).map(|n| padded(fitting - n)).find(|token| token.len() <= MAX_TOKEN_BYTES).unwrap();
    assert_eq!(judge(&at_limit, &secret_key()), Ok(()), "{}", at_limit.len());
    assert_eq!(judge(&padded(fitting + 4), &secret_key()), Err(Refusal::TooLong));
    assert_eq!(judge(&padded(1 << 20), &secret_key()), Err(Refusal::TooLong));
    assert_eq!(judge(&"x".repeat(1 << 20), &secret_key()), Err(Refusal::TooLong));
    let roles: Vec<String> = (0..10_000).map(|n| format!("role{n}")).collect();
    assert_eq!(refusal(&json!({"exp": NOW + 60, "roles": roles})), Some(Refusal::TooLong));
    // Enough short roles to exceed their number without exceeding the token's length.
    assert_eq!(refusal(&json!({"exp": NOW + 60, "roles": vec!["r"; 1001]})), Some(Refusal::Claims));
    assert_eq!(refusal(&json!({"exp": NOW + 60, "roles": vec!["r"; 1000]})), None);
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
        assert_eq!(judge(&token, &secret_key()), Err(Refusal::Claims), "{text}");
    }
}

// A claim of the wrong type never counts as absent: who has a broken list of roles is not somebody without
// roles.
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
        assert_eq!(refusal(&claims), Some(Refusal::Claims), "{claim} {value}");
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

// Keys that do not belong into a file of public keys, and keys that are too weak.
#[test]
fn private_symmetric_and_weak_keys_are_refused() {
    use super::keys::KeyError;
    let refusal = |text: &str| Key::parse_file(text).err();
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        assert_eq!(refusal(&pem(label, b"x")), Some(KeyError::Private), "{label}");
    }
    let both = Signer::p256().pem() + &pem("PRIVATE KEY", b"x");
    assert_eq!(refusal(&both), Some(KeyError::Private));
    assert_eq!(refusal(&pem("CERTIFICATE", b"x")), Some(KeyError::Unsupported));
    assert_eq!(refusal(&pem("PUBLIC KEY", b"x")), Some(KeyError::Unsupported));
    assert_eq!(refusal("-----BEGIN PUBLIC KEY-----\nx"), Some(KeyError::Format));
    for none in ["", "x", "{", "{}", "[]", r#"{"keys":{}}"#] {
        assert_eq!(refusal(none), Some(KeyError::Format), "{none}");
    }
    let set = |keys: &[Value]| refusal(&json!({"keys": keys}).to_string());
    assert_eq!(set(&[]), Some(KeyError::Nothing));
    assert_eq!(set(&[Signer::p256().jwk("a"), Signer::secret().jwk("b")]), Some(KeyError::Private));
    let mut private = Signer::p256().jwk("a");
    private["d"] = json!("x");
    assert_eq!(set(&[private]), Some(KeyError::Private));
    let with = |signer: Signer, name: &str, value: Value| {
        let mut jwk = signer.jwk("a");
        jwk[name] = value;
        jwk
    };
    for unusable in [
        with(Signer::rsa(), "n", json!(encode(&[0xff; 255]))),
        with(Signer::rsa(), "use", json!("enc")),
        with(Signer::rsa(), "alg", json!("HS256")),
        with(Signer::rsa(), "alg", json!("none")),
        with(Signer::rsa(), "key_ops", json!(["sign"])),
        with(Signer::p256(), "crv", json!("P-384")),
        with(Signer::p256(), "crv", json!("secp256k1")),
        with(Signer::p256(), "x", json!("AA")),
        with(Signer::ed25519(), "x", json!("AA")),
        with(Signer::ed25519(), "kty", json!("new")),
    ] {
        assert_eq!(set(std::slice::from_ref(&unusable)), Some(KeyError::Nothing), "{unusable}");
        let beside = set(&[unusable, Signer::p256().jwk("b")]);
        assert_eq!(beside, None, "others of the set stay usable");
    }
    let many = |n: usize| vec![Signer::p256().jwk("a"); n];
    assert_eq!(set(&many(32)), None);
    assert_eq!(set(&many(33)), Some(KeyError::TooMany));
}

#[test]
fn what_is_signed_here_is_believed_here() {
    let secret = Secret::try_new(SECRET).unwrap();
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let token = crate::auth::token::sign(&secret, claims.as_object().unwrap()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let expected = Signer::secret().sign("HS256", format!("{}.{}", parts[0], parts[1]).as_bytes());
    assert_eq!(parts[2], encode(&expected));
    assert_eq!(judge(&token, &secret_key()), Ok(()));
    let long = json!({"sub": "x".repeat(8192), "exp": NOW + 60});
    let refused = crate::auth::token::sign(&secret, long.as_object().unwrap());
    assert_eq!(refused, Err(crate::auth::token::TokenError::TooLong));
}

#[test]
fn debug_output_shows_no_secret() {
    let secret = Secret::try_new(SECRET).unwrap();
    let settings = AuthSettings { jwt_secret: Some(secret), ..AuthSettings::default() };
    let shown = format!("{settings:?} {:?}", secret_key());
    assert!(!shown.contains("0123456789"), "{shown}");
    assert!(!shown.contains("48, 49, 50"), "{shown}");
}
