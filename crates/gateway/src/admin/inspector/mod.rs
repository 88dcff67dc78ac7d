//! The inspector's page (C8.2): HTML, style, script and icon, served to anybody who reaches the admin port,
//! since it holds no data. What it shows it asks for with the token, like everybody else.
//!
//! Not for what it asks for: that is `/api/…`.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response};

use crate::content::body::Body;

/// Only what comes from this port may run, style or be asked for, and nothing may be drawn around the page.
/// What the server sends is text that anybody may have written: the browser refuses to take a text for HTML
/// (Trusted Types), whatever the script does.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Nobody who opens the page in a window gets hold of that window.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// One module in pieces: each piece sees the names of those above it.
const SCRIPT: &str = concat!(
    include_str!("text.js"),
    include_str!("wire.js"),
    include_str!("charts.js"),
    include_str!("tables.js"),
    include_str!("events.js"),
    include_str!("main.js"),
);

/// The file at a path, if it is one of the page.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let (content_type, content) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("page.html")),
        "/inspector.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/inspector.css" => ("text/css; charset=utf-8", include_str!("inspector.css")),
        // Without one of its own, a browser asks for an icon elsewhere, and says in red that there is none.
        "/inspector.svg" => ("image/svg+xml", include_str!("inspector.svg")),
        _ => return None,
    };
    let mut response = Response::new(Body::from(content.as_bytes().to_vec()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // The page of one version must not meet the script of another.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    Some(response)
}
