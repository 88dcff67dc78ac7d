//! Addresses as they are counted: what one peer can have of them is one.
//!
//! Not for who a peer says it is: that is `proxy`.

use std::net::{IpAddr, Ipv6Addr};

/// The first 64 bits of an IPv6 address: whoever has one has all the others of its network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
