//! Tokens that this server makes for its subscribers: `sse.issue_token`.
//!
//! Tokens are signed with HS256, so whoever has the secret can verify them; the gateway does. Not for
//! verifying.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Map;
use sse_gateway::token::{self, TokenError};
use sse_gateway::{AuthSettings, Secret};
use sse_proto::identity::{Identity, IdentityError};

use crate::guc;
use crate::pg::guc_secret;

/// For whom, and for how long.
pub(crate) struct Wanted {
    /// Claim of `sse.claim_user_id`.
    pub user_id: Option<String>,
    /// Claim of `sse.claim_user_name`.
    pub user_name: Option<String>,
    /// Claim of `sse.claim_user_roles`.
    pub roles: Vec<String>,
    /// Counted from now.
    pub lifetime: Duration,
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum IssueError {
    /// Neither `sse.jwt_secret` nor `sse.jwt_secret_file` is set.
    NoSecret,
    /// The file of the secret cannot be used, for this reason.
    Secret(String),
    /// The token would say nothing about the subscriber, or too much, for this reason.
    Identity(IdentityError),
    /// The token would be refused.
    Token(TokenError),
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => f.write_str(
                "there is no secret to sign tokens with: set sse.jwt_secret_file (a file of at least 32 bytes, readable by the server's user alone) or sse.jwt_secret",
            ),
            Self::Secret(why) => write!(f, "the file of sse.jwt_secret_file cannot be used: {why}"),
            Self::Identity(why) => write!(f, "no token for such a user: {why}"),
            Self::Token(error) => write!(f, "{error}"),
        }
    }
}

/// Makes a token.
///
/// # Errors
/// [`IssueError`], each variant as it is described there.
pub(crate) fn issue(wanted: &Wanted) -> Result<String, IssueError> {
    let secret = secret()?;
    let identity = Identity::try_new(wanted.user_id.as_deref(), wanted.user_name.as_deref(), &wanted.roles)
        .map_err(IssueError::Identity)?;
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
    let settings = AuthSettings {
        jwt_issuer: guc::JWT_ISSUER.optional(),
        jwt_audience: guc::JWT_AUDIENCE.optional(),
        ..AuthSettings::default()
    };
    token::issue(claims, &secret, &settings, wanted.lifetime, SystemTime::now()).map_err(IssueError::Token)
}

/// The secret from the file, if there is one. A file is the better place for it; the gateway believes both
/// secrets.
fn secret() -> Result<Secret, IssueError> {
    if let Some(file) = guc::auth::jwt_secret_file() {
        return Secret::read_file(&file).map_err(IssueError::Secret);
    }
    guc_secret::secret().ok_or(IssueError::NoSecret)
}
