//! Whether a page may make a browser send this call (C7.5): a browser sends the cookie along whatever page
//! makes a request, so a request that changes something must say which page made it.
//!
//! Not for who may read the answer: that is `cors`. Not for GET and HEAD, which change nothing, but
//! those of logins.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use crate::entry::cors::{CorsOrigins, Listed};
use crate::entry::host::{HTTP_PORT, HTTPS_PORT, is_same_host};

/// The parts of a request that decide.
pub(crate) struct Sent<'r> {
    pub(crate) headers: &'r HeaderMap,
    /// The host and port that the browser was asked for, as far as it is known.
    pub(crate) authority: Option<&'r str>,
    /// It came from its browser over TLS: to us, or to a trusted proxy.
    pub(crate) is_secure: bool,
    /// It carries the cookie that may hold a token.
    pub(crate) has_cookie: bool,
    /// It has a bearer token in its header, good or bad.
    pub(crate) has_bearer: bool,
}

/// The three rules of C7.5, in their order. They do not apply to a request with a bearer token and no cookie:
/// a foreign page does not know the token, and a browser asks us before it lets a page send an
/// `Authorization` header to another origin (Fetch §4.8).
pub(crate) fn may_send(sent: &Sent<'_>, listed: &CorsOrigins) -> bool {
    if sent.has_bearer && !sent.has_cookie {
        return true;
    }
    let mut sites = sent.headers.get_all("sec-fetch-site").iter().peekable();
    let is_said = sites.peek().is_some();
    if let (Some(site), None) = (sites.next(), sites.next())
        && (site == "same-origin" || site == "none")
    {
        return true;
    }
    let mut origins = sent.headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => {
            is_own(origin, sent.authority, sent.is_secure) || is_listed(origin, sent.has_cookie, listed)
        }
        (Some(_), Some(_)) => false,
        (None, _) => !is_said && !sent.has_cookie,
    }
}

/// `*` is for requests without credentials, here as for answers.
fn is_listed(origin: &HeaderValue, has_cookie: bool, listed: &CorsOrigins) -> bool {
    match listed.lists(origin) {
        Listed::Exactly => true,
        Listed::AsAny => !has_cookie,
        Listed::No => false,
    }
}

/// Host and port are those of the request. Over TLS the scheme is, too: else whoever is between could show a
/// page of `http://` that calls with the visitor's cookie. Without TLS it is not compared: a proxy that we do
/// not know may speak TLS to the browser.
fn is_own(origin: &HeaderValue, authority: Option<&str>, is_secure: bool) -> bool {
    let (Ok(origin), Some(authority)) = (origin.to_str(), authority) else { return false };
    match origin.split_once("://") {
        Some(("https", origin)) => is_same_host(origin, authority, HTTPS_PORT),
        Some(("http", origin)) => !is_secure && is_same_host(origin, authority, HTTP_PORT),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn may(
        listed: &str,
        authority: &str,
        has_cookie: bool,
        headers: &[(&'static str, &'static str)],
    ) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let (authority, has_bearer) = (Some(authority), false);
        let sent = Sent { headers: &map, authority, is_secure: false, has_cookie, has_bearer };
        may_send(&sent, &CorsOrigins::parse(listed).unwrap())
    }

    // Cross-site request forgery: a page elsewhere posts with the visitor's cookie, or logs the visitor in as
    // somebody else.
    #[test]
    fn only_an_origin_of_the_same_host_and_port_or_a_listed_one_may_send() {
        for (origin, authority, expected) in [
            ("https://app.example", "app.example", true),
            ("http://app.example", "app.example", true),
            ("https://app.example", "App.Example:443", true),
            ("http://app.example", "app.example:80", true),
            ("http://localhost:8080", "localhost:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("https://app.example", "app.example:80", false),
            ("http://app.example:443", "app.example", false),
            ("https://app.example:8443", "app.example", false),
            ("https://evil.example", "app.example", false),
            ("https://app.example.evil.example", "app.example", false),
            ("https://evilapp.example", "app.example", false),
            ("null", "app.example", false),
            ("null", "null", false),
            ("", "", false),
            ("app.example", "app.example", false),
            ("https://", "", false),
            ("file://", "", false),
            ("chrome-extension://app.example", "app.example", false),
            ("https://listed.example", "app.example", true),
            ("https://listed.example:8443", "app.example", false),
            ("http://listed.example", "app.example", false),
        ] {
            for has_cookie in [false, true] {
                let is_allowed = may("https://listed.example", authority, has_cookie, &[("origin", origin)]);
                assert_eq!(is_allowed, expected, "{origin} {authority} {has_cookie}");
            }
        }
        let two = [("origin", "https://app.example"), ("origin", "https://app.example")];
        assert!(!may("", "app.example", false, &two));
    }

    #[test]
    fn what_the_browser_says_of_the_site_goes_first() {
        let evil = ("origin", "https://evil.example");
        for (site, alone, with_foreign, with_own) in [
            ("same-origin", true, true, true),
            ("none", true, true, true),
            ("same-site", false, false, true),
            ("cross-site", false, false, true),
            ("Same-Origin", false, false, true),
            ("", false, false, true),
        ] {
            let own = ("origin", "https://app.example");
            assert_eq!(may("", "app.example", true, &[("sec-fetch-site", site)]), alone, "{site}");
            assert_eq!(may("", "app.example", false, &[("sec-fetch-site", site)]), alone, "{site}");
            assert_eq!(
                may("", "app.example", true, &[("sec-fetch-site", site), evil]),
                with_foreign,
                "{site}"
            );
            assert_eq!(may("", "app.example", true, &[("sec-fetch-site", site), own]), with_own, "{site}");
        }
        let twice = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        assert!(!may("", "app.example", false, &twice));
    }

    #[test]
    fn the_star_is_for_requests_without_a_cookie_and_never_for_null() {
        let any = [("origin", "https://any.example")];
        assert!(may("*", "app.example", false, &any));
        assert!(!may("*", "app.example", true, &any));
        assert!(!may("*", "app.example", false, &[("origin", "null")]));
        assert!(may("*, https://any.example", "app.example", true, &any));
    }

    #[test]
    fn an_unknown_host_is_nobodys_own() {
        let mut map = HeaderMap::new();
        map.insert(ORIGIN, HeaderValue::from_static("https://app.example"));
        let (authority, is_secure) = (None, false);
        let sent = Sent { headers: &map, authority, is_secure, has_cookie: false, has_bearer: false };
        assert!(!may_send(&sent, &CorsOrigins::default()));
    }
}
