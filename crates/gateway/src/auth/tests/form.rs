//! What a token looks like: its parts, its header, its length.

use super::*;

// Headers that change what a token means, and tokens made for something else.
#[test]
fn critical_headers_and_other_types_are_refused() {
    for (header, expected) in [
        (r#"{"alg":"HS256","crit":["exp"]}"#, Err(Disbelief::Malformed)),
        (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Err(Disbelief::Malformed)),
        (r#"{"alg":"HS256","alg":"none"}"#, Err(Disbelief::Malformed)),
        (r#"{"alg":"none","alg":"HS256"}"#, Err(Disbelief::Malformed)),
        (r#"{"alg":"HS256","kid":"a","kid":"b"}"#, Err(Disbelief::Malformed)),
        (r#"{"alg":"HS256","typ":"logout+jwt"}"#, Err(Disbelief::Malformed)),
        (r#"{"alg":"HS256","typ":"at+JWT"}"#, Ok(())),
        (r#"{"alg":"HS256","typ":"application/jwt"}"#, Ok(())),
        (r#"{"alg":"HS256","x":"y"}"#, Ok(())),
    ] {
        let token = Signer::secret().raw("HS256", header, &good().to_string());
        assert_eq!(judge(&token, &secret_key()), expected, "{header}");
    }
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
    assert_eq!(
        judge(&format!("{}.{admin}.{}", parts[0], parts[2]), &secret_key()),
        Err(Disbelief::Signature)
    );
}

// A 1 MB token, one of 10,000 roles, and the limit itself.
#[test]
fn a_token_above_eight_kilobytes_is_refused_unread() {
    let padded = |pad: usize| tokens::token(&json!({"exp": NOW + 60, "x": "y".repeat(pad)}));
    let fitting = (0..).map(|n| 6000 + n).find(|pad| padded(*pad).len() >= MAX_TOKEN_BYTES).unwrap();
    let at_limit = (0..=4).map(|n| padded(fitting - n)).find(|token| token.len() <= MAX_TOKEN_BYTES).unwrap();
    assert_eq!(judge(&at_limit, &secret_key()), Ok(()), "{}", at_limit.len());
    assert_eq!(judge(&padded(fitting + 4), &secret_key()), Err(Disbelief::TooLong));
    assert_eq!(judge(&padded(1 << 20), &secret_key()), Err(Disbelief::TooLong));
    assert_eq!(judge(&"x".repeat(1 << 20), &secret_key()), Err(Disbelief::TooLong));
    let roles: Vec<String> = (0..10_000).map(|n| format!("role{n}")).collect();
    assert_eq!(disbelief(&json!({"exp": NOW + 60, "roles": roles})), Some(Disbelief::TooLong));
    // Enough short roles to exceed their number without exceeding the token's length.
    assert_eq!(disbelief(&json!({"exp": NOW + 60, "roles": vec!["r"; 1001]})), Some(Disbelief::Claims));
    assert_eq!(disbelief(&json!({"exp": NOW + 60, "roles": vec!["r"; 1000]})), None);
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
