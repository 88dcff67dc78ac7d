//! Tokens that are made here: for `sse.issue_token`, and for logins.
//!
//! Nothing in it needs a running gateway: it may be called in any process. Not for verifying: that is `auth`.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use crate::auth::{MAX_TOKEN_BYTES, Secret};

/// Signs claims with HS256 and returns them as a token.
///
/// The claims are taken as they are. What the gateway asks of a token: `exp`; and for `sse.disconnect` to let tokens in
/// that are made in the same second, an `iat` with its fraction (RFC 7519 §2 allows it).
///
/// # Errors
/// [`SignError::TooLong`]: the gateway would refuse such a token.
pub fn sign(secret: &Secret, claims: &Map<String, Value>) -> Result<String, SignError> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key);
    token
        .map_err(|_| SignError::Failed)
        .and_then(|token| if token.len() > MAX_TOKEN_BYTES { Err(SignError::TooLong) } else { Ok(token) })
}

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// Its claims are too much for the 8 kB that a token may have.
    TooLong,
    /// The cryptography failed. It has no reason to.
    Failed,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the token would be longer than {MAX_TOKEN_BYTES} bytes"),
            Self::Failed => f.write_str("the token could not be signed"),
        }
    }
}

impl std::error::Error for SignError {}
