//! Settings that say whose tokens are believed and where they are found (C1.3).
//!
//! Not for reading the files they name: that is `key_file`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use sse_proto::identity::ClaimNames;
use sse_proto::query::TokenParameter;

use super::Secret;
use crate::entry::peer::Transport;

/// Part of [`crate::Settings`]. With none of the three keys nobody can be authenticated, and every token is
/// refused.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// `sse.jwt_secret`. Verifies beside the one of `jwt_secret_file`, so that a secret can be changed step
    /// by step.
    pub jwt_secret: Option<Secret>,
    /// `sse.jwt_secret_file`: its bytes without one line end at their end.
    pub jwt_secret_file: Option<PathBuf>,
    /// `sse.jwt_key_file`: PEM public keys, or a JWKS (RFC 7517 §5).
    pub jwt_key_file: Option<PathBuf>,
    /// `sse.jwt_issuer`: `iss` must be exactly this.
    pub jwt_issuer: Option<String>,
    /// `sse.jwt_audience`: `aud` must be or contain exactly this.
    pub jwt_audience: Option<String>,
    /// `sse.claim_user_id`, `sse.claim_user_name`, `sse.claim_user_roles`.
    pub claim_names: ClaimNames,
    /// `sse.cookie_name`.
    pub cookie_name: CookieName,
    /// `sse.cookie_same_site`.
    pub cookie_same_site: SameSite,
    /// `sse.token_parameter`; `None` = tokens are never read from URLs.
    pub token_parameter: Option<TokenParameter>,
    /// `sse.require_authentication`: an anonymous request gets 401, except for `/healthz`, `OPTIONS` (a
    /// preflight carries no credentials, Fetch §4.8), static files (the page that logs in is one), and calls
    /// of `@login`, `@logout` and `@anonymous` routines (nobody could log in otherwise).
    pub require_authentication: bool,
    /// `sse.session_lifetime`: of tokens and cookies that a login makes.
    pub session_lifetime: Duration,
}

/// The defaults of C1.3.
impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            jwt_secret_file: None,
            jwt_key_file: None,
            jwt_issuer: None,
            jwt_audience: None,
            claim_names: ClaimNames::default(),
            cookie_name: CookieName::default(),
            cookie_same_site: SameSite::default(),
            token_parameter: None,
            require_authentication: false,
            session_lifetime: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

/// How long a login waits for the file of the secret. A disk that takes longer counts as hanging.
const SECRET_PATIENCE: Duration = Duration::from_secs(5);

impl AuthSettings {
    /// [`AuthSettings::signing_secret`] on another thread: a disk that hangs must not stop this thread's
    /// events.
    ///
    /// # Errors
    /// [`NoSecret`], also when the file cannot be read in time.
    pub(crate) async fn read_signing_secret(&self) -> Result<Secret, NoSecret> {
        if self.jwt_secret_file.is_none() {
            return self.signing_secret();
        }
        let settings = self.clone();
        in_time(move || settings.signing_secret()).await
    }

    /// What sessions are signed with: the file's secret, if there is one (both are believed).
    ///
    /// # Errors
    /// [`NoSecret`]
    fn signing_secret(&self) -> Result<Secret, NoSecret> {
        match (&self.jwt_secret_file, &self.jwt_secret) {
            (Some(file), _) => Secret::read_file(file).map_err(|_| NoSecret),
            (None, Some(secret)) => Ok(secret.clone()),
            (None, None) => Err(NoSecret),
        }
    }
}

/// Reads on a thread that may wait for a disk. When the time is over that thread is left to wait alone.
///
/// # Errors
/// The errors of `read`; [`NoSecret`] when nothing was read in time.
async fn in_time(
    read: impl FnOnce() -> Result<Secret, NoSecret> + Send + 'static,
) -> Result<Secret, NoSecret> {
    match tokio::time::timeout(SECRET_PATIENCE, tokio::task::spawn_blocking(read)).await {
        Ok(Ok(secret)) => secret,
        _ => Err(NoSecret),
    }
}

/// There is nothing to sign a session with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSecret;

impl fmt::Display for NoSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "Logins do not work yet: there is no secret to sign sessions with. Set sse.jwt_secret to what \
             \"openssl rand -base64 32\" prints, or sse.jwt_secret_file to a file with it that the server's user alone \
             may read, and reload.",
        )
    }
}

