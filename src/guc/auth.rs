//! The settings that say whose tokens are believed and who may open a stream (C1.3, C4.7): the second half of the
//! settings, in the order of `docs/settings.md`.
//!
//! Files and keys are looked at by the gateway, so that nothing of them keeps Postgres from starting.

use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

use pgrx::PostgresGucEnum;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use sse_gateway::{AuthSettings, CookieName, CorsOrigins, SameSite};
use sse_proto::identity::ClaimNames;
use sse_proto::query::TokenParameter;

use super::{Text, text};
use crate::pg::guc_text::{self, Check};
use crate::pg::{guc_secret, guc_text::define_checked};

/// `sse.cookie_same_site`
#[derive(Clone, Copy, PostgresGucEnum)]
pub(crate) enum SameSiteSetting {
    #[name = c"strict"]
    Strict,
    #[name = c"lax"]
    Lax,
    #[name = c"none"]
    None,
}

static CORS_ORIGINS: Text = GucSetting::<Option<CString>>::new(Some(c""));
static REQUIRE_AUTHENTICATION: GucSetting<bool> = GucSetting::<bool>::new(false);
static JWT_SECRET: Text = GucSetting::<Option<CString>>::new(Some(c""));
static JWT_SECRET_FILE: Text = GucSetting::<Option<CString>>::new(Some(c""));
static JWT_KEY_FILE: Text = GucSetting::<Option<CString>>::new(Some(c""));
static JWT_ISSUER: Text = GucSetting::<Option<CString>>::new(Some(c""));
static JWT_AUDIENCE: Text = GucSetting::<Option<CString>>::new(Some(c""));
static CLAIM_USER_ID: Text = GucSetting::<Option<CString>>::new(Some(c"user_id, sub"));
static CLAIM_USER_NAME: Text = GucSetting::<Option<CString>>::new(Some(c"user_name, name"));
static CLAIM_USER_ROLES: Text = GucSetting::<Option<CString>>::new(Some(c"user_roles, roles, role"));
static COOKIE_NAME: Text = GucSetting::<Option<CString>>::new(Some(c"sse_session"));
static COOKIE_SAME_SITE: GucSetting<SameSiteSetting> =
    GucSetting::<SameSiteSetting>::new(SameSiteSetting::Lax);
static TOKEN_PARAMETER: Text = GucSetting::<Option<CString>>::new(Some(c""));
static SESSION_LIFETIME: GucSetting<i32> = GucSetting::<i32>::new(14 * 24 * 3_600);

/// Defines them.
pub(super) fn define() {
    use GucContext::Sighup;
    let none = GucFlags::default();
    define_checked(
        c"sse.cors_origins",
        c"Origins whose pages may open streams.",
        c"Comma-separated, exact (https://app.example.com); * allows all, without credentials. Empty: only pages of the gateway's own origin. Takes effect on reload.",
        &CORS_ORIGINS,
        Sighup,
        Check::CorsOrigins,
    );
    GucRegistry::define_bool_guc(
        c"sse.require_authentication",
        c"Anonymous subscribers are answered with 401.",
        c"Everywhere but for /healthz, OPTIONS and files of sse.static_root. Takes effect on reload, for new streams.",
        &REQUIRE_AUTHENTICATION,
        Sighup,
        none,
    );
    guc_secret::define(&JWT_SECRET);
    for (name, short, long, setting) in [
        (
            c"sse.jwt_secret_file",
            c"File that has the HMAC key of tokens.",
            c"Readable by the server's user alone; one line end at its end does not count. Empty: none. Read again when it changes.",
            &JWT_SECRET_FILE,
        ),
        (
            c"sse.jwt_key_file",
            c"File that has the public keys of tokens: PEM or JWKS.",
            c"For RS256 to RS512, PS256 to PS512, ES256, ES384 and EdDSA. Empty: none. Read again when it changes.",
            &JWT_KEY_FILE,
        ),
        (
            c"sse.jwt_issuer",
            c"What the claim iss of a token must be.",
            c"Empty: it is not looked at. Takes effect on reload.",
            &JWT_ISSUER,
        ),
        (
            c"sse.jwt_audience",
            c"What the claim aud of a token must be or contain.",
            c"Empty: it is not looked at. Takes effect on reload.",
            &JWT_AUDIENCE,
        ),
    ] {
        GucRegistry::define_string_guc(name, short, long, setting, Sighup, none);
    }
    for (name, short, setting) in [
        (c"sse.claim_user_id", c"Claims that may carry the user id.", &CLAIM_USER_ID),
        (c"sse.claim_user_name", c"Claims that may carry the user name.", &CLAIM_USER_NAME),
        (c"sse.claim_user_roles", c"Claims that may carry the roles.", &CLAIM_USER_ROLES),
    ] {
        let long = c"Comma-separated; the first that a token has counts. Takes effect on reload.";
        define_checked(name, short, long, setting, Sighup, Check::ClaimNames);
    }
    define_checked(
        c"sse.cookie_name",
        c"Cookie that may carry the token.",
        c"Takes effect on reload.",
        &COOKIE_NAME,
        Sighup,
        Check::CookieName,
    );
    GucRegistry::define_enum_guc(
        c"sse.cookie_same_site",
        c"SameSite attribute of the cookie.",
        c"strict, lax, or none (which browsers take over TLS only). Takes effect on reload.",
        &COOKIE_SAME_SITE,
        Sighup,
        none,
    );
    define_checked(
        c"sse.token_parameter",
        c"Query parameter that may carry the token.",
        c"Empty: tokens are never read from URLs, where logs and histories would keep them. Takes effect on reload.",
        &TOKEN_PARAMETER,
        Sighup,
        Check::TokenParameter,
    );
    GucRegistry::define_int_guc(
        c"sse.session_lifetime",
        c"Lifetime of the tokens that sse.issue_token makes.",
        c"Takes effect on reload, for new tokens.",
        &SESSION_LIFETIME,
        1,
        10 * 365 * 24 * 3_600,
        Sighup,
        GucFlags::UNIT_S,
    );
}

