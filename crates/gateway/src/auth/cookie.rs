//! The cookie that carries a session's token (C7.5).
//!
//! Not for reading it: that is `credential`.

use std::time::Duration;

use http::HeaderValue;

use super::{AuthSettings, SameSite};

/// Longest name and value together, in bytes, that browsers keep (RFC 6265bis §5.6). Browsers silently drop a
/// longer cookie: the login would seem to work, and the user would be anonymous afterwards.
const MAX_COOKIE_BYTES: usize = 4096;

/// `Set-Cookie` for a token. `is_secure`: the peer came over TLS. `None`: browsers would not keep it.
pub(crate) fn session_cookie(
    token: &str,
    lifetime: Duration,
    settings: &AuthSettings,
    is_secure: bool,
) -> Option<HeaderValue> {
    if settings.cookie_name.as_str().len() + token.len() > MAX_COOKIE_BYTES {
        return None;
    }
    cookie(token, lifetime.as_secs(), settings, is_secure)
}

/// `Set-Cookie` that makes a browser forget the cookie: with the attributes it was set with, else it would
/// stay. `None` cannot come: a name of a cookie has no character that a header could not hold.
pub(crate) fn cleared_cookie(settings: &AuthSettings, is_secure: bool) -> Option<HeaderValue> {
    cookie("", 0, settings, is_secure)
}

fn cookie(value: &str, max_age: u64, settings: &AuthSettings, is_secure: bool) -> Option<HeaderValue> {
    let name = &settings.cookie_name;
    let same_site = settings.cookie_same_site;
    let secure = is_secure || name.demands_secure() || same_site == SameSite::None;
    let secure = if secure { "; Secure" } else { "" };
    let (name, same_site) = (name.as_str(), same_site.as_str());
    let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={same_site}{secure}");
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cookie_is_what_browsers_keep_or_there_is_none() {
        let settings = AuthSettings::default();
        let cookie =
            |token: &str, is_secure| session_cookie(token, Duration::from_secs(60), &settings, is_secure);
        let expected = "sse_session=a.b.c; Path=/; Max-Age=60; HttpOnly; SameSite=Lax";
        assert_eq!(cookie("a.b.c", false).unwrap(), expected);
        assert_eq!(cookie("a.b.c", true).unwrap(), format!("{expected}; Secure"));
        let longest = 4096 - "sse_session".len();
        assert!(cookie(&"x".repeat(longest), false).is_some());
        assert!(cookie(&"x".repeat(longest + 1), false).is_none());
    }
}
