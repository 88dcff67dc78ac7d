//! By which names the admin port may be called. A page of any site can make a browser connect to this machine
//! under a name of its own (DNS rebinding); rebinding needs a name, so an address always passes, whatever the
//! port is bound to.
//!
//! Not for the main port, which others call by all their names: `entry/host.rs`.

use std::net::IpAddr;

use http::header::HOST;
use http::{Request, StatusCode};

use crate::content::problem::Problem;
use crate::entry::host::without_port;

/// Checks the one `Host` of a request.
pub(super) fn check<B>(request: &Request<B>, names: &[String]) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "The request has more than one Host.").closing());
    }
    // An absolute target replaces Host (RFC 9112 §3.2.2).
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let named = authority.or_else(|| host.and_then(|host| host.to_str().ok())).unwrap_or("");
    if without_port(named).is_some_and(|name| is_known(name, names)) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "The admin port answers to addresses, localhost and the names of sse.server_names.",
    ))
}

fn is_known(name: &str, names: &[String]) -> bool {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // Attack: DNS rebinding. evil.example resolves to 127.0.0.1, and its page asks for what is here.
    #[test]
    fn addresses_and_known_names_pass_and_no_other_name() {
        let names = ["db.example".to_owned()];
        let passes = |host: &str| {
            let request = Request::builder().header(HOST, host).body(()).unwrap();
            check(&request, &names).is_ok()
        };
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:9187",
            "[::1]:9187",
            "192.0.2.7",
            "[2001:db8::1]",
            "DB.example:1",
        ] {
            assert!(passes(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "db.example.",
            "2130706433",
            "127.1",
            ":1",
            "[::1",
        ] {
            assert!(!passes(host), "{host}");
        }
        let two = Request::builder().header(HOST, "localhost").header(HOST, "localhost").body(()).unwrap();
        assert!(check(&two, &names).is_err());
        let absolute =
            Request::builder().uri("http://evil.example/").header(HOST, "localhost").body(()).unwrap();
        assert!(check(&absolute, &names).is_err());
    }
}
