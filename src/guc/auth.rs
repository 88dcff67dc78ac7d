//! What the settings say about whose tokens are believed and who may open a stream (C4.7).
//!
//! Files and keys are read by the gateway, so that no fault in them keeps Postgres from starting.

use std::path::PathBuf;

use sse_gateway::{AuthSettings, CookieName, CorsOrigins, SameSite};
use sse_proto::identity::ClaimNames;
use sse_proto::query::TokenParameter;

use super::kind::Text;
use super::table::*;
use crate::pg::guc_secret;

/// What the gateway is given at start and on each reload.
pub(super) fn settings() -> AuthSettings {
    AuthSettings {
        jwt_secret: guc_secret::secret(),
        jwt_secret_file: jwt_secret_file(),
        jwt_key_file: JWT_KEY_FILE.optional().map(PathBuf::from),
        jwt_issuer: JWT_ISSUER.optional(),
        jwt_audience: JWT_AUDIENCE.optional(),
        claim_names: claim_names(),
        cookie_name: CookieName::parse(&COOKIE_NAME.text()).unwrap_or_default(),
        cookie_same_site: match COOKIE_SAME_SITE.get() {
            SameSiteSetting::Strict => SameSite::Strict,
            SameSiteSetting::Lax => SameSite::Lax,
            SameSiteSetting::None => SameSite::None,
        },
        token_parameter: TokenParameter::parse(&TOKEN_PARAMETER.text()).unwrap_or_default(),
        require_authentication: REQUIRE_AUTHENTICATION.get(),
        session_lifetime: SESSION_LIFETIME.duration(),
    }
}

/// `sse.cors_origins`
pub(super) fn cors_origins() -> CorsOrigins {
    CorsOrigins::parse(&CORS_ORIGINS.text()).unwrap_or_default()
}

/// `sse.jwt_secret_file`
pub(crate) fn jwt_secret_file() -> Option<PathBuf> {
    JWT_SECRET_FILE.optional().map(PathBuf::from)
}

/// `sse.claim_user_id`, `sse.claim_user_name`, `sse.claim_user_roles`
pub(crate) fn claim_names() -> ClaimNames {
    ClaimNames::parse(&CLAIM_USER_ID.text(), &CLAIM_USER_NAME.text(), &CLAIM_USER_ROLES.text())
        .unwrap_or_default()
}

/// The names under which a token made here says who it is for: the first of each list.
pub(crate) struct FirstClaimNames {
    /// Of `sse.claim_user_id`.
    pub user_id: String,
    /// Of `sse.claim_user_name`.
    pub user_name: String,
    /// Of `sse.claim_user_roles`.
    pub user_roles: String,
}

/// See [`FirstClaimNames`].
pub(crate) fn first_claim_names() -> FirstClaimNames {
    let first = |setting: &Text, default: &str| {
        let names = ClaimNames::parse_list(&setting.text()).unwrap_or_default();
        names.into_iter().next().unwrap_or_else(|| default.to_owned())
    };
    FirstClaimNames {
        user_id: first(&CLAIM_USER_ID, "user_id"),
        user_name: first(&CLAIM_USER_NAME, "user_name"),
        user_roles: first(&CLAIM_USER_ROLES, "user_roles"),
    }
}
