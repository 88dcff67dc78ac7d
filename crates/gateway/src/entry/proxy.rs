//! Where a request comes from, as trusted proxies say it (C1.5): `sse.trusted_proxies`.
//!
//! A forwarding header is believed from whoever speaks to us directly and is trusted, and in it only what
//! trusted hops have written: everything left of the first address that is not trusted may be invented.
//!
//! Not for the `Host` check: what a browser was made to say is in `Host` itself.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::entry::peer::{Peer, Transport};
use crate::network::network;

/// Addresses and networks of proxies that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads a comma list of addresses and networks: `127.0.0.1, 10.0.0.0/8, fd00::/8`.
    ///
    /// # Errors
    /// [`ProxyError`] of the first item that is neither.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let network = |item: &str| {
            let address = IpAddr::from_str(item).map(IpNet::from);
            address.or_else(|_| item.parse::<IpNet>()).map_err(|_| ProxyError(item.to_owned()))
        };
        items.map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it is one of them.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An item of `sse.trusted_proxies` that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyError(pub String);

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is neither an address nor a network such as 10.0.0.0/8", self.0.escape_debug())
    }
}

impl std::error::Error for ProxyError {}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Never an IPv4 address in the form of an IPv6 one.
    pub(crate) address: IpAddr,
    pub(crate) transport: Transport,
    /// A trusted proxy says the address.
    pub(crate) is_forwarded: bool,
}

impl Sender {
    /// The address as failed logins of it are counted; `None`: not at all. A loopback address that nobody has
    /// forwarded is a proxy on this machine that is not trusted, behind which everybody would have one count,
    /// or the administrator.
    pub(crate) fn counted_address(self) -> Option<IpAddr> {
        let is_counted = self.is_forwarded || !self.address.is_loopback();
        is_counted.then(|| network(self.address))
    }

    /// The peer itself, or whom it says it speaks for if it is trusted.
    pub(crate) fn of(peer: Peer, headers: &HeaderMap, trusted: &TrustedProxies) -> Self {
        let Peer { mut address, is_secure } = peer;
        let own = if is_secure { Transport::OwnTls } else { Transport::Plain };
        if !trusted.contains(address) {
            return Self { address, transport: own, is_forwarded: false };
        }
        // The last proxy's word; one that appends leaves the ones before it to the left.
        let proto = items(headers, "x-forwarded-proto").next_back();
        let transport = match proto {
            None => own,
            Some(proto) if !proto.eq_ignore_ascii_case("https") => Transport::Plain,
            Some(_) if is_secure => own,
            Some(_) => Transport::ProxyTls,
        };
        let mut is_forwarded = false;
        for hop in items(headers, "x-forwarded-for").rev() {
            // What cannot be read was not written by a proxy of ours: who wrote it counts.
            let Some(hop) = hop_address(hop) else { break };
            (address, is_forwarded) = (hop, true);
            if !trusted.contains(hop) {
                break;
            }
        }
        Self { address, transport, is_forwarded }
    }
}

/// The host that the browser was asked for, when the peer is a proxy that says so. Of several the last, as
/// for TLS.
pub(crate) fn forwarded_host<'h>(
    peer: Peer,
    headers: &'h HeaderMap,
    trusted: &TrustedProxies,
) -> Option<&'h str> {
    let is_trusted = trusted.contains(peer.address);
    is_trusted.then(|| items(headers, "x-forwarded-host").next_back()).flatten()
}

/// The items of a list that may be spread over several fields, in order.
fn items<'h>(headers: &'h HeaderMap, name: &'static str) -> impl DoubleEndedIterator<Item = &'h str> {
    let values = headers.get_all(name).iter().map(HeaderValue::to_str);
    // Nothing in a value that is no text: the hop there cannot be read.
    values.flat_map(|value| value.unwrap_or("?").split(',').map(str::trim))
}