/// What the gateway takes on reload. A value that its check has refused is not in force, so nothing here can fail; if it
/// did, it would be narrower than meant.
pub(super) fn settings() -> AuthSettings {
    let optional = |setting| Some(text(setting)).filter(|text| !text.is_empty());
    AuthSettings {
        jwt_secret: guc_secret::secret(),
        jwt_secret_file: optional(&JWT_SECRET_FILE).map(PathBuf::from),
        jwt_key_file: optional(&JWT_KEY_FILE).map(PathBuf::from),
        jwt_issuer: optional(&JWT_ISSUER),
        jwt_audience: optional(&JWT_AUDIENCE),
        claim_names: claim_names(),
        cookie_name: CookieName::parse(&text(&COOKIE_NAME)).unwrap_or_default(),
        cookie_same_site: match COOKIE_SAME_SITE.get() {
            SameSiteSetting::Strict => SameSite::Strict,
            SameSiteSetting::Lax => SameSite::Lax,
            SameSiteSetting::None => SameSite::None,
        },
        token_parameter: TokenParameter::parse(&text(&TOKEN_PARAMETER)).unwrap_or_default(),
        require_authentication: REQUIRE_AUTHENTICATION.get(),
        session_lifetime: session_lifetime(),
    }
}

/// `sse.cors_origins`
pub(super) fn cors_origins() -> CorsOrigins {
    CorsOrigins::parse(&text(&CORS_ORIGINS)).unwrap_or_default()
}

/// `sse.claim_user_id`, `sse.claim_user_name`, `sse.claim_user_roles`
pub(crate) fn claim_names() -> ClaimNames {
    ClaimNames::parse(&text(&CLAIM_USER_ID), &text(&CLAIM_USER_NAME), &text(&CLAIM_USER_ROLES))
        .unwrap_or_default()
}

/// Under which names a token that is made here says who it is for: the first of each list.
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
    let first = |setting, default: &str| {
        let names = ClaimNames::parse_list(&text(setting)).unwrap_or_default();
        names.into_iter().next().unwrap_or_else(|| default.to_owned())
    };
    FirstClaimNames {
        user_id: first(&CLAIM_USER_ID, "user_id"),
        user_name: first(&CLAIM_USER_NAME, "user_name"),
        user_roles: first(&CLAIM_USER_ROLES, "user_roles"),
    }
}

/// `sse.jwt_secret_file`
pub(crate) fn jwt_secret_file() -> Option<PathBuf> {
    guc_text::with(&JWT_SECRET_FILE, |file| {
        (!file.is_empty()).then(|| PathBuf::from(String::from_utf8_lossy(file).into_owned()))
    })
}

/// `sse.jwt_issuer` and `sse.jwt_audience`, where they are set.
pub(crate) fn issuer_and_audience() -> (Option<String>, Option<String>) {
    let optional = |setting| Some(text(setting)).filter(|text| !text.is_empty());
    (optional(&JWT_ISSUER), optional(&JWT_AUDIENCE))
}

/// `sse.session_lifetime`
pub(crate) fn session_lifetime() -> Duration {
    Duration::from_secs(u64::try_from(SESSION_LIFETIME.get()).unwrap_or(0))
}
