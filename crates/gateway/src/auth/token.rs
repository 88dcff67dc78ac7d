//! Tokens that are made here: for `sse.issue_token`, and for logins.
//!
//! Nothing in it needs a running gateway: it may be called in any process. Not for verifying: that is `auth`.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Number, Value};

use crate::auth::{AuthSettings, MAX_TOKEN_BYTES, Secret};

/// The last second of the year 9999: beyond it peers disagree about dates.
const MAX_EXPIRY_SECONDS: u64 = 253_402_300_799;

/// [`complete`]s claims and signs them.
///
/// # Errors
/// [`TokenError`], each variant as it is described there.
pub fn issue(
    mut claims: Map<String, Value>,
    secret: &Secret,
    settings: &AuthSettings,
    lifetime: Duration,
    now: SystemTime,
) -> Result<String, TokenError> {
    complete(&mut claims, settings, lifetime, now)?;
    sign(secret, &claims)
}

/// Adds what makes claims those of a token that a gateway with these settings believes: `exp` and `iat`, and
/// `iss` and `aud` if it asks for them.
///
/// # Errors
/// [`TokenError::Lifetime`].
pub fn complete(
    claims: &mut Map<String, Value>,
    settings: &AuthSettings,
    lifetime: Duration,
    now: SystemTime,
) -> Result<(), TokenError> {
    let now = now.duration_since(UNIX_EPOCH).map_err(|_| TokenError::Lifetime)?;
    let expires = now.checked_add(lifetime).ok_or(TokenError::Lifetime)?.as_secs();
    if expires > MAX_EXPIRY_SECONDS {
        return Err(TokenError::Lifetime);
    }
    for (name, value) in [("iss", &settings.jwt_issuer), ("aud", &settings.jwt_audience)] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value.as_str().into());
        }
    }
    claims.insert("exp".to_owned(), expires.into());
    // With its fraction: `sse.disconnect` lets in what is issued later in the same second (RFC 7519 §2 allows
    // it).
    if let Some(issued_at) = Number::from_f64(now.as_secs_f64()) {
        claims.insert("iat".to_owned(), Value::Number(issued_at));
    }
    Ok(())
}

/// Signs claims with HS256 and returns them as a token.
///
/// The claims are taken as they are; the gateway asks for those that [`complete`] adds.
///
/// # Errors
/// [`TokenError::TooLong`]: the gateway would refuse such a token.
pub fn sign(secret: &Secret, claims: &Map<String, Value>) -> Result<String, TokenError> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key);
    token
        .map_err(|_| TokenError::Failed)
        .and_then(|token| if token.len() > MAX_TOKEN_BYTES { Err(TokenError::TooLong) } else { Ok(token) })
}

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// The lifetime is not positive, or ends beyond the year 9999.
    Lifetime,
    /// Its claims are too much for the 8 kB that a token may have.
    TooLong,
    /// The cryptography failed. It has no reason to.
    Failed,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifetime => {
                f.write_str("the lifetime of a token must be positive, and not beyond the year 9999")
            }
            Self::TooLong => write!(f, "the token would be longer than {MAX_TOKEN_BYTES} bytes"),
            Self::Failed => f.write_str("the token could not be signed"),
        }
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_in_the_year_9999_at_the_latest() {
        let now = UNIX_EPOCH + Duration::from_secs(10);
        let complete = |lifetime| complete(&mut Map::new(), &AuthSettings::default(), lifetime, now);
        let longest = MAX_EXPIRY_SECONDS - 10;
        assert_eq!(complete(Duration::from_secs(longest - 1)), Ok(()));
        assert_eq!(complete(Duration::from_secs(longest)), Ok(()));
        for lifetime in [Duration::from_secs(longest + 1), Duration::MAX] {
            assert_eq!(complete(lifetime), Err(TokenError::Lifetime));
        }
    }

    #[test]
    fn claims_are_completed_with_what_the_gateway_asks_for_and_nothing_else() {
        let settings = AuthSettings {
            jwt_issuer: Some("issuer".to_owned()),
            jwt_audience: Some("audience".to_owned()),
            ..AuthSettings::default()
        };
        let now = UNIX_EPOCH + Duration::from_millis(1_250);
        for (settings, expected) in [
            (settings, serde_json::json!({"iss": "issuer", "aud": "audience", "exp": 61, "iat": 1.25})),
            (AuthSettings::default(), serde_json::json!({"exp": 61, "iat": 1.25})),
        ] {
            let mut claims = Map::new();
            assert_eq!(complete(&mut claims, &settings, Duration::from_secs(60), now), Ok(()));
            assert_eq!(Value::Object(claims), expected);
        }
    }
}