/// Some proxies write the port too.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok();
    let address = address.or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(bare).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sender(peer: &str, headers: &[(&'static str, &'static str)]) -> (String, bool) {
        let trusted = TrustedProxies::parse("10.0.0.0/8, fd00::/8").unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let sender = Sender::of(Peer::plain(peer.parse().unwrap()), &map, &trusted);
        (sender.address.to_string(), sender.transport.is_secure())
    }

    // Forged forwarding headers: an address of the attacker's choice, to pass a limit or to blame somebody.
    #[test]
    fn forwarding_headers_of_others_are_not_believed() {
        let forged = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")];
        assert_eq!(sender("203.0.113.9", &forged), ("203.0.113.9".to_owned(), false));
        assert_eq!(sender("::ffff:203.0.113.9", &forged), ("203.0.113.9".to_owned(), false));
        let forged = [("x-forwarded-for", "1.2.3.4, 203.0.113.9")];
        assert_eq!(sender("10.0.0.1", &forged).0, "203.0.113.9");
        let forged = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "203.0.113.9, 10.0.0.2")];
        assert_eq!(sender("10.0.0.1", &forged).0, "203.0.113.9");
    }

    #[test]
    fn the_rightmost_hop_that_is_not_trusted_is_who_asks() {
        for (list, address) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("1.2.3.4, unknown", "10.0.0.1"),
            ("1.2.3.4, unknown, 10.2.2.2", "10.2.2.2"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(sender("::ffff:10.0.0.1", &[("x-forwarded-for", list)]).0, address, "{list}");
        }
        assert_eq!(sender("fd00::1", &[]).0, "fd00::1");
    }

    // Attack: a client behind a proxy that writes 127.0.0.1 into the header, to guess passwords without
    // limit.
    #[test]
    fn failed_logins_count_for_every_address_but_a_loopback_one_that_nobody_forwarded() {
        let trusted = TrustedProxies::parse("127.0.0.1").unwrap();
        for (peer, forwarded, counted) in [
            ("203.0.113.9", None, Some("203.0.113.9")),
            ("203.0.113.9", Some("127.0.0.1"), Some("203.0.113.9")),
            ("2001:db8::1:2:3:4", None, Some("2001:db8::")),
            ("127.0.0.2", None, None),
            ("127.0.0.2", Some("203.0.113.9"), None),
            ("::1", None, None),
            ("::ffff:127.0.0.2", None, None),
            ("127.0.0.1", None, None),
            ("127.0.0.1", Some("unknown"), None),
            ("127.0.0.1", Some("203.0.113.9"), Some("203.0.113.9")),
            ("127.0.0.1", Some("127.0.0.1"), Some("127.0.0.1")),
            ("127.0.0.1", Some("127.0.0.2"), Some("127.0.0.2")),
        ] {
            let mut headers = HeaderMap::new();
            forwarded.map(|hop| headers.append("x-forwarded-for", HeaderValue::from_static(hop)));
            let sender = Sender::of(Peer::plain(peer.parse().unwrap()), &headers, &trusted);
            let counted = counted.map(|address| address.parse().unwrap());
            assert_eq!(sender.counted_address(), counted, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn tls_is_what_the_last_proxy_says() {
        for (value, secure) in
            [("https", true), ("HTTPS", true), ("http", false), ("https, http", false), ("http,https", true)]
        {
            assert_eq!(sender("10.0.0.1", &[("x-forwarded-proto", value)]).1, secure, "{value}");
        }
    }

    #[test]
    fn a_connection_that_is_tls_counts_as_such_unless_a_trusted_proxy_says_otherwise() {
        let trusted = TrustedProxies::parse("10.0.0.0/8").unwrap();
        let own = Transport::OwnTls;
        for (peer, proto, transport) in [
            ("203.0.113.9", None, own),
            ("203.0.113.9", Some("http"), own),
            ("10.0.0.1", None, own),
            ("10.0.0.1", Some("http"), Transport::Plain),
            ("10.0.0.1", Some("https"), own),
        ] {
            let peer = Peer::secure(peer.parse().unwrap());
            let mut headers = HeaderMap::new();
            proto.map(|proto| headers.append("x-forwarded-proto", HeaderValue::from_static(proto)));
            assert_eq!(Sender::of(peer, &headers, &trusted).transport, transport, "{peer:?} {proto:?}");
        }
    }

    #[test]
    fn addresses_and_networks_are_taken_and_names_are_not() {
        for right in ["", "127.0.0.1", "::1, 10.0.0.0/8,", "fd00::/8"] {
            assert!(TrustedProxies::parse(right).is_ok(), "{right}");
        }
        for wrong in ["localhost", "10.0.0.0/33", "10.0.0", "*", "10.0.0.1:80", "10.0.0.1 10.0.0.2"] {
            assert_eq!(TrustedProxies::parse(wrong), Err(ProxyError(wrong.to_owned())));
        }
    }
}
