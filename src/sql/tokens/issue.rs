//! Tokens that this server makes for its subscribers: `sse.issue_token`.
//!
//! Signed with HS256, so whoever has the secret can verify them; the gateway does. Not for verifying.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Number, Value};
use sse_gateway::Secret;
use sse_gateway::token::{SignError, sign};
use sse_proto::identity::Identity;

use crate::guc;
use crate::pg::guc_secret;

/// For whom, and for how long.
pub(crate) struct Order {
    /// Claim of `sse.claim_user_id`.
    pub user_id: Option<String>,
    /// Claim of `sse.claim_user_name`.
    pub user_name: Option<String>,
    /// Claim of `sse.claim_user_roles`.
    pub roles: Vec<String>,
    /// From now on.
    pub lifetime: Duration,
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum IssueError {
    /// Neither `sse.jwt_secret` nor `sse.jwt_secret_file` is set.
    NoSecret,
    /// The file of the secret cannot be used; why.
    Secret(String),
    /// Nothing that could be told of the subscriber, or too much of it; why.
    Identity(String),
    /// The lifetime is not positive, or ends beyond what a token can say.
    Lifetime,
    /// The token would be refused.
    Sign(SignError),
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => f.write_str(
                "there is no secret to sign tokens with: set sse.jwt_secret_file (a file of at least 32 bytes, readable by the server's user alone) or sse.jwt_secret",
            ),
            Self::Secret(why) => write!(f, "the file of sse.jwt_secret_file cannot be used: {why}"),
            Self::Identity(why) => write!(f, "no token for such a user: {why}"),
            Self::Lifetime => f.write_str("the lifetime of a token must be positive, and not beyond the year 9999"),
            Self::Sign(error) => write!(f, "{error}"),
        }
    }
}

/// Makes a token.
///
/// # Errors
/// [`IssueError`], each variant as it is described there.
pub(crate) fn issue(order: &Order) -> Result<String, IssueError> {
    let secret = secret()?;
    let identity = Identity::try_new(order.user_id.as_deref(), order.user_name.as_deref(), &order.roles)
        .map_err(|error| IssueError::Identity(error.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| IssueError::Lifetime)?;
    let expires = now.checked_add(order.lifetime).ok_or(IssueError::Lifetime)?.as_secs();
    // Year 9999: beyond it peers disagree about dates.
    if expires > 253_402_300_799 {
        return Err(IssueError::Lifetime);
    }
    let mut claims = Map::new();
    let names = guc::auth::first_claim_names();
    if let Some(user_id) = identity.user_id() {
        claims.insert(names.user_id, user_id.into());
    }
    if let Some(user_name) = identity.user_name() {
        claims.insert(names.user_name, user_name.into());
    }
    if !identity.roles().is_empty() {
        claims.insert(names.user_roles, identity.roles().into());
    }
    let (issuer, audience) = (guc::JWT_ISSUER.optional(), guc::JWT_AUDIENCE.optional());
    for (name, value) in [("iss", issuer), ("aud", audience)] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value.into());
        }
    }
    claims.insert("exp".to_owned(), expires.into());
    if let Some(issued_at) = Number::from_f64(now.as_secs_f64()) {
        claims.insert("iat".to_owned(), Value::Number(issued_at));
    }
    sign(&secret, &claims).map_err(IssueError::Sign)
}

/// The file's secret, if there is one: it is the better place, and both are believed by the gateway.
fn secret() -> Result<Secret, IssueError> {
    if let Some(file) = guc::auth::jwt_secret_file() {
        return Secret::read_file(&file).map_err(IssueError::Secret);
    }
    guc_secret::secret().ok_or(IssueError::NoSecret)
}
