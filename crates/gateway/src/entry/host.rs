//! The `Host` check (C1.5): a page of any site can make a browser connect to 127.0.0.1 under a name of its
//! own choice (DNS rebinding), and would then read the streams as if it were one of ours. So while only this
//! machine can connect, a request must give a name that only this machine answers to.
//!
//! Not for routing: there are no virtual hosts.

use http::header::HOST;
use http::{Request, StatusCode, Version};

use crate::content::problem::Problem;

/// Names that always pass.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Checks the one `Host` of a request. `names` is `None` when the gateway is bound to more than loopback.
pub(crate) fn check<B>(request: &Request<B>, names: Option<&[String]>) -> Result<(), Problem> {
    let named = named(request)?;
    if request.version() >= Version::HTTP_11 && !request.headers().contains_key(HOST) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "The request has no Host.").closing());
    }
    let Some(names) = names else { return Ok(()) };
    let name = without_port(named);
    let known = LOOPBACK_NAMES.iter().copied().chain(names.iter().map(String::as_str));
    if name.is_some_and(|name| known.into_iter().any(|known| known.eq_ignore_ascii_case(name))) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "This server does not answer to the host of the request.",
    ))
}

/// What a request names in `Host`, or in an absolute target, which replaces that (RFC 9112 §3.2.2).
///
/// # Errors
/// 400 when it has more than one `Host`.
pub(crate) fn named<B>(request: &Request<B>) -> Result<&str, Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "The request has more than one Host.").closing());
    }
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    Ok(authority.or_else(|| host.and_then(|host| host.to_str().ok())).unwrap_or(""))
}

/// The host of `host[:port]`; `None` for anything else.
pub(crate) fn without_port(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at_checked(end)?;
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    (is_port && !name.is_empty()).then_some(name)
}

/// The ports of the two schemes when none is written.
pub(crate) const HTTP_PORT: u16 = 80;
pub(crate) const HTTPS_PORT: u16 = 443;

/// Whether `host[:port]` is the same in both, in whatever letters, with a port that is not written taken for
/// `default` (RFC 3986 §6.2).
pub(crate) fn is_same_host(one: &str, other: &str, default: u16) -> bool {
    let (Some(one), Some(other)) = (host_and_port(one), host_and_port(other)) else { return false };
    one.0.eq_ignore_ascii_case(other.0) && one.1.unwrap_or(default) == other.1.unwrap_or(default)
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host = without_port(authority)?;
    match authority[host.len()..].strip_prefix(':') {
        None | Some("") => Some((host, None)),
        Some(port) => Some((host, Some(port.parse().ok()?))),
    }
}