/// `SameSite` of the cookie (`sse.cookie_same_site`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Sent with requests of the same site only.
    Strict,
    /// Also when a link leads here.
    #[default]
    Lax,
    /// With every request. Browsers take it over TLS only, so the cookie is `Secure` then.
    None,
}

impl SameSite {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// Name of the cookie that may carry a token (`sse.cookie_name`): a token of RFC 9110 §5.6.2, at most 64
/// bytes. Empty, which is the default: the name depends on how the browser came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CookieName(String);

impl CookieName {
    /// # Errors
    /// [`CookieNameError`] when it is longer, or has a character that would end the name.
    pub fn parse(name: &str) -> Result<Self, CookieNameError> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.len() > 64 || !name.bytes().all(is_token) {
            return Err(CookieNameError);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name for a request that came so. A name with `__Host-` is for our own TLS alone: behind a proxy
    /// that forgets to say how it was asked, browsers would drop such a cookie.
    pub(crate) fn of(&self, transport: Transport) -> &str {
        match transport {
            _ if !self.0.is_empty() => &self.0,
            Transport::OwnTls => "__Host-sse_session",
            Transport::Plain | Transport::ProxyTls => "sse_session",
        }
    }
}

/// Whether browsers refuse a cookie of this name unless it is `Secure` (RFC 6265bis §4.1.3).
pub(super) fn demands_secure(name: &str) -> bool {
    let starts =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    starts("__Secure-") || starts("__Host-")
}

/// A text is no [`CookieName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieNameError;

impl fmt::Display for CookieNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the name of a cookie has at most 64 ASCII letters, digits and signs, without blanks, commas, semicolons, \
             quotes, brackets, \"=\", \"/\" and \"@\"",
        )
    }
}

impl std::error::Error for CookieNameError {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use tokio::task::{JoinHandle, yield_now};
    use tokio::time::advance;

    use super::*;

    /// A login whose file is read when this says so.
    fn login() -> (Sender<()>, JoinHandle<Result<Secret, NoSecret>>) {
        let (disk, answers) = channel();
        let read = move || answers.recv().map_err(|_| NoSecret).and_then(|()| secret());
        (disk, tokio::spawn(in_time(read)))
    }

    fn secret() -> Result<Secret, NoSecret> {
        Secret::try_new([7; 32]).map_err(|_| NoSecret)
    }

    /// Lets this much time pass, so that a task that waits for it goes on.
    async fn pass(time: Duration) {
        yield_now().await;
        advance(time).await;
        for _ in 0..10 {
            yield_now().await;
        }
    }

    // A disk that hangs under the file of the secret: no test can make a regular file hang, so the reading is
    // another.
    #[tokio::test(start_paused = true)]
    async fn a_login_waits_five_seconds_for_the_file_of_its_secret() {
        let (five, moment) = (Duration::from_secs(5), Duration::from_millis(1));
        let (disk, login_in_time) = login();
        pass(five - moment).await;
        assert!(!login_in_time.is_finished(), "given up before its time");
        assert_eq!(disk.send(()), Ok(()));
        assert!(matches!(login_in_time.await, Ok(Ok(_))), "it came in time");
        for late in [Duration::ZERO, moment] {
            let (disk, login_too_late) = login();
            pass(five + late).await;
            assert!(login_too_late.is_finished(), "it waits {late:?} longer");
            assert!(matches!(login_too_late.await, Ok(Err(NoSecret))));
            // The thread is let go, or the test would not end.
            drop(disk);
        }
    }

    // Header injection through a setting that ends up in `Set-Cookie`.
    #[test]
    fn a_cookie_name_cannot_open_an_attribute_or_a_header() {
        for name in ["a b", "a;b", "a=b", "a,b", "a\"b", "a\r\nX: y", "ä", "a\0", &"x".repeat(65)] {
            assert_eq!(CookieName::parse(name), Err(CookieNameError), "{name:?}");
        }
        for name in ["", "sse_session", "__Host-s", "x", &"x".repeat(64)] {
            assert!(CookieName::parse(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn prefixes_that_browsers_demand_secure_for_are_known_in_any_case() {
        for (name, expected) in [("__Host-x", true), ("__secure-x", true), ("__host", false), ("x", false)] {
            assert_eq!(demands_secure(name), expected, "{name}");
        }
    }
}
