//! By which names the admin port may be called. A page of any site can make a browser connect to this machine
//! under a name of its own (DNS rebinding); rebinding needs a name, so an address always passes, whatever the
//! port is bound to.
//!
//! Not for the main port, which others call by all their names: `entry/host.rs`.

use std::net::IpAddr;

use http::{Request, StatusCode};

use crate::content::problem::Problem;
use crate::entry::host::{named, without_port};

/// Checks the one `Host` of a request.
pub(super) fn check<B>(request: &Request<B>, names: &[String]) -> Result<(), Problem> {
    let named = named(request)?;
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
