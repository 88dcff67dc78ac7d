//! The other end of a connection, as the connection itself shows it.
//!
//! Not for who a request comes from: there may be a trusted proxy in between (`proxy`).

use std::net::IpAddr;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Never an IPv4 address in the form of an IPv6 one.
    pub(crate) address: IpAddr,
    /// The connection itself is TLS.
    pub(crate) is_secure: bool,
}

impl Peer {
    /// A peer that speaks plain HTTP.
    pub(crate) fn plain(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), is_secure: false }
    }
}
