//! Which keys are believed, and which of them for which token.

use super::*;
use crate::auth::keys::KeyError;

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
                assert_eq!(judge(&forged, &keys), Err(Disbelief::Signature), "{algorithm}");
                // Nor beside a real secret.
                let both = [keys.clone(), secret_key()].concat();
                assert_eq!(judge(&forged, &both), Err(Disbelief::Signature), "{algorithm}");
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
        assert_eq!(judge(&signer.token(algorithm, &good()), &keys), Err(Disbelief::Signature), "{algorithm}");
    }
    let rsa = Signer::rsa();
    let mut restricted = rsa.jwk("a");
    restricted["alg"] = json!("PS256");
    let keys = jwks(&[restricted]);
    assert_eq!(judge(&rsa.token("PS256", &good()), &keys), Ok(()));
    assert_eq!(judge(&rsa.token("RS256", &good()), &keys), Err(Disbelief::Signature));
    // The header says one thing, the signature is another.
    let header = r#"{"alg":"RS256"}"#;
    let keys = Key::parse_file(&rsa.pem()).unwrap();
    assert_eq!(judge(&rsa.raw("PS256", header, &good().to_string()), &keys), Err(Disbelief::Signature));
}

// alg none, in every spelling, with and without a signature.
#[test]
fn none_is_the_algorithm_of_no_key() {
    let keys = [secret_key(), Key::parse_file(&Signer::rsa().pem()).unwrap()].concat();
    for alg in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS1"] {
        let header = json!({"alg": alg}).to_string();
        let signed = Signer::secret().raw("HS256", &header, &good().to_string());
        assert_eq!(judge(&signed, &keys), Err(Disbelief::Signature), "{alg}");
        let unsigned = format!("{}.{}.", encode(header.as_bytes()), encode(good().to_string().as_bytes()));
        assert_eq!(judge(&unsigned, &keys), Err(Disbelief::Signature), "{alg}");
        assert_eq!(judge(unsigned.trim_end_matches('.'), &keys), Err(Disbelief::Malformed), "{alg}");
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":1}"#, r#"{"alg":["HS256"]}"#, "[]", "", "x"] {
        let token = Signer::secret().raw("HS256", header, &good().to_string());
        assert_eq!(judge(&token, &keys), Err(Disbelief::Malformed), "{header}");
    }
}

#[test]
fn without_a_key_every_token_is_refused() {
    assert_eq!(judge(&tokens::token(&good()), &[]), Err(Disbelief::Signature));
}

// Wrong kid: a token that names a key we do not have, or another key than the one that signed it.
#[test]
fn a_token_is_verified_with_the_key_it_names() {
    let (a, b) = (Signer::p256(), Signer::p256());
    let keys = jwks(&[a.jwk("a"), b.jwk("b")]);
    for (kid, expected) in [
        ("a", Ok(())),
        ("b", Err(Disbelief::Signature)),
        ("c", Err(Disbelief::Signature)),
        ("A", Err(Disbelief::Signature)),
        ("", Err(Disbelief::Signature)),
    ] {
        assert_eq!(judge(&a.token_with_kid("ES256", kid, &good()), &keys), expected, "{kid}");
    }
    assert_eq!(judge(&b.token("ES256", &good()), &keys), Ok(()), "a token without kid is tried with each");
    let token = Signer::secret().token_with_kid("HS256", "whatever", &good());
    assert_eq!(judge(&token, &secret_key()), Ok(()), "a secret has no kid to differ from");
    let header = r#"{"alg":"ES256","kid":1}"#;
    assert_eq!(judge(&a.raw("ES256", header, &good().to_string()), &keys), Err(Disbelief::Malformed));
}

// A key that comes with the token: jwk, jku and x5u are the attacker's own.
#[test]
fn a_key_in_the_header_is_not_believed() {
    let attacker = Signer::p256();
    let header = json!({"alg": "ES256", "jwk": attacker.jwk("x"), "jku": "https://evil.example/keys"});
    let token = attacker.raw("ES256", &header.to_string(), &good().to_string());
    assert_eq!(judge(&token, &Key::parse_file(&Signer::p256().pem()).unwrap()), Err(Disbelief::Signature));
}

// Keys that do not belong into a file of public keys, and keys that are too weak.
#[test]
fn private_symmetric_and_weak_keys_are_refused() {
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
