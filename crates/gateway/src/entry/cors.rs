//! Which pages of other origins may read answers (Fetch §3.2): `sse.cors_origins`.
//!
//! An origin is never reflected: what is sent back is the setting's own value, or `*`, which browsers do not
//! take together with credentials. Nothing is refused here: a browser asks, and keeps the answer from the
//! page.
//!
//! Not against requests that change something: that is `call/origin`.

use std::fmt;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

/// How long a browser may remember a preflight, in seconds. Short: a change of the setting should be felt.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Headers that scripts may send. The ids of executions come on top.
const ALLOWED_HEADERS: &str = "Authorization, Cache-Control, Content-Type, Last-Event-ID, Prefer";

/// Headers of answers that scripts may read besides those of Fetch (§4.1): what calls say of themselves.
const EXPOSED_HEADERS: HeaderValue =
    HeaderValue::from_static("Location, Preference-Applied, Retry-After, SSE-Position, WWW-Authenticate");

/// Origins whose pages may read answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsOrigins {
    /// `*`: every origin, without credentials.
    any: bool,
    /// With credentials. As browsers write them (HTML §7.1.1, "serialization of an origin").
    origins: Vec<HeaderValue>,
}

impl CorsOrigins {
    /// Reads a comma list of origins such as `https://app.example` or `http://localhost:5173`, and `*`. Case
    /// does not matter, nor does a default port that is written out.
    ///
    /// # Errors
    /// [`CorsError`] of the first item that is wrong.
    pub fn parse(text: &str) -> Result<Self, CorsError> {
        let mut parsed = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item == "*" {
                parsed.any = true;
                continue;
            }
            if item.eq_ignore_ascii_case("null") {
                return Err(CorsError::Null);
            }
            let origin = normalised(item).ok_or_else(|| CorsError::Origin(item.to_owned()))?;
            parsed.origins.push(origin);
        }
        Ok(parsed)
    }

    fn is_empty(&self) -> bool {
        !self.any && self.origins.is_empty()
    }

    /// Whether an origin is one of them.
    pub(crate) fn lists(&self, origin: &HeaderValue) -> Listed {
        match () {
            () if self.origins.contains(origin) => Listed::Exactly,
            () if self.any && origin != "null" => Listed::AsAny,
            () => Listed::No,
        }
    }

    /// Adds what lets a page of the request's origin read the answer.
    pub(crate) fn apply<B>(&self, request: &Request<B>, headers: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        // Also for a request without `Origin`: a cache must not hand its answer to a request that has one.
        headers.append(VARY, HeaderValue::from_name(ORIGIN));
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return };
        if let Some(allowed) = self.origins.iter().find(|allowed| *allowed == origin) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else if self.any && origin != "null" {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            return;
        }
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }

    /// Adds what a preflight asks (Fetch §4.8), when it is one from an origin that [`CorsOrigins::apply`] let
    /// in.
    pub(crate) fn apply_preflight<B>(
        &self,
        request: &Request<B>,
        methods: HeaderValue,
        id_headers: &[HeaderName],
        headers: &mut HeaderMap,
    ) {
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight || !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        let names =
            id_headers.iter().fold(ALLOWED_HEADERS.to_owned(), |names, name| format!("{names}, {name}"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Ok(names) = HeaderValue::from_str(&names) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

/// How an origin is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// By itself: with credentials.
    Exactly,
    /// By `*`: without.
    AsAny,
    No,
}

/// `scheme://host[:port]` as a browser writes it.
fn normalised(item: &str) -> Option<HeaderValue> {
    let lower = item.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let is_authority = !authority.is_empty()
        && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b));
    let host = crate::entry::host::without_port(authority)?;
    let port = authority[host.len()..].strip_prefix(':');
    if !is_scheme
        || !is_authority
        || port == Some("")
        || port.is_some_and(|port| port.parse::<u16>().is_err())
    {
        return None;
    }
    let is_default = matches!((scheme, port), ("http", Some("80")) | ("https", Some("443")));
    let authority = if is_default { host } else { authority };
    HeaderValue::from_str(&format!("{scheme}://{authority}")).ok()
}

/// Why a text is no list of origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsError {
    /// `null`: the origin of every sandboxed frame and local file, so of everybody.
    Null,
    /// Not `scheme://host[:port]`, as it was written.
    Origin(String),
}

impl fmt::Display for CorsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("\"null\" cannot be allowed: every sandboxed frame has this origin"),
            Self::Origin(item) => write!(
                f,
                "\"{}\" is not an origin: a scheme, a host and perhaps a port, such as https://app.example, without a path \
                 and without a slash at the end",
                item.escape_debug()
            ),
        }
    }
}

impl std::error::Error for CorsError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn origins_are_exact_and_null_is_never_one() {
        for wrong in [
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/x",
            "https://*.app.example",
            "https://user@app.example",
            "https://app.example:x",
            "https://app.example:",
            "https://app.example:65536",
            "https://app.example?x",
            "://x",
            "https://a b",
        ] {
            assert_eq!(CorsOrigins::parse(wrong), Err(CorsError::Origin(wrong.to_owned())));
        }
        assert_eq!(CorsOrigins::parse("https://x.example, Null"), Err(CorsError::Null));
        let parsed =
            CorsOrigins::parse(" HTTPS://App.Example:443 ,http://localhost:5173,, capacitor://localhost ");
        let expected = ["https://app.example", "http://localhost:5173", "capacitor://localhost"];
        assert_eq!(parsed.unwrap().origins, expected);
    }
}
