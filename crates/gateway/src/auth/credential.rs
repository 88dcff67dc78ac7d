//! Where a request carries its token: header, else cookie, else query parameter (C4.7).
//!
//! What comes first decides alone: a bad header is never saved by a good cookie. Not for what the token says,
//! nor for which of several cookies counts: that is [`super::Authenticator`].

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};

use super::AuthSettings;
use super::disbelief::Disbelief;
use crate::entry::peer::Transport;

/// Where a token was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Header,
    /// A bad one is cleared by the answer.
    Cookie,
    Parameter,
}

/// Cookies of our name that are looked at, identical ones counted once. There are several when they were set
/// for other paths or domains; each costs a verification. With more none of them is believed.
pub(crate) const MAX_COOKIES: usize = 4;

/// A token that is not verified yet, or the reason why it need not be.
pub(crate) struct Credential<'r> {
    pub(crate) source: Source,
    /// Never empty. More than one only from cookies, and then all different.
    pub(crate) tokens: Result<Vec<&'r str>, Disbelief>,
}

impl<'r> Credential<'r> {
    /// The token of a request, `None` when it has none. `parameter` is the value of `sse.token_parameter`,
    /// decoded.
    pub(crate) fn find(
        headers: &'r HeaderMap,
        parameter: Option<&'r str>,
        settings: &AuthSettings,
        transport: Transport,
    ) -> Option<Self> {
        if let Some(token) = bearer(headers) {
            return Some(Self { source: Source::Header, tokens: token.map(|token| vec![token]) });
        }
        if let Some(tokens) = cookies(headers, settings, transport) {
            return Some(Self { source: Source::Cookie, tokens });
        }
        parameter.map(|token| Self { source: Source::Parameter, tokens: Ok(vec![token]) })
    }
}

/// Whether a request says by itself who sends it, which no browser does for a page of somebody else.
pub(crate) fn has_bearer(headers: &HeaderMap) -> bool {
    bearer(headers).is_some()
}

/// Whether a request carries the cookie that may hold a token.
pub(crate) fn has_cookie(headers: &HeaderMap, settings: &AuthSettings, transport: Transport) -> bool {
    cookies(headers, settings, transport).is_some()
}

/// RFC 6750 §2.1. Other schemes are not ours; beside another `Authorization` a bearer is refused.
fn bearer(headers: &HeaderMap) -> Option<Result<&str, Disbelief>> {
    let mut bearers = headers.get_all(AUTHORIZATION).iter().filter_map(bearer_of);
    let bearer = bearers.next()?;
    if headers.get_all(AUTHORIZATION).iter().count() > 1 {
        return Some(Err(Disbelief::Ambiguous));
    }
    Some(bearer)
}

fn bearer_of(value: &HeaderValue) -> Option<Result<&str, Disbelief>> {
    const SCHEME: &[u8] = b"bearer";
    let bytes = value.as_bytes();
    let (scheme, rest) = bytes.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || rest.first().is_some_and(|byte| !matches!(byte, b' ' | b'\t'))
    {
        return None;
    }
    Some(
        std::str::from_utf8(rest)
            .map(|token| token.trim_matches([' ', '\t']))
            .map_err(|_| Disbelief::Malformed),
    )
}

/// The values of our cookie (RFC 6265 §5.4), `None` without one.
///
/// # Errors
/// [`Disbelief::Ambiguous`]: more than [`MAX_COOKIES`].
pub(crate) fn cookies<'r>(
    headers: &'r HeaderMap,
    settings: &AuthSettings,
    transport: Transport,
) -> Option<Result<Vec<&'r str>, Disbelief>> {
    let name = settings.cookie_name.of(transport);
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let values = pairs.filter_map(|pair| {
        let (own, value) = pair.trim_ascii().split_at_checked(name.len())?;
        let value = value.strip_prefix(b"=")?;
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        (own == name.as_bytes() && !value.is_empty()).then_some(bare.unwrap_or(value))
    });
    let mut tokens = Vec::new();
    for value in values {
        // A cookie that is empty or not UTF-8 holds no token; an empty text is refused like any bad token.
        let token = std::str::from_utf8(value).unwrap_or("");
        if tokens.contains(&token) {
            continue;
        }
        if tokens.len() == MAX_COOKIES {
            return Some(Err(Disbelief::Ambiguous));
        }
        tokens.push(token);
    }
    if tokens.is_empty() { None } else { Some(Ok(tokens)) }
}
