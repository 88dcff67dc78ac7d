//! The cookie that carries a session's token (C7.5).
//!
//! Not for reading it: that is `credential`.

use std::time::Duration;

use http::HeaderValue;

use super::settings::demands_secure;
use super::{AuthSettings, SameSite};
use crate::entry::peer::Transport;

/// Longest name and value together, in bytes, that browsers keep (RFC 6265bis §5.6). Browsers silently drop a
/// longer cookie: the login would seem to work, and the user would be anonymous afterwards.
const MAX_COOKIE_BYTES: usize = 4096;

/// `Set-Cookie` for a token. `None`: browsers would not keep it.
pub(crate) fn session_cookie(
    token: &str,
    lifetime: Duration,
    settings: &AuthSettings,
    transport: Transport,
) -> Option<HeaderValue> {
    if settings.cookie_name.of(transport).len() + token.len() > MAX_COOKIE_BYTES {
        return None;
    }
    cookie(token, lifetime.as_secs(), settings, transport)
}

/// `Set-Cookie` that makes a browser forget the cookie: with the attributes it was set with, else it would
/// stay. `None` cannot come: a name of a cookie has no character that a header could not hold.
pub(crate) fn cleared_cookie(settings: &AuthSettings, transport: Transport) -> Option<HeaderValue> {
    cookie("", 0, settings, transport)
}

fn cookie(value: &str, max_age: u64, settings: &AuthSettings, transport: Transport) -> Option<HeaderValue> {
    let name = settings.cookie_name.of(transport);
    let same_site = settings.cookie_same_site;
    let secure = transport.is_secure() || demands_secure(name) || same_site == SameSite::None;
    let secure = if secure { "; Secure" } else { "" };
    let same_site = same_site.as_str();
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
            |token: &str, transport| session_cookie(token, Duration::from_secs(60), &settings, transport);
        let expected = "sse_session=a.b.c; Path=/; Max-Age=60; HttpOnly; SameSite=Lax";
        assert_eq!(cookie("a.b.c", Transport::Plain).unwrap(), expected);
        assert_eq!(cookie("a.b.c", Transport::ProxyTls).unwrap(), format!("{expected}; Secure"));
        assert_eq!(cookie("a.b.c", Transport::OwnTls).unwrap(), format!("__Host-{expected}; Secure"));
        for (transport, name) in
            [(Transport::Plain, "sse_session"), (Transport::OwnTls, "__Host-sse_session")]
        {
            let longest = 4096 - name.len();
            assert!(cookie(&"x".repeat(longest), transport).is_some());
            assert!(cookie(&"x".repeat(longest + 1), transport).is_none());
        }
    }
}
