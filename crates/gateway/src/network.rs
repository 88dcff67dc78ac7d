//! Addresses as limits count them: all addresses that one peer can use count as one.
//!
//! Not for who a peer says it is: that is `proxy`.

use std::net::{IpAddr, Ipv6Addr};

/// The address itself, or the first 64 bits of an IPv6 address: a peer with one such address usually has its
/// whole network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
