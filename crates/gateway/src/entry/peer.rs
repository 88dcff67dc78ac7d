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

    /// A peer that speaks TLS to us.
    pub(crate) fn secure(address: IpAddr) -> Self {
        Self { is_secure: true, ..Self::plain(address) }
    }
}

/// How a request came from its browser: what cookies depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    /// Over TLS to a trusted proxy, which says so.
    ProxyTls,
    /// Over TLS that the gateway itself speaks.
    OwnTls,
}

impl Transport {
    pub(crate) fn is_secure(self) -> bool {
        self != Self::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Attack: a peer that comes over an IPv6 socket too has two shares of what is counted by address, or is
    // not the proxy that is trusted.
    #[test]
    fn an_ipv4_address_is_one_peer_in_either_form() {
        for (given, address) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            let [given, address] = [given, address].map(|text| text.parse::<IpAddr>());
            assert_eq!(given.map(Peer::plain), address.map(|address| Peer { address, is_secure: false }));
        }
    }
}
